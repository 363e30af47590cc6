"""A run as a program sees it, from plain files that may be damaged. No part of it was trained here."""

import json
import logging

import numpy as np
import pytest

import sidae_jax
from sidae_jax.config import pretraining, validate
from sidae_jax.config_values import plain
from sidae_jax.errors import UserError
from sidae_jax.runs.checkpoint import Checkpoints


@pytest.fixture
def workdir(tmp_path):
    folder = tmp_path / "runs" / "digits"
    folder.mkdir(parents=True)
    config = pretraining("vae", "digits", epochs=8)
    (folder / "config.json").write_text(json.dumps({"config": plain(config), "data_sha256": ""}))
    return folder


def test_the_metrics_are_columns_with_gaps(workdir, caplog):
    lines = [
        {"step": 10, "epoch": 0.5, "loss": 2.0, "note": "text"},
        {"step": 20, "epoch": 1.0, "loss": 1, "knn": 0.75, "flag": True},
        "not a record",
        {"epoch": 1.5},
        {"step": "30"},
        {"step": 10**300},
        {"step": 30, "epoch": 1.5, "loss": float("nan"), "rankme": 12.5, "knn": 10**400},
    ]
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (workdir / "metrics.jsonl").write_text("\n".join(texts) + '\n{"step": 40, "epo')
    with caplog.at_level(logging.WARNING):
        metrics = sidae_jax.Run(workdir).metrics
    for record, number in zip(caplog.records, (3, 4, 5, 6), strict=True):
        assert f"metrics.jsonl: line {number} is corrupt" in record.getMessage()
    gap = np.nan
    wanted = {"epoch": [0.5, 1, 1.5], "loss": [2, 1, gap], "knn": [gap, 0.75, gap], "rankme": [gap, gap, 12.5]}
    assert list(metrics) == ["step", *wanted]
    assert metrics["step"].dtype == np.int64
    np.testing.assert_array_equal(metrics["step"], [10, 20, 30])
    for name, values in wanted.items():
        assert metrics[name].dtype == np.float64
        np.testing.assert_array_equal(metrics[name], values)
    text = repr(sidae_jax.Run(workdir))
    assert text == f"<Run {workdir}: vae on digits train, epoch 1.5 of 8, loss nan, 0 checkpoints, 0 results>"


def test_an_empty_run_has_a_config_that_trains(workdir):
    run = sidae_jax.Run(str(workdir))
    assert (run.metrics, run.results, run.checkpoints) == ({}, [], [])
    validate(run.config)
    assert run.config.to_dict() == pretraining("vae", "digits", epochs=8).to_dict()
    with pytest.raises(AttributeError, match="epoch"):
        run.config.epoch = 3
    assert repr(run) == f"<Run {workdir}: vae on digits train, 0 checkpoints, 0 results>"


def test_results_and_checkpoints_are_those_on_the_disk(workdir, caplog):
    (workdir / "eval").mkdir()
    for name, steps in (("linear-digits-1-seed0", [0, 9]), ("knn-digits-1-seed0", [0])):
        records = [json.dumps({"step": step, "accuracy": 0.5}) for step in steps]
        (workdir / "eval" / f"{name}.jsonl").write_text("\n".join([*records, "damaged"]))
    with Checkpoints(workdir, read_only=False) as checkpoints:
        for step in 9, 10:
            checkpoints.save(step, {"x": np.zeros(3)}, {}, scheduled=True)
    run = sidae_jax.Run(workdir)
    with caplog.at_level(logging.WARNING):
        assert [record["step"] for record in run.results] == [0, 0, 9]
    assert len(caplog.records) == 2
    assert run.checkpoints == [9, 10]
    assert "2 checkpoints, the last at step 10, 3 results" in repr(run)
    with pytest.raises(UserError, match="step=11 is not saved"):
        run.encoder(11)


def test_what_is_no_run_is_named(workdir, tmp_path):
    for path, says in (
        (f"{workdir}x", rf"workdir={workdir}x does not exist or is no folder: did you mean {workdir}\?"),
        (workdir.parent, rf"workdir={workdir.parent} holds no config.json of a run: give one of .* {workdir}$"),
    ):
        with pytest.raises(UserError, match=says):
            sidae_jax.Run(path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"give the folder of a run$"):
        sidae_jax.Run(tmp_path / "empty")
    for text in ("{", "[]", '{"config": {}}', '{"config": {"views": 1}}', "[" * 100_000):
        (workdir / "config.json").write_text(text)
        with pytest.raises(UserError, match=r"is not the config.json of a run"):
            sidae_jax.Run(workdir)
