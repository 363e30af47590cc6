"""Files with the keys of earlier versions stay readable, and their runs can be continued."""

import json

import numpy as np
import pytest
from ml_collections import ConfigDict

from sidae_jax.runs import old_names
from sidae_jax.runs.checkpoint import Checkpoints
from sidae_jax.runs.workdir import Workdir


def test_keys_are_renamed_at_any_depth_and_values_stay():
    old = {"normalisation": "ab", "config": {"classes": 10}, "list": [1, "classes"], "none": None}
    new = {"normalization": "ab", "config": {"num_classes": 10}, "list": [1, "classes"], "none": None}
    assert old_names.modern(old) == new
    assert old_names.modern(new) == new
    assert old["config"] == {"classes": 10}


def test_runs_and_evaluations_without_newer_keys_had_what_there_was():
    run, record = {"stem": "cifar", "zero_init_residual": False}, {"labelled_rows_sha256": "ab", "accuracy": 0.5}
    added = {"precision": "tensorfloat32"}
    of_runs = {
        "native": "off",
        "size": 32,
        "store_size": None,
        "backbone": "resnet18",
        "accumulate": 1,
        "loggers": None,
        "peer_timeout": 100,
    }
    assert old_names.modern({"config": run}) == {"config": run | added | of_runs}
    assert old_names.modern(record) == {"labeled_rows_sha256": "ab", "accuracy": 0.5} | added
    assert old_names.modern(record | {"precision": "bfloat16"})["precision"] == "bfloat16"


@pytest.mark.parametrize("value", [[], 3, "classes", None])
def test_other_json_values_stay(value):
    assert old_names.modern(value) == value


def test_a_checkpoint_with_old_keys_is_restored(tmp_path):
    arrays = {"step": np.array(1, np.int32)}
    old = {"step": 1, "config": {"classes": 10, "views": {"hue": 0.1}}, "normalisation": {"mean": [0.5]}}
    with Checkpoints(tmp_path, read_only=False) as checkpoints:
        checkpoints.save(1, arrays, old, scheduled=True)
    assert '"normalisation"' in (tmp_path / "checkpoints" / "1" / "metadata" / "metadata").read_text()
    with Checkpoints(tmp_path, read_only=False) as checkpoints:
        step, found, metadata = checkpoints.newest_intact(arrays)
    assert (step, found) == (1, arrays)
    assert metadata["config"] == {"num_classes": 10, "views": {"hue": 0.1}}
    assert metadata["normalization"] == {"mean": [0.5]}
    assert "normalisation" not in metadata


def test_a_run_whose_config_json_has_old_keys_is_continued(tmp_path):
    config = ConfigDict({"method": "vae", "num_classes": 10, "views": {"hue": 0.1}, "native": "off"})
    with Workdir(tmp_path, config, lock=False) as workdir:
        workdir.write_config("a" * 64)
    path = tmp_path / "config.json"
    content = json.loads(path.read_text().replace('"num_classes"', '"classes"'))
    del content["sha256"]  # as in a file of that version
    old = json.dumps(content)
    path.write_text(old)
    with Workdir(tmp_path, config, lock=False) as workdir:
        assert not workdir.new
        workdir.write_config("a" * 64)
    assert path.read_text() == old
