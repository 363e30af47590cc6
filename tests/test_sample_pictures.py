"""The pictures of a state: the images, the views that the train step makes of them, and their reconstructions."""

import jax
import numpy as np
import optax
import pytest
from flax import nnx

from sidae_jax import views as views_module
from sidae_jax.config import pretraining, view_settings
from sidae_jax.data.normalization import Normalization
from sidae_jax.methods import make_method
from sidae_jax.streams import Stream
from sidae_jax.training import sample_pictures
from sidae_jax.training.sample_pictures import SamplePictures
from sidae_jax.training.step import create_state

NORMALIZATION = Normalization((0.2, 0.3, 0.4), (0.5, 0.6, 0.7))
IMAGES = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), np.uint8)
MEAN, STD = np.float32(NORMALIZATION.mean), np.float32(NORMALIZATION.std)


def made(method, step, images=IMAGES, **changes):
    """(the pictures at a step, the method)"""
    config = pretraining(method, "digits", width=4, d_hid=32, seed=3, **changes)
    network = make_method(config, "data")
    graphdef, state = create_state(network, optax.identity())
    return SamplePictures(config, graphdef, images, NORMALIZATION).make(step, jax.device_get(state)), network


def views_of_the_step(step, images=IMAGES, size=32):
    """As training/step.py draws them for the first places of its batch, in a program of their own."""
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(3), Stream.VIEWS), step)
    keys = jax.numpy.stack([jax.random.fold_in(key, place) for place in range(len(images))])
    return views_module.make_views(
        keys, jax.numpy.asarray(images), view_settings(pretraining("sidae", "digits")), MEAN, STD, size
    )


def assert_same_views(found, x):
    """Up to pixels whose hue another program rounds otherwise, some 0.2% of these random ones."""
    assert np.mean(np.abs(found - to_pixels(x)) < 0.51) > 0.99


def to_pixels(x):
    return np.clip((np.asarray(x, np.float64) * STD + MEAN) * 255, 0, 255)


@pytest.mark.parametrize("step", [0, 40])
def test_views_are_those_of_the_step_beside_their_images(step):
    pictures, _ = made("sidae", step)
    x, x1, x2 = np.split(pictures["views"], 3, 2)
    np.testing.assert_array_equal(x, IMAGES)
    _, wanted1, wanted2 = views_of_the_step(step)
    for found, wanted in (x1, wanted1), (x2, wanted2):
        assert_same_views(found, wanted)


def test_reconstructions_are_of_the_image_and_of_its_first_view():
    pictures, network = made("sidae", 0)
    assert pictures["reconstructions"].dtype == np.uint8
    x, again, x1, again1 = np.split(pictures["reconstructions"], 4, 2)
    np.testing.assert_array_equal(x, IMAGES)
    np.testing.assert_array_equal(x1, np.split(pictures["views"], 3, 2)[1])
    wanted, wanted1, _ = views_of_the_step(0)
    for found, given in (again, wanted), (again1, wanted1):
        np.testing.assert_allclose(found, to_pixels(network.reconstruct(given)), atol=0.51)


def test_a_method_without_a_decoder_has_views_alone_also_of_larger_images():
    large = np.kron(IMAGES, np.ones((1, 2, 2, 1), np.uint8))
    pictures, network = made("simsiam", 0, large, store_size=64)
    assert not hasattr(network, "reconstruct")
    assert list(pictures) == ["views"]
    x, x1, _ = np.split(pictures["views"], 3, 2)
    assert x.shape == (8, 32, 32, 3)
    assert_same_views(x1, views_of_the_step(0, large)[1])


def test_the_state_stays_and_a_second_step_is_not_compiled_again():
    config = pretraining("sidae", "digits", width=4, d_hid=32, seed=3)
    graphdef, state = create_state(make_method(config, "data"), optax.identity())
    before = jax.tree.map(np.array, nnx.to_pure_dict(state.params))
    pictures = SamplePictures(config, graphdef, IMAGES, NORMALIZATION)
    pictures.make(0, state)
    compiled = sample_pictures._sample._cache_size()
    pictures.make(40, state)
    assert sample_pictures._sample._cache_size() == compiled
    jax.tree.map(np.testing.assert_array_equal, nnx.to_pure_dict(state.params), before)
