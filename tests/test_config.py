"""Every config file, every range of the check, and keys that are missing or unknown."""

import dataclasses
import pathlib
import runpy

import numpy as np
import pytest
from ml_collections import ConfigDict

from sidae_jax.config import pretraining, validate, view_settings
from sidae_jax.config_values import flat
from sidae_jax.data import DATASETS
from sidae_jax.errors import UserError
from sidae_jax.evaluation import config as evaluation_config
from sidae_jax.evaluation.protocols import PROTOCOLS
from sidae_jax.settings import FOLDER, METHOD_SETTINGS, ViewSettings

CONFIGS = pathlib.Path(__file__).parent.parent / "configs"
EVALUATIONS = {f"{protocol.config_name}.py": name for name, protocol in PROTOCOLS.items()}
PRETRAINING = sorted(path.name for path in CONFIGS.glob("*.py") if path.name not in EVALUATIONS)


def with_value(config: ConfigDict, key: str, value) -> ConfigDict:
    changed = config.copy_and_resolve_references()
    changed.update_from_flattened_dict({key: value})
    return changed


@pytest.mark.parametrize("method", METHOD_SETTINGS)
@pytest.mark.parametrize("name", PRETRAINING)
def test_every_config_file_loads_with_every_method_and_is_locked(name, method):
    config = runpy.run_path(str(CONFIGS / name))["get_config"](method)
    if name == "folder.py":
        config.images = "pictures"
    validate(config)
    assert (config.method, config.dataset) == (method, name.removesuffix(".py"))
    assert config.dataset in (*DATASETS, FOLDER)
    for section in config, config.views:
        with pytest.raises(AttributeError):
            section.typo = 1


@dataclasses.dataclass(frozen=True)
class New:
    strength: float = 1.0


@pytest.mark.parametrize("name", PRETRAINING)
def test_every_config_file_loads_with_a_new_method_of_any_keys(name, monkeypatch):
    monkeypatch.setitem(METHOD_SETTINGS, "new", New)
    config = runpy.run_path(str(CONFIGS / name))["get_config"]("new")
    assert config.strength == 1.0
    assert "d_hid" not in config


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
    "backbone": ["resnet", ""],
    "stem": ["imagnet", ""],
    "precision": ["bf16", "float16", ""],
    "input": ["ram"],
    "native": ["yes", ""],
    "store_size": [31, 0, 2000],
    "size": [0, 31, 33, 48, 512],
    "optimizer": ["adamw"],
    "schedule": ["linear"],
    "target": ["views"],
    "checkpoint_every": [0],
    "num_seeds": [0, -1],
    "log_every": [0],
    "loggers": ["tensorbord"],
    "width": [0, 4097],
    "batch_size": [1, 0],
    "accumulate": [0, -1, 3, 512],
    "seed": [-1, 2**32],
    "monitor_every": [-1],
    "peer_timeout": [4, 0, -1, 86401],
    "epochs": [0, -1, 2**31],
    "lr": [0.0, -0.1, INF, NAN],
    "momentum": [-0.1, 1.0, NAN],
    "weight_decay": [-1e-9, INF, NAN],
    "d_hid": [2, 0, 30, 2**20 + 4],
    "w": [-0.1, 1.1, NAN],
    "views.p_blur": [-0.1, 1.1, NAN],
    "views.p_flip": [2.0],
    "views.p_gray": [-1.0],
    "views.p_jitter": [1.5],
    "views.crop_scale": [(0.3,), (0.0, 1.0), (0.9, 0.2), (0.2, 1.1), (NAN, 1.0), (0.1, 0.2, 0.3)],
    "views.crop_ratio": [(1.1, 1.2), (0.5, 0.9), (0.0, 1.0), (0.5, INF)],
    "views.blur_sigma": [(0.0, 2.0), (2.0, 1.0), (0.1, INF), (0.1, NAN), (0.1, 1e7)],
    "views.hue": [-0.1, 0.6, NAN],
    "views.brightness": [-0.1, 1e39, INF, NAN],
    "views.contrast": [-0.1],
    "views.saturation": [-0.1],
}
EDGES = {
    "seed": [0, 2**32 - 1],
    "momentum": [0.0],
    "weight_decay": [0.0],
    "w": [0.0, 1.0],
    "batch_size": [2],
    "accumulate": [1, 2, 256],
    "monitor_every": [0, 1, 1000],
    "peer_timeout": [5, 86400],
    "d_hid": [4],
    "views.hue": [0.0, 0.5],
    "views.p_blur": [0.0, 1.0],
    "views.crop_scale": [(1.0, 1.0), (np.float64(0.2), 1.0)],
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
    # the data's and another run's names, a rule that test_monitor.py has, and a truth value
    without_range = {"dataset", "data_dir", "train_split", "init_from", "stop_when", "zero_init_residual"}
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
        evaluation_config.validate(with_value(evaluation_config.protocol(), key, value))


def test_keys_that_a_config_lacks_or_has_beyond_are_refused_by_name():
    with pytest.raises(UserError, match=r"'eopchs'.*did you mean epochs"):
        pretraining("sidae", "digits", eopchs=3)
    with pytest.raises(UserError, match="did you mean simsiam"):
        pretraining("simsam", "digits")
    without = ConfigDict({k: v for k, v in pretraining("sidae", "digits").items() if k != "lr"})
    with pytest.raises(UserError, match=r"config.lr is missing for pre-training by sidae"):
        validate(without)
    with pytest.raises(
        UserError, match=r"config.target is not a key of pre-training by simsiam.*--config=cifar10:simsiam"
    ):
        validate(with_value(pretraining("sidae", "digits"), "method", "simsiam"))
    with pytest.raises(
        UserError, match=r"config.accumulate is not a key of an evaluation by linear.*--config=linear_eval"
    ):
        evaluation_config.validate(pretraining("sidae", "digits"))


@pytest.mark.parametrize("name", ["finetune", "mlp"])
def test_a_training_with_batchnorm_has_two_images_in_a_batch(name):
    config = evaluation_config.protocol(name)
    config[PROTOCOLS[name].section].batch_size = 1
    with pytest.raises(UserError, match=r"batch_size=1 is out of range.*at least 2, BatchNorm needs two images"):
        evaluation_config.validate(config)
