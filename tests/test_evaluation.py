"""The linear evaluation: the backbone of a checkpoint, its features, their cache and the result file."""

import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import Mesh

import sidae_jax
from sidae_jax import data
from sidae_jax.config import pretraining
from sidae_jax.data.normalization import Normalization
from sidae_jax.errors import UserError
from sidae_jax.evaluation import backbone as backbones
from sidae_jax.evaluation import feature_cache, results
from sidae_jax.evaluation.config import linear_probe
from sidae_jax.evaluation.linear_probe import logits, train_probe
from sidae_jax.evaluation.protocols import LinearProbe
from sidae_jax.evaluation.run import evaluate
from sidae_jax.evaluation.subset import labeled_rows
from sidae_jax.evaluation.supervised import accuracy
from sidae_jax.files import write_text
from sidae_jax.methods import make_method
from sidae_jax.networks.batch_norm import BatchNorm
from sidae_jax.report import run_index as report_runs
from sidae_jax.report import summaries as report_results
from sidae_jax.runs import checkpoint

PRETRAINING = pretraining("simsiam", "digits", width=4, d_hid=32, seed=3)
NORMALIZATION = Normalization((0.2, 0.3, 0.4), (0.5, 0.6, 0.7))  # not that of the images evaluated
BACKBONE = ("params.encoder.backbone.", "batch_stats.encoder.backbone.")
KEYS = {
    *("step", "epoch", "method", "pretrain_seed", "protocol", "dataset", "train_split", "test_split"),
    *("label_fraction", "seed", "n_train", "n_test", "accuracy", "seconds", "labeled_rows_sha256"),
    *("features", "probe"),
}


def arrays_of(method: nnx.Module) -> checkpoint.Arrays:
    """Named as in a checkpoint."""
    _, params, batch_stats = nnx.split(method, nnx.Param, nnx.BatchStat)
    return checkpoint.to_arrays(params, "params.") | checkpoint.to_arrays(batch_stats, "batch_stats.")


def state_arrays() -> checkpoint.Arrays:
    """Those of the method before its first step."""
    return arrays_of(make_method(PRETRAINING, None))


def trained_arrays(step: int) -> checkpoint.Arrays:
    """As if trained: every value has moved."""
    rng = np.random.default_rng(step)
    return {
        name: value + rng.uniform(0.01, 0.2, value.shape).astype(value.dtype) for name, value in state_arrays().items()
    }


def save(workdir, arrays_by_step, made_by=PRETRAINING, dataset="digits"):
    metadata = {
        "config": {**made_by.to_dict(), "dataset": dataset},
        "normalization": dataclasses.asdict(NORMALIZATION),
    }
    with checkpoint.Checkpoints(workdir, read_only=False) as checkpoints:
        for step, arrays in arrays_by_step.items():
            checkpoints.save(step, arrays, {"step": step, "epoch": step / 2, **metadata}, scheduled=True)
    return workdir


def restore(workdir, step):
    with checkpoint.Checkpoints(workdir, read_only=True) as checkpoints:
        return backbones.restore_backbone(checkpoints, step)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return save(tmp_path_factory.mktemp("run"), {step: trained_arrays(step) for step in (4, 8)})


@pytest.fixture(scope="module")
def backbone(run):
    return restore(run, 8)


@pytest.fixture(scope="module")
def images():
    return data.load("digits", "train[:40]")


# --- the backbone


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


def by_hand(images):
    normalized = (images / np.float64(255) - NORMALIZATION.mean) / NORMALIZATION.std
    return jnp.asarray(normalized, jnp.float32)


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
    stem = np.asarray(found.network.stem(by_hand(images.images[:32]))).reshape(2, -1, 4).astype(np.float64)
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


def test_features_are_those_of_a_plain_forward_pass_and_change_nothing(backbone, images, monkeypatch):
    before = checkpoint.arrays_sha256(backbone.arrays())
    found = backbones.compute_features(backbone, images.images)
    plain = [
        np.asarray(backbone.network(by_hand(images.images[i : i + 5]), use_running_average=True))
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
    forward, computed = backbones._forward, []
    monkeypatch.setattr(backbones, "_forward", lambda *arguments: computed.append(forward(*arguments)) or computed[-1])
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
    z = np.asarray(method.encoder(by_hand(images.images), use_running_average=True))
    assert z.shape == (40, PRETRAINING.d_hid)
    np.testing.assert_allclose(backbones.compute_features(found, images.images), z, rtol=1e-3, atol=1e-4)
    cached = [feature_cache.cached_features(tmp_path, "train", b, images) for b in (backbone, found, backbone)]
    np.testing.assert_allclose(cached[1], z, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(cached[0], cached[2])
    assert len(list(tmp_path.glob("*.npy"))) == 2


def test_features_of_the_projector_have_a_file_of_their_own(run, tmp_path, capsys):
    workdir = shutil.copytree(run, tmp_path / "run")
    evaluate(tiny(), str(workdir), only_step=0)
    path = workdir / "eval" / "linear-digits-1-seed0.jsonl"
    (before,) = lines_of(path)
    del before["features"]  # as files were written before there was the key
    path.write_text(json.dumps(before) + "\n")
    (projector,) = evaluate(tiny(features="projector"), str(workdir), only_step=0)
    assert projector["features"] == "projector"
    assert lines_of(workdir / "eval" / "linear-digits-1-projector-seed0.jsonl") == [projector]
    write_text(workdir / "config.json", json.dumps({"config": PRETRAINING.to_dict()}))
    rows = report_results.read(report_runs.find_runs(workdir))
    settings = "batch_size = 16, epochs = 5"
    assert sorted(row.task.settings for row, *_ in rows) == [settings, f"{settings}, features = projector"]
    assert "features of the projector" in capsys.readouterr().out
    (backbone,) = evaluate(tiny(), str(workdir), only_step=0)
    assert backbone["features"] == "backbone"


def test_a_method_without_a_projector_is_told(tmp_path):
    vae = pretraining("vae", "digits", width=4, d_hid=8)
    save(tmp_path, {8: arrays_of(make_method(vae, None))}, made_by=vae)
    with pytest.raises(UserError, match=r"features=projector, but the run's method, vae, has no projector"):
        evaluate(tiny(features="projector"), str(tmp_path))


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


def corruption(path):
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


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
        lambda: corruption(array),
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


# --- the whole evaluation


def tiny(**changes):
    config = linear_probe()
    config.update({"train_split": "train[:40]", "test_split": "test[:30]", "probe": {"epochs": 5, "batch_size": 16}})
    config.update(changes)
    return config


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_run_is_evaluated_and_its_result_file_kept_up(run, tmp_path, capsys):
    workdir = shutil.copytree(run, tmp_path / "run")
    records = evaluate(tiny(label_fraction=0.5), str(workdir))
    path = workdir / "eval" / "linear-digits-0.5-seed0.jsonl"
    assert lines_of(path) == records
    assert [record["step"] for record in records] == [0, 4, 8]
    for record in records:
        assert record.keys() == KEYS
    same = {"epoch": 4, "method": "simsiam", "pretrain_seed": 3, "dataset": "digits", "n_train": 20, "n_test": 30}
    assert {key: records[2][key] for key in same} == same
    assert records[2]["probe"] == {"epochs": 5, "batch_size": 16, "lr": 0.05, "momentum": 0.9}

    train, test = (data.load("digits", split) for split in ("train[:40]", "test[:30]"))
    rows, backbone = labeled_rows(40, 0.5), restore(run, 8)
    features = backbones.compute_features(backbone, train.images)[rows]
    layer = train_probe(features, train.labels[rows], 10, LinearProbe(epochs=5, batch_size=16), seed=0)
    assert records[2]["accuracy"] == accuracy(
        logits(layer, backbones.compute_features(backbone, test.images)), test.labels
    )
    assert f"accuracy {100 * records[2]['accuracy']:.2f}% after step 8; results in {path}" in capsys.readouterr().out

    kept = {**records[2], "accuracy": -1}
    path.write_text("".join(json.dumps(record) + "\n" for record in [*records[:2], kept]))
    again = evaluate(tiny(label_fraction=0.5), str(workdir), only_step=4)
    assert [record["step"] for record in again] == [0, 4]
    assert lines_of(path) == [*again, kept]
    assert {**again[1], "seconds": 0} == {**records[1], "seconds": 0}
    (untrained,) = evaluate(tiny(label_fraction=0.5), str(workdir), only_step=0)
    assert {**untrained, "seconds": 0} == {**records[0], "seconds": 0}


def test_a_transfer_normalizes_as_the_pre_training_did(tmp_path, monkeypatch):
    save(tmp_path, {8: trained_arrays(8)}, dataset="cifar10")
    used = []

    def features(backbone, images):
        used.append((backbone.normalization, len(images)))
        return images.reshape(len(images), -1) / np.float32(255)  # pixels: a probe of them learns

    monkeypatch.setattr(feature_cache, "compute_features", features)
    long = {"epochs": 50, "batch_size": 16}
    records = evaluate(tiny(dataset="digits", label_fraction=0.5, probe=long), str(tmp_path))
    assert used == [(NORMALIZATION, 20), (NORMALIZATION, 30)] * 2
    assert {record["dataset"] for record in records} == {"digits"}
    assert (tmp_path / "eval" / "linear-digits-0.5-seed0.jsonl").exists()
    assert records[0]["accuracy"] > 0.3


def test_the_record_of_a_temporary_checkpoint_goes_with_it(run, tmp_path):
    workdir = shutil.copytree(run, tmp_path / "run")
    metadata = {"config": PRETRAINING.to_dict(), "normalization": dataclasses.asdict(NORMALIZATION)}
    path = workdir / "eval" / "linear-digits-1-seed0.jsonl"
    with checkpoint.Checkpoints(workdir, read_only=False) as checkpoints:
        checkpoints.save(9, trained_arrays(9), {"step": 9, "epoch": 4.5, **metadata}, scheduled=False)
        records = evaluate(tiny(), str(workdir))
        assert [record.get("temporary") for record in records] == [None, None, None, True]
        assert [record["step"] for record in results.read(path)] == [0, 4, 8, 9]
        checkpoints.save(12, trained_arrays(12), {"step": 12, "epoch": 6, **metadata}, scheduled=True)
    assert [record["step"] for record in results.read(path)] == [0, 4, 8]
    evaluate(tiny(), str(workdir), only_step=12)
    assert [record["step"] for record in results.read(path)] == [0, 4, 8, 12]
    shutil.rmtree(workdir / "checkpoints" / "4")  # by its user: a record is left out only where it is temporary
    assert [record["step"] for record in results.read(path)] == [0, 4, 8, 12]


def test_mistakes_of_an_evaluation_are_told(run, tmp_path, images, monkeypatch):
    workdir = shutil.copytree(run, tmp_path / "run")
    shutil.copytree(run, tmp_path / "several" / "seed4")
    with pytest.raises(UserError, match=r"has no folder checkpoints: .* one of the runs in it, .*/several/seed4"):
        evaluate(tiny(), str(tmp_path / "several"))
    (workdir / "eval").touch()
    with pytest.raises(UserError, match=r"run/eval cannot be written"):
        evaluate(tiny(), str(workdir))
    (workdir / "eval").unlink()
    unlabelled = dataclasses.replace(images, labels=np.full(40, -1, np.int32))
    with monkeypatch.context() as patch:
        patch.setattr(data, "load", lambda *_: unlabelled)
        with pytest.raises(UserError, match=r"config.train_split=.* without labels: give"):
            evaluate(tiny(), str(workdir))
    corruption(max((workdir / "checkpoints" / "4" / "metadata").iterdir(), key=lambda path: path.stat().st_size))
    with pytest.raises(UserError, match=r"checkpoints/4.*another one, by --step"):
        evaluate(tiny(), str(workdir))


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
        sidae_jax.load_encoder(run)(images.images), backbones.compute_features(backbone, images.images)
    )
    assert not np.array_equal(
        sidae_jax.load_encoder(str(run), step=4)(images.images), sidae_jax.load_encoder(run)(images.images)
    )
    for path, step, says in ((run, 5, "5 is not saved"), (run, 0, "needs images"), (tmp_path, None, "no folder check")):
        with pytest.raises(UserError, match=says):
            sidae_jax.load_encoder(path, step)
    with pytest.raises(UserError, match="dtype float32"):
        sidae_jax.load_encoder(run)(images.images / np.float32(255))
