"""Each key of a config has a meaning, and --help and the documentation take it from one place."""

import pytest
from ml_collections import ConfigDict

from sidae_jax import key_help
from sidae_jax.config import pretraining, validate
from sidae_jax.config_values import flat
from sidae_jax.errors import UserError
from sidae_jax.evaluation import config as evaluation
from sidae_jax.evaluation.protocols import PROTOCOLS
from sidae_jax.settings import METHOD_SETTINGS

CONFIGS = {
    **{f"{m} {on}": pretraining(m, on) for m in METHOD_SETTINGS for on in ("cifar10", "folder")},
    **{name: evaluation.protocol(name) for name in PROTOCOLS},
    "pictures": evaluation.pictures(),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_every_key_has_a_meaning_of_its_own_and_values(name):
    config = CONFIGS[name]
    keys = key_help.keys(config)
    assert {key.name: key.default for key in keys} == flat(config)
    for key in keys:
        assert key.meaning, f"give {key.name} a line in key_help"
        assert key.values, key.name
        assert "\n" not in key.meaning + key.values


def test_no_meaning_is_left_over():
    used = {name for config in CONFIGS.values() for name in flat(config)}
    assert {n for n in key_help._MEANINGS if n not in used and not any(u.endswith(f".{n}") for u in used)} == set()


@pytest.mark.parametrize("key", ["optimizer", "schedule", "input", "native", "backbone", "stem", "precision", "target"])
def test_the_values_that_are_listed_are_those_that_are_accepted(key):
    config = pretraining("dae", "cifar10")
    (values,) = (each.values for each in key_help.keys(config) if each.name == key)
    for value in values.split(", "):
        config[key] = value
        validate(config)
    config[key] = "another"
    with pytest.raises(UserError, match=f"give one of {values}"):
        validate(config)


def test_the_text_is_as_wide_as_the_terminal_and_a_key_of_ones_own_is_listed_too():
    config = ConfigDict({**pretraining("sidae", "cifar10"), "mine": 3})
    for columns in 80, 120:
        lines = key_help.text(config, columns).splitlines()
        assert all(len(line) <= columns for line in lines)
        assert {line.split(" = ")[0].strip() for line in lines if " = " in line} == set(flat(config))
        assert "  mine = 3" in lines
