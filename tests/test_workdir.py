"""The files by which a workdir knows its run: which settings may continue it, and its metrics."""

import json

import pytest
from test_config import with_value

from sidae_jax.config import FREE_KEYS, pretraining
from sidae_jax.errors import UserError
from sidae_jax.runs.workdir import FORMAT, Workdir

CONFIG = pretraining("sidae", "digits", data_dir="/data", epochs=3)


def opened(folder, config=CONFIG, data_sha256=None):
    """As main opens a workdir, by another process than the one that writes."""
    folder.mkdir(exist_ok=True)
    with Workdir(folder, config, lock=False) as workdir:
        if data_sha256 is not None:
            workdir.check_images(data_sha256)
        return workdir


@pytest.fixture
def run(tmp_path):
    opened(tmp_path).write_config("a" * 64)
    return tmp_path


def test_a_continued_run_keeps_its_config_json_and_other_versions_are_told(run, caplog):
    path = run / "config.json"
    content = json.loads(path.read_text())
    del content["sha256"]  # as one does who changes it on purpose
    path.write_text(json.dumps(content).replace('"jax": "', '"jax": "0.0.'))
    before = path.read_text()
    opened(run).write_config("a" * 64)
    assert path.read_text() == before
    assert "jax 0.0." in caplog.text


def test_a_new_workdir_and_the_same_settings_are_accepted(run, tmp_path):
    assert opened(tmp_path / "new", CONFIG).new
    assert not opened(run, CONFIG, "a" * 64).new


@pytest.mark.parametrize(
    ("key", "value", "change"),
    [
        ("seed", 7, "seed: 0 -> 7"),
        ("epochs", 4, "epochs: 3 -> 4"),
        ("train_split", "train[:9]", r"train_split: train -> train\[:9\]"),
        ("views.p_blur", 0.5, "views.p_blur: 0.0 -> 0.5"),
        ("views.crop_scale", (0.5, 1.0), r"views.crop_scale: \[0.2, 1.0\] -> \[0.5, 1.0\]"),
    ],
)
def test_a_setting_with_another_result_is_refused(run, key, value, change):
    with pytest.raises(UserError, match=rf"workdir={run} .*\({change}\).*old values to continue.*another --workdir"):
        opened(run, with_value(CONFIG, key, value))


def test_another_method_and_other_images_are_refused(run):
    with pytest.raises(UserError, match=r"method: sidae -> simsiam, target: image -> none, w: 0.5 -> none"):
        opened(run, pretraining("simsiam", "digits", data_dir="/data", epochs=3))
    with pytest.raises(UserError, match=f"now has sha256 {'b' * 12}, it had {'a' * 12}; .*data_dir.*another --workdir"):
        opened(run, CONFIG, "b" * 64)


def test_free_keys_may_change(run):
    values = {"data_dir": "/elsewhere", "checkpoint_every": 1, "log_every": 1, "input": "stream", "num_seeds": 2}
    values |= {"native": "off", "loggers": "tensorboard", "monitor_every": 0, "stop_when": "knn:3", "peer_timeout": 7}
    assert set(values) == set(FREE_KEYS)
    for key, value in values.items():
        opened(run, with_value(CONFIG, key, value), "a" * 64)


@pytest.mark.parametrize("format_", [None, FORMAT - 1, FORMAT + 1])
def test_a_run_of_another_format_is_refused_with_the_revision_that_began_it(run, format_):
    content = json.loads((run / "config.json").read_text())
    assert content.pop("format") == FORMAT
    del content["sha256"]
    content |= {"git_revision": "abc123"} | ({} if format_ is None else {"format": format_})
    (run / "config.json").write_text(json.dumps(content))
    says = rf"workdir={run} holds a run of another version.*format {format_ or 1}, .*has {FORMAT}\).*abc123.*--workdir"
    with pytest.raises(UserError, match=says):
        opened(run)


def test_checkpoints_without_their_config_json_are_refused(run):
    (run / "config.json").unlink()
    (run / "checkpoints" / "40").mkdir(parents=True)
    with pytest.raises(UserError, match=rf"{run}/config.json is missing beside checkpoints: put it back"):
        opened(run)


@pytest.mark.parametrize("content", ["", "{", "[]", "3", '{"config": 3}', '{"config": {}}', '{"config": [5]}', b"\xff"])
def test_a_corrupt_config_json_is_refused(run, content):
    (run / "config.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=f"(?s){run}/config.json is not the config.json of a run.*--workdir"):
        opened(run, CONFIG)


@pytest.mark.parametrize("lines", [[], ['{"step": 30, "lo'], ["", "[1]", "null", '{"loss": 1}'], ["\udcff\udcfe"]])
def test_metrics_are_cut_back_to_the_step_and_corrupt_lines_dropped(tmp_path, lines):
    good = [json.dumps({"step": step, "loss": 1 / step}) for step in (10, 20)]
    path = tmp_path / "metrics.jsonl"
    text = "\n".join([*good, json.dumps({"step": 30, "loss": 0}), *lines])
    path.write_bytes(text.encode(errors="surrogateescape"))
    with opened(tmp_path).open_metrics(20) as file:
        file.write('{"step": 21}\n')
        assert path.read_text() == "\n".join([*good, '{"step": 21}\n'])
    assert {path.name for path in tmp_path.iterdir()} <= {"metrics.jsonl", ".damaged-20-metrics.jsonl"}
