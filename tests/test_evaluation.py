"""The linear evaluation by the program's own function: its result file, transfers and mistakes."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from saved_runs import NORMALIZATION, PRETRAINING, arrays_of, flip_a_bit, restore, save, trained_arrays

from sidae_jax import data
from sidae_jax.config import pretraining
from sidae_jax.errors import UserError
from sidae_jax.evaluation import backbone as backbones
from sidae_jax.evaluation import feature_cache, results
from sidae_jax.evaluation.config import protocol, validate
from sidae_jax.evaluation.fit import accuracy
from sidae_jax.evaluation.linear_probe import logits, train_probe
from sidae_jax.evaluation.protocols import LinearProbe
from sidae_jax.evaluation.run import evaluate, labeled_rows
from sidae_jax.files import write_text
from sidae_jax.methods import make_method
from sidae_jax.report import run_index as report_runs
from sidae_jax.report import summaries as report_results
from sidae_jax.runs import checkpoint

KEYS = {
    *("step", "epoch", "method", "pretrain_seed", "protocol", "dataset", "train_split", "test_split"),
    *("label_fraction", "seed", "precision", "native", "n_train", "n_test", "accuracy", "seconds"),
    *("labeled_rows_sha256", "features", "probe"),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return save(tmp_path_factory.mktemp("run"), {step: trained_arrays(step) for step in (4, 8)})


@pytest.fixture(scope="module")
def images():
    return data.load("digits", "train[:40]")


def tiny(**changes):
    config = protocol()
    config.update({"train_split": "train[:40]", "test_split": "test[:30]", "probe": {"epochs": 5, "batch_size": 16}})
    config.update(changes)
    return config


def lines_of(path):
    records, problems = results.parse(path)
    assert problems == []
    return records


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
    settings = ("batch_size = 16", "epochs = 5")
    assert sorted(row.task.settings for row, *_ in rows) == [settings, (*settings, "features = projector")]
    assert "features of the projector" in capsys.readouterr().out
    (backbone,) = evaluate(tiny(), str(workdir), only_step=0)
    assert backbone["features"] == "backbone"


def test_a_method_without_a_projector_is_told(tmp_path):
    vae = pretraining("vae", "digits", width=4, d_hid=8)
    save(tmp_path, {8: arrays_of(make_method(vae, None))}, made_by=vae)
    with pytest.raises(UserError, match=r"features=projector, but the run's method, vae, has no projector"):
        evaluate(tiny(features="projector"), str(tmp_path))


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
        checkpoints.settle()
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
    with pytest.raises(UserError, match=r"--workdir=\S+/run cannot be written \(.*/run/eval"):
        evaluate(tiny(), str(workdir))
    (workdir / "eval").unlink()
    unlabelled = dataclasses.replace(images, labels=np.full(40, -1, np.int32))
    with monkeypatch.context() as patch:
        patch.setattr(data, "load", lambda *_, **__: unlabelled)
        with pytest.raises(UserError, match=r"config.train_split=.* without labels: give"):
            evaluate(tiny(), str(workdir))
    flip_a_bit(max((workdir / "checkpoints" / "4" / "metadata").iterdir(), key=lambda path: path.stat().st_size))
    with pytest.raises(UserError, match=r"checkpoints/4.*another one, by --step"):
        evaluate(tiny(), str(workdir))


@pytest.mark.parametrize(
    ("name", "fraction", "says"),
    [
        ("knn", 0.5, r"config.knn.k=200 is too many neighbors: .* leave 20 image.s.; give --config.knn.k=20 or less"),
        ("finetune", 0.02, r"leave 1 image\(s\), and BatchNorm needs two: give a larger --config.label_fraction"),
        ("mlp", 0.02, "and BatchNorm needs two"),
    ],
)
def test_an_evaluation_with_too_few_images_is_refused(run, name, fraction, says):
    config = protocol(name)
    config.update({"train_split": "train[:40]", "test_split": "test[:30]", "label_fraction": fraction})
    validate(config)
    with pytest.raises(UserError, match=says):
        evaluate(config, str(run))
    assert not list((run / "eval").glob(f"{name}-*"))


def test_fewer_images_than_classes_are_warned_of(run, tmp_path, capsys):
    workdir = shutil.copytree(run, tmp_path / "run")
    evaluate(tiny(label_fraction=0.2), str(workdir), only_step=0)
    warning = (
        "warning: config.label_fraction=0.2 of config.train_split=train[:40] are 8 images, fewer than the 10 classes"
    )
    assert warning in capsys.readouterr().err
    evaluate(tiny(label_fraction=0.25), str(workdir), only_step=0)
    assert "warning" not in capsys.readouterr().err
