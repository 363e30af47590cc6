"""The backbone that is evaluated: a checkpoint's, the untrained one, and an encoder loaded in a line."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from saved_runs import NORMALIZATION, PRETRAINING, normalized_by_hand, restore, save, state_arrays, trained_arrays

import sidae_jax
from sidae_jax import data
from sidae_jax.errors import UserError
from sidae_jax.evaluation import backbone as backbones
from sidae_jax.networks.batch_norm import BatchNorm
from sidae_jax.runs import checkpoint

BACKBONE = ("params.encoder.backbone.", "batch_stats.encoder.backbone.")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return save(tmp_path_factory.mktemp("run"), {step: trained_arrays(step) for step in (4, 8)})


@pytest.fixture(scope="module")
def backbone(run):
    return restore(run, 8)


@pytest.fixture(scope="module")
def images():
    return data.load("digits", "train[:40]")


def test_restore_gives_the_checkpoints_backbone_bit_for_bit(run):
    for step in 4, 8:
        found = restore(run, step)
        wanted = {name: value for name, value in trained_arrays(step).items() if name.startswith(BACKBONE)}
        assert len(wanted) == 100
        assert checkpoint.arrays_sha256(found.arrays()) == checkpoint.arrays_sha256(wanted)
        assert found.normalization == NORMALIZATION


@pytest.mark.parametrize("name", ["params.encoder.backbone.blocks.3.norm1.bias", f"{BACKBONE[1]}stem_norm.var"])
def test_a_backbone_without_a_leaf_or_with_another_shape_is_refused(tmp_path, name):
    arrays = trained_arrays(1)
    shorter = {**arrays, name: arrays[name][1:]}
    del arrays[name]
    save(tmp_path, {1: arrays, 2: shorter})
    for step in 1, 2:
        with pytest.raises(checkpoint.CorruptCheckpoint, match=name):
            restore(tmp_path, step)


def test_untrained_is_the_runs_start_with_the_mean_of_the_batches_statistics(run, images, monkeypatch):
    monkeypatch.setattr(backbones, "_BATCH", 16)  # 40 images: two whole batches
    with checkpoint.Checkpoints(run, read_only=True) as checkpoints:
        found = backbones.untrained_backbone(checkpoints.metadata(8), images.images)
    initial = state_arrays()
    for name, value in found.arrays().items():
        if name.startswith(BACKBONE[0]):
            np.testing.assert_array_equal(value, initial[name], err_msg=name)
        else:
            assert (value != initial[name]).all(), name
    stem = np.asarray(found.network.stem(normalized_by_hand(images.images[:32]))).reshape(2, -1, 4).astype(np.float64)
    np.testing.assert_allclose(found.network.stem_norm.mean[...], stem.mean(1).mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.network.stem_norm.var[...], stem.var(1, ddof=1).mean(0), rtol=1e-4)


def test_untrained_is_compiled_once_for_all_seeds_and_keeps_the_momentum(images):
    before = backbones._batch_statistics._cache_size()
    found = []
    for seed in 0, 1:
        config = {**PRETRAINING.to_dict(), "seed": seed}
        metadata = {"config": config, "normalization": dataclasses.asdict(NORMALIZATION)}
        found.append(backbones.untrained_backbone(metadata, images.images[:24]))
        norms = [module for _, module in nnx.iter_modules(found[-1].network) if isinstance(module, BatchNorm)]
        assert [norm.momentum for norm in norms] == [0.9] * 20
    assert backbones._batch_statistics._cache_size() == before + 1
    stems = [np.asarray(backbone.network.stem_norm.mean[...]) for backbone in found]
    assert (stems[0] != stems[1]).all()  # each of its own weights


def test_the_untrained_backbone_trains_on_with_running_statistics_of_many_batches(run, images):
    """Its statistics are set by a pass of its own; the momentum of that pass must not stay behind."""
    with checkpoint.Checkpoints(run, read_only=True) as checkpoints:
        metadata = checkpoints.metadata(8)
    found = backbones.untrained_backbone(metadata, images.images)
    restored = {"untrained": found.network, "initial": backbones._method(metadata).encoder.backbone}
    momenta = {
        name: [module.momentum for _, module in nnx.iter_modules(network) if isinstance(module, BatchNorm)]
        for name, network in restored.items()
    }
    assert momenta["untrained"] == momenta["initial"] == [0.9] * 20
    # as fine-tuning uses it: the running mean of the first layer after a batch of other images
    stem = found.network.stem_norm
    before = np.array(stem.mean[...])
    x = 1 - backbones.normalize(jnp.asarray(images.images[:32]), found.normalization)
    found.network(x)
    of_batch = np.asarray(found.network.stem(x)).mean((0, 1, 2))
    np.testing.assert_allclose(stem.mean[...], 0.9 * before + 0.1 * of_batch, rtol=1e-4, atol=1e-6)


def test_an_encoder_is_loaded_in_a_line(run, backbone, images, tmp_path):
    np.testing.assert_array_equal(
        sidae_jax.load(run)(images.images), backbones.compute_features(backbone, images.images)
    )
    assert not np.array_equal(sidae_jax.load(str(run), step=4)(images.images), sidae_jax.load(run)(images.images))
    give = "give one of the integers 4, 8, best for the one with the highest kNN, or None for the last"
    for path, step, says in (
        (run, 5, f"^step=5 is not saved in {run}/checkpoints: {give}$"),
        (run, 0, f"^step=0 is the untrained backbone, which no checkpoint has in .*: {give}$"),
        (tmp_path, None, f"^run={tmp_path} has no folder checkpoints"),
        (f"{run}x", None, rf"^run={run}x does not exist or is no folder: did you mean {run}\?$"),
    ):
        with pytest.raises(UserError, match=says):
            sidae_jax.load(path, step)
    with pytest.raises(UserError, match="dtype float32"):
        sidae_jax.load(run)(images.images / np.float32(255))
