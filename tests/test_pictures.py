"""What the pictures show of a checkpoint, compared with the images, the networks and the features themselves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.manifold
from flax import nnx
from PIL import Image
from saved_runs import NORMALIZATION, arrays_of, save

from sidae_jax import data
from sidae_jax.config import pretraining
from sidae_jax.errors import UserError
from sidae_jax.evaluation import backbone as backbones
from sidae_jax.evaluation import config, picture_file
from sidae_jax.evaluation import make_pictures as pictures
from sidae_jax.methods import make_method
from sidae_jax.methods.batch import Batch
from sidae_jax.networks.batch_norm import BatchNorm

MIRRORED = {"crop_scale": (1.0, 1.0), "crop_ratio": (1.0, 1.0), "p_jitter": 0.0, "p_gray": 0.0, "p_flip": 1.0}
WITH_DECODER = ("sidae", "dae", "ae", "vae")


def settings(method, **views):
    made = pretraining(method, "digits", width=4, d_hid=32)
    made.views.update(views)
    return made


@pytest.fixture(scope="module")
def images():
    return data.load("digits", "test")


def normalized(images):
    return np.asarray((images / 255 - NORMALIZATION.mean) / NORMALIZATION.std, np.float32)


def seen(made, x):
    """The metrics of a training step's pass over x, whose statistics are then the running ones of `made`."""
    for _, module in nnx.iter_modules(made):
        if isinstance(module, BatchNorm):
            module.momentum = 0.0
    x, keys = jnp.asarray(x), jax.random.split(jax.random.key(0), len(x))
    graphdef, state = nnx.split(made)

    @jax.jit
    def step(state):
        method = nnx.merge(graphdef, state)
        _, metrics = method.loss(Batch(x, x, x, jnp.zeros(len(x), jnp.int32)), keys)
        return nnx.state(method, nnx.BatchStat), metrics

    batch_stats, metrics = step(state)
    nnx.update(made, batch_stats)
    return metrics


@pytest.mark.parametrize("method", WITH_DECODER)
def test_a_reconstruction_is_what_the_training_compares_but_of_each_image_alone(method, images):
    x = normalized(images.images[:256])
    made = make_method(settings(method), None)
    if method == "vae":  # a log variance of -20: training adds next to no noise to the mean
        bias = made.encoder.projector.linear2.bias
        bias[...] = bias[...].at[32:].set(-20.0)
    metrics = seen(made, x)
    reconstruction = pictures.reconstruct(made, x)
    assert reconstruction.shape == x.shape
    # same statistics, but for the n / (n - 1) of a running variance
    loss = metrics[{"ae": "loss_ae", "vae": "loss_mse"}.get(method, "loss_dae")]
    error = float(((reconstruction - x) ** 2).mean())
    assert error == pytest.approx(float(loss), rel=0.02)
    np.testing.assert_allclose(pictures.reconstruct(made, x[7:9]), reconstruction[7:9], atol=1e-4)


def save_run(workdir, made, made_by):
    """A run's two checkpoints, the first with nothing but zeros in it."""
    arrays = arrays_of(made)
    save(workdir, {2: {name: np.zeros_like(value) for name, value in arrays.items()}, 4: arrays}, made_by)


@pytest.mark.parametrize(("method", "views"), [("dae", MIRRORED), ("simclr", {"p_flip": 0.4})])
def test_the_pictures_of_the_last_checkpoint(method, views, images, tmp_path):
    made = make_method(settings(method, **views), None)
    seen(made, normalized(images.images[:64]))
    save_run(tmp_path, made, settings(method, **views))

    path = pictures.write(config.pictures(), str(tmp_path))
    assert path == tmp_path / "eval" / "pictures.npz"
    found = picture_file.read(path)
    assert found.epoch == 2
    np.testing.assert_array_equal(found.images, images.images[:8])
    if views is MIRRORED:
        for view in (0, 1):
            np.testing.assert_array_equal(found.views[:, view], found.images[:, :, ::-1])
    else:
        for one, other in ((found.views[:, 0], found.views[:, 1]), (found.views[:, 0], found.images)):
            assert (one != other).any((1, 2, 3)).all()
    if method == "simclr":
        assert len(found.reconstructions) == 0
    else:
        for part, of in enumerate((found.images, found.images[:, :, ::-1])):
            x = pictures.reconstruct(made, normalized(of))
            wanted = np.clip(255 * (x * NORMALIZATION.std + np.array(NORMALIZATION.mean)), 0, 255)
            np.testing.assert_allclose(found.reconstructions[:, part], wanted, atol=0.51)
    np.testing.assert_array_equal(found.labels, images.labels)
    assert list(found.class_names) == [str(digit) for digit in range(10)]
    features = backbones.compute_features(backbones.Backbone(made.encoder.backbone, NORMALIZATION), images.images)
    assert sklearn.manifold.trustworthiness(features, found.tsne) > 0.85  # 0.5 for points at random


def test_views_are_cropped_from_stored_images_that_are_larger(tmp_path):
    larger = settings("simclr", **MIRRORED)
    larger.store_size = 64
    save_run(tmp_path, make_method(larger, None), larger)
    few = config.pictures()
    few.test_split = "test[:8]"
    found = picture_file.read(pictures.write(few, str(tmp_path)))
    stored = [Image.fromarray(image[:, ::-1]) for image in data.load("digits", "test[:8]", size=64).images]
    wanted = np.stack([np.asarray(image.resize((32, 32), Image.Resampling.BILINEAR), int) for image in stored])
    for view in (0, 1):
        assert abs(found.views[:, view] - wanted).max() <= 1
    assert abs(found.images[:, :, ::-1] - wanted).max() > 1  # resized once, from the original


def test_few_images_are_enough_and_too_few_are_told(images, tmp_path):
    save_run(tmp_path, make_method(settings("simclr"), None), settings("simclr"))
    few = config.pictures()
    few.test_split = "test[:8]"
    found = picture_file.read(pictures.write(few, str(tmp_path)))
    assert found.tsne.shape == (8, 2)
    assert np.isfinite(found.tsne).all()
    few.test_split = "test[:7]"
    with pytest.raises(UserError, match=r"config.test_split=test\[:7\] of digits has 7 images: give one"):
        pictures.write(few, str(tmp_path))


def test_a_folder_without_a_run_is_told(tmp_path):
    with pytest.raises(UserError, match="has no folder checkpoints"):
        pictures.write(config.pictures(), str(tmp_path))
