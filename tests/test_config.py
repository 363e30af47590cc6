"""Every config file, every range of the check, and the files by which a workdir knows its run."""

import json
import pathlib
import runpy

import pytest
from ml_collections import ConfigDict

from sidae_jax.config import FREE_KEYS, flat, pretraining, validate, view_settings
from sidae_jax.data import DATASETS
from sidae_jax.errors import UserError
from sidae_jax.evaluation import config as evaluation_config
from sidae_jax.evaluation.protocols import PROTOCOLS
from sidae_jax.runs.workdir import FORMAT, Workdir
from sidae_jax.settings import METHOD_SETTINGS, ViewSettings

CONFIGS = pathlib.Path(__file__).parent.parent / "configs"
EVALUATIONS = {pathlib.Path(protocol.config_file).name: name for name, protocol in PROTOCOLS.items()}
PRETRAINING = sorted(path.name for path in CONFIGS.glob("*.py") if path.name not in EVALUATIONS)


def with_value(config: ConfigDict, key: str, value) -> ConfigDict:
    changed = config.copy_and_resolve_references()
    changed.update_from_flattened_dict({key: value})
    return changed


@pytest.mark.parametrize("method", METHOD_SETTINGS)
@pytest.mark.parametrize("name", PRETRAINING)
def test_every_config_file_loads_with_every_method_and_is_locked(name, method):
    config = runpy.run_path(str(CONFIGS / name))["get_config"](method)
    validate(config)
    assert (config.method, config.dataset) == (method, name.removesuffix(".py"))
    assert config.dataset in DATASETS
    for section in config, config.views:
        with pytest.raises(AttributeError):
            section.typo = 1


def test_the_configs_without_a_method_are_sidaes_and_the_evaluations_are_valid():
    for name in PRETRAINING:
        assert runpy.run_path(str(CONFIGS / name))["get_config"]().method == "sidae"
    for name, protocol in EVALUATIONS.items():
        config = runpy.run_path(str(CONFIGS / name))["get_config"]()
        assert config.protocol == protocol
        evaluation_config.validate(config)


def test_the_papers_settings():
    config = pretraining("sidae", "cifar10")
    wanted = {"epochs": 200, "batch_size": 512, "lr": 0.03, "momentum": 0.9, "weight_decay": 5e-4, "w": 0.5}
    assert {key: config[key] for key in wanted} == wanted
    assert view_settings(config) == ViewSettings()
    stl10 = runpy.run_path(str(CONFIGS / "stl10.py"))["get_config"]
    assert (stl10().w, stl10().train_split) == (0.25, "unlabelled")


INF, NAN = float("inf"), float("nan")
OUT_OF_RANGE = {
    "method": ["simsam", None],
    "stem": ["imagnet", ""],
    "input": ["ram"],
    "optimizer": ["adamw"],
    "schedule": ["linear"],
    "target": ["views"],
    "epochs": [0, -1],
    "checkpoint_every": [0],
    "num_seeds": [0, -1],
    "log_every": [0],
    "width": [0],
    "batch_size": [1, 0],
    "seed": [-1, 2**32],
    "lr": [0.0, -0.1, INF, NAN],
    "momentum": [-0.1, 1.0, NAN],
    "weight_decay": [-1e-9, INF, NAN],
    "d_hid": [2, 0, 30],
    "w": [-0.1, 1.1, NAN],
    "views.p_blur": [-0.1, 1.1, NAN],
    "views.p_flip": [2.0],
    "views.p_gray": [-1.0],
    "views.p_jitter": [1.5],
    "views.crop_scale": [(0.3,), (0.0, 1.0), (0.9, 0.2), (0.2, 1.1), (NAN, 1.0), (0.1, 0.2, 0.3)],
    "views.crop_ratio": [(1.1, 1.2), (0.5, 0.9), (0.0, 1.0), (0.5, INF)],
    "views.blur_sigma": [(0.0, 2.0), (2.0, 1.0), (0.1, INF), (0.1, NAN)],
    "views.hue": [-0.1, 0.6, NAN],
    "views.brightness": [-0.1, INF, NAN],
    "views.contrast": [-0.1],
    "views.saturation": [-0.1],
}
EDGES = {
    "seed": [0, 2**32 - 1],
    "momentum": [0.0],
    "weight_decay": [0.0],
    "w": [0.0, 1.0],
    "batch_size": [2],
    "d_hid": [4],
    "views.hue": [0.0, 0.5],
    "views.p_blur": [0.0, 1.0],
    "views.crop_scale": [(1.0, 1.0)],
    "views.crop_ratio": [(1.0, 1.0)],
    "views.brightness": [0.0, 2.0],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in OUT_OF_RANGE.items() for value in values])
def test_a_value_out_of_range_is_refused_by_its_key(key, value):
    config = pretraining("sidae", "digits")
    assert key in flat(config)
    with pytest.raises(UserError) as error:
        validate(with_value(config, key, value))
    assert f"{key}={value!r}" in str(error.value) or f"config.{key}={value}" in str(error.value)


@pytest.mark.parametrize(
    ("method", "key", "value"),
    [
        ("vae", "beta", -1.0),
        ("vae", "beta", INF),
        ("simclr", "temperature", 0.0),
        ("simclr", "temperature", NAN),
        ("ae", "d_hid", 0),
        ("ae", "num_classes", 1),
        ("supervised", "num_classes", 1),
    ],
)
def test_a_value_out_of_range_of_one_methods_key_is_refused(method, key, value):
    config = pretraining(method, "digits")
    validate(config)
    with pytest.raises(UserError, match=rf"config\.{key}={value}"):
        validate(with_value(config, key, value))


def test_every_key_with_a_range_is_tested_and_the_ranges_edges_are_good():
    without_range = {"dataset", "data_dir", "train_split", "zero_init_residual"}  # the data's, and a truth value
    assert set(OUT_OF_RANGE) | without_range == set(flat(pretraining("sidae", "digits")))
    for key, values in EDGES.items():
        for value in values:
            validate(with_value(pretraining("sidae", "digits"), key, value))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("label_fraction", 0.0),
        ("label_fraction", 1.01),
        ("label_fraction", NAN),
        ("seed", -1),
        ("protocol", "kmeans"),
        ("probe.epochs", 0),
        ("probe.batch_size", 0),
        ("probe.lr", 0.0),
        ("probe.lr", INF),
        ("probe.momentum", 1.0),
    ],
)
def test_an_evaluations_value_out_of_range_is_refused_by_its_key(key, value):
    with pytest.raises(UserError, match=key):
        evaluation_config.validate(with_value(evaluation_config.linear_probe(), key, value))


def test_keys_that_a_config_lacks_or_has_beyond_are_refused_by_name():
    with pytest.raises(UserError, match=r"'eopchs'.*did you mean epochs"):
        pretraining("sidae", "digits", eopchs=3)
    with pytest.raises(UserError, match="did you mean simsiam"):
        pretraining("simsam", "digits")
    without = ConfigDict({k: v for k, v in pretraining("sidae", "digits").items() if k != "lr"})
    with pytest.raises(UserError, match=r"config.lr is a missing key of pre-training by sidae"):
        validate(without)
    with pytest.raises(UserError, match=r"config.target is no key of pre-training by simsiam.*cifar10.py:simsiam"):
        validate(with_value(pretraining("sidae", "digits"), "method", "simsiam"))
    with pytest.raises(
        UserError, match=r"config.batch_size is no key of an evaluation by linear.*configs/linear_eval.py"
    ):
        evaluation_config.validate(pretraining("sidae", "digits"))


# --- the files of a workdir


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
    path.write_text(path.read_text().replace('"jax": "', '"jax": "0.0.'))
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
    assert set(values) == set(FREE_KEYS)
    for key, value in values.items():
        opened(run, with_value(CONFIG, key, value), "a" * 64)


@pytest.mark.parametrize("format_", [None, FORMAT - 1, FORMAT + 1])
def test_a_run_of_another_format_is_refused_with_the_revision_that_began_it(run, format_):
    content = json.loads((run / "config.json").read_text())
    assert content.pop("format") == FORMAT
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
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]
