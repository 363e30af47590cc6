"""The views of any image by any settings that are allowed: finite, and in the range of the pixels."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sidae_jax.config import pretraining, validate
from sidae_jax.settings import ViewSettings
from sidae_jax.views import make_views

PROBABILITIES = st.sampled_from([0.0, 0.5, 1.0])
STRENGTHS = st.sampled_from([0.0, 1e-30, 0.4, 1.0, 1000.0])


def ranges(least, most):
    numbers = st.one_of(st.sampled_from([least, most]), st.floats(least, most))
    return st.tuples(numbers, numbers).map(lambda pair: tuple(sorted(pair)))


SETTINGS = st.builds(
    ViewSettings,
    crop_scale=ranges(1e-30, 1.0),
    crop_ratio=st.tuples(st.sampled_from([1e-30, 0.1, 0.75, 1.0]), st.sampled_from([1.0, 4 / 3, 30.0, 1e30])),
    p_jitter=PROBABILITIES, brightness=STRENGTHS, contrast=STRENGTHS, saturation=STRENGTHS,
    hue=st.sampled_from([0.0, 0.1, 0.5]),
    p_gray=PROBABILITIES, p_blur=PROBABILITIES, blur_sigma=ranges(1e-30, 1000.0), p_flip=PROBABILITIES,
)  # fmt: skip
ALL = ViewSettings(p_jitter=1.0, brightness=1000.0, contrast=1000.0, saturation=1000.0, hue=0.5, p_blur=1.0)


def extreme_images(side):
    """Constant, of two values only, with one other pixel, and noise."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side]
    board = np.repeat(((x + y) % 2 * 255)[..., None], 3, -1)
    one = np.zeros((side, side, 3))
    one[side // 2, 0, 1] = 255
    flat = [np.full((side, side, 3), color) for color in (0, 255, 1, [255, 0, 0], [0, 255, 254])]
    return np.stack([*flat, board, one, 255 - one, rng.integers(0, 256, (side, side, 3))]).astype(np.uint8)


@settings(max_examples=10, deadline=None, derandomize=True)
@example(ALL, (32, 32), 0)
@given(SETTINGS, st.sampled_from([(32, 32), (40, 32), (33, 32), (300, 32), (64, 64)]), st.integers(0, 2**32 - 1))
def test_views_are_finite_and_in_range(chosen, sides, seed):
    side, size = sides
    config = pretraining("sidae", "digits")
    config.views.update({name: getattr(chosen, name) for name in config.views})
    validate(config)
    images = extreme_images(side)
    keys = jax.random.split(jax.random.key(seed), len(images))
    program = jax.jit(functools.partial(make_views, settings=chosen, mean=np.zeros(3), std=np.ones(3), size=size))
    for each in program(keys, jnp.asarray(images)):
        assert each.shape == (len(images), size, size, 3)
        assert np.isfinite(each).all()
        assert each.min() >= -1e-4
        assert each.max() <= 1 + 1e-4


@pytest.mark.parametrize("strength", ["brightness", "contrast", "saturation"])
def test_the_strongest_that_is_allowed_is_finite_in_float32(strength):
    assert np.isfinite(np.float32(1000) * np.float32(1000))
    config = pretraining("sidae", "digits")
    config.views[strength] = 1000.0
    validate(config)
