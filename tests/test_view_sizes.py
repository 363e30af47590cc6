"""Views of other sizes than 32, and of images stored larger than their views, against torchvision's by PIL."""

import jax
import jax.numpy as jnp
import numpy as np
import pil_views
import pytest
from test_views import image_of, neutral, planes

from sidae_jax import views
from sidae_jax.settings import ViewSettings

SIZES = [(64, 64), (96, 96), (128, 64), (96, 64), (224, 96)]  # (side of the stored image, size of the view)


def image(side):
    """A smooth image with noise in its right half: uint8 [side, side, 3]."""
    y, x = np.mgrid[0:side, 0:side] / (side - 1)
    waves = 127 + 120 * np.sin(np.stack([9 * x + 3 * y, 17 * y, 21 * x * y], -1))
    noise = np.random.default_rng(side).integers(0, 256, (side, side, 3))
    return np.where(x[..., None] > 0.5, noise, waves).astype(np.uint8)


@pytest.mark.parametrize(("side", "size"), SIZES)
def test_crop_resize_and_flip(side, size):
    crops = [(0, 0, side, side), (3, 10, side // 2, side // 3), (side - 1, 0, 1, side), (5, 6, side - 9, side // 4)]
    for top, left, height, width in crops:
        for flip in (False, True):
            params = neutral(top=top, left=left, height=height, width=width, flip=flip)
            wanted = pil_views.resized_crop(image(side), top, left, height, width, (size, size))
            wanted = pil_views.hflip(wanted) if flip else wanted
            found = image_of(views.apply(planes(image(side)), params, ViewSettings(), size))
            np.testing.assert_allclose(found, wanted.astype(float), atol=1.6)


@pytest.mark.parametrize("size", [64, 96, 224])
@pytest.mark.parametrize("sigma", [0.1, 1.0, 2.0])
def test_blur_has_the_same_radius_in_pixels_at_every_size(size, sigma):
    matrix = views.blur_matrix(jnp.float32(sigma), 2.0, size)
    found = image_of(matrix @ planes(image(size)) @ matrix.T)
    difference = np.abs(found - pil_views.gaussian_blur(image(size), sigma).astype(float))
    assert difference.max() <= 3.1  # PIL rounds after each of its six passes
    assert difference.mean() <= 1.2


@pytest.mark.parametrize(("side", "size"), [(64, 64), (96, 64)])
def test_all_together_in_torchvisions_order(side, size):
    crop = {"top": 9, "left": 14, "height": side - 20, "width": side // 2}
    changes = {"jitter": [1.3, 0.7, 1.2, 0.0], "jitter_rank": jnp.array([2, 0, 1, 3]), "gray": True, "sigma": 1.1}
    wanted = pil_views.resized_crop(image(side), *crop.values(), (size, size))
    for name, factor in (("contrast", 0.7), ("saturation", 1.2), ("brightness", 1.3)):
        wanted = getattr(pil_views, name)(wanted, factor)
    wanted = pil_views.hflip(pil_views.gaussian_blur(pil_views.grayscale(wanted), 1.1))
    params = neutral(**crop, **changes, flip=True)
    found = image_of(views.apply(planes(image(side)), params, ViewSettings(p_blur=0.5), size))
    np.testing.assert_allclose(found, wanted.astype(float), atol=4)  # PIL rounds a dozen times on the way


@pytest.mark.parametrize(("side", "size"), SIZES)
def test_the_image_itself_is_resized_to_the_size_of_its_views(side, size):
    mean, std = np.float32([0.5, 0.4, 0.3]), np.float32([0.2, 0.3, 0.1])
    keys = jax.random.split(jax.random.key(0), 1)
    x, x1, x2 = views.make_views(keys, jnp.asarray(image(side)[None]), ViewSettings(), mean, std, size)
    assert x.shape == x1.shape == x2.shape == (1, size, size, 3)
    wanted = pil_views.resized_crop(image(side), 0, 0, side, side, (size, size)).astype(float)
    np.testing.assert_allclose((np.asarray(x[0]) * std + mean) * 255, wanted, atol=1.6)


def test_crops_are_a_share_of_the_stored_image():
    keys = jax.random.split(jax.random.key(1), 5000)
    draw = jax.jit(jax.vmap(lambda key: views.sample_params(key, ViewSettings(), 96)))
    draws = jax.tree.map(np.asarray, draw(keys))
    rng = np.random.default_rng(3)
    wanted = np.array([pil_views.crop_params(rng, 96, 96) for _ in range(5000)], float)
    found = np.stack([draws.top, draws.left, draws.height, draws.width], 1)
    np.testing.assert_allclose(found.mean(0), wanted.mean(0), rtol=0.04)
    np.testing.assert_allclose(found.std(0), wanted.std(0), rtol=0.04)
    assert found[:, [0, 2]].sum(1).max() == found[:, [1, 3]].sum(1).max() == 96
