"""The features of images: those of a plain forward pass, on all devices, computed once and cached."""

import dataclasses
import shutil

import jax
import numpy as np
import pytest
from flax import nnx
from jax.sharding import Mesh
from saved_runs import PRETRAINING, flip_a_bit, normalized_by_hand, restore, save, trained_arrays

from sidae_jax import data
from sidae_jax.data.normalization import Normalization
from sidae_jax.errors import UserError
from sidae_jax.evaluation import backbone as backbones
from sidae_jax.evaluation import feature_cache
from sidae_jax.methods import make_method
from sidae_jax.runs import checkpoint


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return save(tmp_path_factory.mktemp("run"), {step: trained_arrays(step) for step in (4, 8)})


@pytest.fixture(scope="module")
def backbone(run):
    return restore(run, 8)


@pytest.fixture(scope="module")
def images():
    return data.load("digits", "train[:40]")


def test_features_are_those_of_a_plain_forward_pass_and_change_nothing(backbone, images, monkeypatch):
    before = checkpoint.arrays_sha256(backbone.arrays())
    found = backbones.compute_features(backbone, images.images)
    plain = [
        np.asarray(backbone.network(normalized_by_hand(images.images[i : i + 5]), use_running_average=True))
        for i in range(0, 40, 5)
    ]
    assert (found.shape, found.dtype) == ((40, 32), np.float32)
    np.testing.assert_allclose(found, np.concatenate(plain), rtol=1e-4, atol=1e-5)
    assert found.std(0).max() > 0.01
    order = np.random.default_rng(0).permutation(40)
    np.testing.assert_allclose(
        backbones.compute_features(backbone, images.images[order]), found[order], rtol=1e-5, atol=1e-6
    )
    monkeypatch.setattr(backbones, "_BATCH", 12)  # the last of four batches holds 4 images
    np.testing.assert_allclose(backbones.compute_features(backbone, images.images), found, rtol=1e-4, atol=1e-5)
    assert checkpoint.arrays_sha256(backbone.arrays()) == before


def test_features_are_computed_on_all_devices(backbone, images, monkeypatch):
    forward, computed = backbones.forward, []
    monkeypatch.setattr(backbones, "forward", lambda *arguments: computed.append(forward(*arguments)) or computed[-1])
    found = backbones.compute_features(backbone, images.images)
    (output,) = computed
    assert {shard.data.shape for shard in output.addressable_shards} == {(64, 32)}
    assert len({shard.device for shard in output.addressable_shards}) == 8
    monkeypatch.setattr(backbones, "local_mesh", lambda _: Mesh(np.array(jax.devices()[:1]), ("data",)))
    np.testing.assert_allclose(backbones.compute_features(backbone, images.images), found, rtol=1e-5, atol=1e-6)


def test_features_of_the_projector_are_z(run, backbone, images, tmp_path):
    with checkpoint.Checkpoints(run, read_only=True) as checkpoints:
        found = backbones.restore_backbone(checkpoints, 8, "projector")
    method = make_method(PRETRAINING, None)
    _, params, batch_stats = nnx.split(method, nnx.Param, nnx.BatchStat)
    for state, prefix in ((params, "params."), (batch_stats, "batch_stats.")):
        nnx.update(method, jax.device_put(checkpoint.from_arrays(state, trained_arrays(8), prefix)))
    z = np.asarray(method.encoder(normalized_by_hand(images.images), use_running_average=True))
    assert z.shape == (40, PRETRAINING.d_hid)
    np.testing.assert_allclose(backbones.compute_features(found, images.images), z, rtol=1e-3, atol=1e-4)
    cached = [feature_cache.cached_features(tmp_path, "train", b, images) for b in (backbone, found, backbone)]
    np.testing.assert_allclose(cached[1], z, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(cached[0], cached[2])
    assert len(list(tmp_path.glob("*.npy"))) == 2


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((2, 32, 32, 3), np.float32),
        np.zeros((32, 32, 3), np.uint8),
        np.zeros((2, 28, 28, 1), np.uint8),
        np.zeros((0, 32, 32, 3), np.uint8),
    ],
    ids=["float", "one image", "another size", "none"],
)
def test_images_that_would_have_wrong_features_are_refused(backbone, images):
    with pytest.raises(UserError, match=r"dtype (float32|uint8) and shape .*: give uint8 of \[n, 32, 32, 3\]"):
        backbones.compute_features(backbone, images)


def test_features_are_computed_once_for_a_backbone_and_images(tmp_path, run, backbone, images, monkeypatch, caplog):
    computed = []

    def features(backbone, images):
        computed.append(len(images))
        return np.full((len(images), 2), len(computed), np.float32)

    def cached(backbone=backbone, images=images):
        return feature_cache.cached_features(tmp_path, "train", backbone, images)[0, 0]

    monkeypatch.setattr(feature_cache, "compute_features", features)
    assert [cached(), cached()] == [1, 1]
    assert not caplog.records
    fewer = dataclasses.replace(images, images=images.images[:9], labels=images.labels[:9])
    others = {"images": fewer}, {"backbone": restore(run, 4)}
    renormalized = {
        "backbone": dataclasses.replace(backbone, normalization=Normalization((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)))
    }
    assert [cached(**other) for other in (*others, renormalized)] == [2, 3, 4]
    shutil.rmtree(tmp_path)
    assert cached() == 5
    (array,), (sidecar,) = tmp_path.glob("*.npy"), tmp_path.glob("*.json")
    damages = (
        lambda: flip_a_bit(array),
        lambda: array.write_bytes(b""),
        lambda: array.write_bytes(array.read_bytes()[:-1]),
        lambda: sidecar.write_text("{"),
        lambda: sidecar.write_text("3"),
        sidecar.unlink,
        array.unlink,
    )
    for i, harm in enumerate(damages):
        harm()
        assert [cached(), cached()] == [6 + i, 6 + i]
    assert len(caplog.records) == 5  # a file that is missing is not corrupt
    assert len(list(tmp_path.iterdir())) == 2
