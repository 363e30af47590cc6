"""The views against torchvision's semantics on PIL images, operation by operation and in distribution."""

import colorsys
import math

import jax
import jax.numpy as jnp
import numpy as np
import pil_views
import pytest

from sidae_jax import views
from sidae_jax.settings import ViewSettings

LEVEL = 1 / 255


@pytest.fixture(scope="module")
def images():
    """Smooth, saturated and noisy color images, and a gray one: uint8 [n, 32, 32, 3]."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:32, 0:32] / 31
    smooth = np.stack([x, y, 1 - x], -1) * 255
    waves = 127 + 120 * np.sin(np.stack([9 * x + 3 * y, 7 * y, 11 * x * y], -1))
    noise = rng.integers(0, 256, (32, 32, 3))
    gray = np.repeat(rng.integers(0, 256, (32, 32, 1)), 3, -1)
    flat = np.full((32, 32, 3), [250, 3, 90])
    return np.stack([smooth, waves, noise, gray, flat]).astype(np.uint8)


def planes(image):
    return jnp.asarray(image.transpose(2, 0, 1), jnp.float32) / 255


def image_of(planes):
    return np.asarray(planes).transpose(1, 2, 0) * 255


def jitter(image, **factors):
    """Only the named factors are not neutral; where two are given, in the order given."""
    names = ["brightness", "contrast", "saturation", "hue"]
    values = [factors.get(name, 0.0 if name == "hue" else 1.0) for name in names]
    order = [*factors, *(name for name in names if name not in factors)]
    rank = jnp.array([order.index(name) for name in names])
    return image_of(views.color_jitter(planes(image), jnp.array(values, jnp.float32), rank))


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
@pytest.mark.parametrize("factor", [0.0, 0.6, 1.0, 1.4])
def test_each_blend(images, name, factor):
    for image in images:
        wanted = getattr(pil_views, name)(image, factor).astype(float)
        np.testing.assert_allclose(jitter(image, **{name: factor}), wanted, atol=1.6)


@pytest.mark.parametrize("turns", [-0.5, -0.1, -0.04, 0.0, 0.06, 0.1, 0.5])
def test_hue(images, turns):
    """An exception: PIL has 256 hues and saturations, which alone moves a value by 6 levels when nothing is turned.

    So single values may be 11 levels off, and 2 in the mean. PIL's turn is int(255 turns) of 256 steps.
    """
    pil_turns = int(turns * 255) / 256
    for image in images:
        wanted = pil_views.hue(image, turns).astype(float)
        difference = np.abs(jitter(image, hue=pil_turns) - wanted)
        assert difference.max() <= 11
        assert difference.mean() <= 2


@pytest.mark.parametrize(
    "order", [("brightness", "contrast"), ("contrast", "brightness"), ("saturation", "hue"), ("hue", "contrast")]
)
def test_the_order_of_the_jitter(images, order):
    factors = {"brightness": 1.4, "contrast": 0.6, "saturation": 0.6, "hue": 0.1}
    image = images[1]
    wanted = image
    for name in order:
        wanted = getattr(pil_views, name)(wanted, factors[name])
    given = {name: int(25.5) / 256 if name == "hue" else factors[name] for name in order}
    difference = np.abs(jitter(image, **given) - wanted.astype(float))
    assert difference.max() <= (8 if "hue" in order else 2)
    other_way = np.abs(jitter(image, **dict(reversed(given.items()))) - wanted.astype(float))
    if "hue" not in order:
        assert other_way.max() > 10  # the test tells the orders apart


def test_grayscale(images):
    for image in images:
        wanted = pil_views.grayscale(image)[..., 0].astype(float)
        np.testing.assert_allclose(np.asarray(views.grayscale(planes(image))) * 255, wanted, atol=0.51)


@pytest.mark.parametrize("sigma", [0.1, 0.5, 1.0, 1.5, 2.0])
def test_blur(images, sigma):
    matrix = views.blur_matrix(jnp.float32(sigma), 2.0, 32)
    for image in images:
        found = image_of(matrix @ planes(image) @ matrix.T)
        difference = np.abs(found - pil_views.gaussian_blur(image, sigma).astype(float))
        assert difference.max() <= 3  # an exception: PIL rounds after each of its six passes
        assert difference.mean() <= 1.2


def test_no_blur_is_the_identity():
    np.testing.assert_allclose(views.blur_matrix(jnp.float32(0), 2.0, 32), np.eye(32), atol=1e-7)


def neutral(**changes):
    params = views.ViewParams(
        top=jnp.int32(0),
        left=jnp.int32(0),
        height=jnp.int32(32),
        width=jnp.int32(32),
        jitter=jnp.array([1.0, 1.0, 1.0, 0.0]),
        jitter_rank=jnp.arange(4),
        gray=jnp.array(False),
        sigma=jnp.float32(0),
        flip=jnp.array(False),
    )
    return params._replace(**{name: jnp.asarray(value) for name, value in changes.items()})


@pytest.mark.parametrize("crop", [(0, 0, 32, 32), (3, 10, 20, 17), (31, 0, 1, 32), (5, 6, 14, 15)])
@pytest.mark.parametrize("flip", [False, True])
def test_crop_resize_and_flip(images, crop, flip):
    top, left, height, width = crop
    params = neutral(top=top, left=left, height=height, width=width, flip=flip)
    for image in images:
        wanted = pil_views.resized_crop(image, top, left, height, width)
        wanted = pil_views.hflip(wanted) if flip else wanted
        found = image_of(views.apply(planes(image), params, ViewSettings(), 32))
        np.testing.assert_allclose(found, wanted.astype(float), atol=1.6)


def test_all_together_in_torchvisions_order(images):
    """Crop, jitter, grayscale, blur, flip."""
    image = images[1]
    order = jnp.array([2, 0, 1, 3])  # contrast, saturation, brightness; hue is neutral
    params = neutral(
        top=4,
        left=9,
        height=22,
        width=19,
        jitter=[1.3, 0.7, 1.2, 0.0],
        jitter_rank=order,
        gray=True,
        sigma=1.1,
        flip=True,
    )
    wanted = pil_views.resized_crop(image, 4, 9, 22, 19)
    for name, factor in (("contrast", 0.7), ("saturation", 1.2), ("brightness", 1.3)):
        wanted = getattr(pil_views, name)(wanted, factor)
    wanted = pil_views.hflip(pil_views.gaussian_blur(pil_views.grayscale(wanted), 1.1))
    found = image_of(views.apply(planes(image), params, ViewSettings(p_blur=0.5), 32))
    np.testing.assert_allclose(found, wanted.astype(float), atol=4)  # PIL rounds a dozen times on the way


N = 20_000


@pytest.fixture(scope="module")
def draws():
    keys = jax.random.split(jax.random.key(7), N)
    return jax.tree.map(
        np.asarray, jax.jit(jax.vmap(lambda key: views.sample_params(key, ViewSettings(p_blur=0.5), 32)))(keys)
    )


def _within(found, probability):
    """Four standard errors of a frequency."""
    assert abs(found - probability) < 4 * math.sqrt(probability * (1 - probability) / N)


def test_probabilities(draws):
    _within(draws.flip.mean(), 0.5)
    _within(draws.gray.mean(), 0.2)
    _within((draws.sigma > 0).mean(), 0.5)
    _within((draws.jitter != [1, 1, 1, 0]).any(1).mean(), 0.8)
    independent = draws.flip & draws.gray & (draws.sigma > 0)
    _within(independent.mean(), 0.5 * 0.2 * 0.5)


def test_jitter_factors_are_uniform(draws):
    jittered = draws.jitter[(draws.jitter != [1, 1, 1, 0]).any(1)]
    for column, low, high in ((0, 0.6, 1.4), (1, 0.6, 1.4), (2, 0.6, 1.4), (3, -0.1, 0.1)):
        _assert_same_distribution((jittered[:, column] - low) / (high - low), np.linspace(0, 1, 5001))
    assert np.abs(np.corrcoef(jittered.T) - np.eye(4)).max() < 0.03
    sigma = draws.sigma[draws.sigma > 0]
    _assert_same_distribution((sigma - 0.1) / 1.9, np.linspace(0, 1, 5001))


def test_all_orders_of_the_jitter_come_equally_often(draws):
    orders, counts = np.unique(draws.jitter_rank, axis=0, return_counts=True)
    assert len(orders) == 24
    assert np.all(np.sort(orders, axis=1) == np.arange(4))
    assert np.abs(counts - N / 24).max() < 4.5 * math.sqrt(N / 24)


def test_crops_are_torchvisions(draws):
    rng = np.random.default_rng(3)
    wanted = np.array([pil_views.crop_params(rng) for _ in range(N)], float)
    found = np.stack([draws.top, draws.left, draws.height, draws.width], 1).astype(float)
    for column in range(4):
        _assert_same_distribution(found[:, column], wanted[:, column])
    _assert_same_distribution(found[:, 2] * found[:, 3], wanted[:, 2] * wanted[:, 3])
    _assert_same_distribution(found[:, 3] / found[:, 2], wanted[:, 3] / wanted[:, 2])
    assert np.all(found[:, 0] + found[:, 2] <= 32)
    assert np.all(found[:, 1] + found[:, 3] <= 32)


def _assert_same_distribution(a, b):
    """Kolmogorov and Smirnov's test at one in ten thousand."""
    grid = np.unique(np.concatenate([a, b]))
    distance = np.abs(
        np.searchsorted(np.sort(a), grid, "right") / len(a) - np.searchsorted(np.sort(b), grid, "right") / len(b)
    ).max()
    assert distance < 2.23 * math.sqrt((len(a) + len(b)) / (len(a) * len(b)))


def test_views_of_an_image_depend_on_its_key_alone_and_differ(images):
    settings, mean, std = ViewSettings(), jnp.zeros(3), jnp.ones(3)
    make = jax.jit(lambda keys, images: views.make_views(keys, images, settings, mean, std))
    keys = jax.random.split(jax.random.key(1), 5)
    images = jnp.asarray(images)
    x, x1, x2 = make(keys, images)
    _, *swapped = make(keys[::-1], images[::-1])
    np.testing.assert_allclose(swapped[0][::-1], x1, atol=1e-6)
    np.testing.assert_allclose(swapped[1][::-1], x2, atol=1e-6)
    np.testing.assert_allclose(x, images / 255, atol=1e-6)
    assert np.abs(x1 - x2)[:4].max(axis=(1, 2, 3)).min() > 0.01
    _, again1, _ = make(jax.random.split(jax.random.key(2), 5), images)
    assert np.abs(again1 - x1)[:4].max(axis=(1, 2, 3)).min() > 0.01


def test_normalization_of_the_views(images):
    keys = jax.random.split(jax.random.key(1), 5)
    mean, std = jnp.array([0.1, 0.2, 0.3]), jnp.array([0.5, 0.6, 0.7])
    make = jax.jit(views.make_views, static_argnums=2)
    plain = make(keys, jnp.asarray(images), ViewSettings(), jnp.zeros(3), jnp.ones(3))
    for found, image in zip(make(keys, jnp.asarray(images), ViewSettings(), mean, std), plain, strict=True):
        np.testing.assert_allclose(found, (image - mean) / std, atol=1e-5)


def test_no_pixel_of_a_compiled_view_is_far_from_exact_arithmetic():
    """Colors at random, whose hue falls on the borders of its six cases often, by colorsys in float64."""
    settings = ViewSettings()
    images = np.random.default_rng(5).integers(0, 256, (24, 32, 32, 3), np.uint8)
    keys = jax.random.split(jax.random.key(3), 24)
    nothing, one = np.zeros(3, np.float32), np.ones(3, np.float32)
    _, x1, _ = jax.jit(views.make_views, static_argnums=2)(keys, jnp.asarray(images), settings, nothing, one)
    shifted = 0
    for key, image, found in zip(keys, images, x1, strict=True):
        params = jax.tree.map(np.asarray, views.sample_params(jax.random.split(key, 2)[0], settings, 32))
        if params.gray:
            continue
        np.testing.assert_allclose(np.asarray(found) * 255, exact_view(image, params) * 255, atol=0.05)
        shifted += params.jitter[3] != 0
    assert shifted > 5


def exact_view(image, params):
    rows, columns = (
        np.asarray(views.crop_matrix(int(start), int(length), 32, 32), np.float64)
        for start, length in ((params.top, params.height), (params.left, params.width))
    )
    view = np.einsum("ab,bdc,ed->aec", rows, image / 255, columns[::-1] if params.flip else columns)
    gray = np.array([0.299, 0.587, 0.114])
    brightness, contrast, saturation, hue = params.jitter.astype(np.float64)
    for transform in np.argsort(params.jitter_rank):
        if transform == 0:
            view = brightness * view
        elif transform == 1:
            view = contrast * view + (1 - contrast) * (view @ gray).mean()
        elif transform == 2:
            view = saturation * view + (1 - saturation) * (view @ gray)[..., None]
        else:
            hsv = (colorsys.rgb_to_hsv(*color) for color in view.reshape(-1, 3))
            view = np.array([colorsys.hsv_to_rgb((h + hue) % 1, s, v) for h, s, v in hsv]).reshape(32, 32, 3)
        view = np.clip(view, 0, 1)
    return view
