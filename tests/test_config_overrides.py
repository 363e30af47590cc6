"""The options of the form --config.KEY=VALUE: the values they become, and their mistakes."""

import pathlib
import re

import pytest

from sidae_jax import cli, config_files
from sidae_jax.errors import UserError
from sidae_jax.evaluation.config import protocol

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def root(monkeypatch):
    monkeypatch.chdir(ROOT)


def load(command: str, default=None):
    rest, overrides = cli.split(command.split())
    (path,) = rest or [None]
    return config_files.load_config(path, overrides, default)


def test_overrides_become_values_of_their_keys_types_and_the_last_one_counts():
    config = load(
        "configs/digits.py:dae --config.epochs=3 -config.epochs 4 --config.lr=1e-1 --config.views.p_blur=1 "
        "--config.views.crop_scale=(0.5,1) --config.views.blur_sigma=0.1,0.2 --config.train_split=train[:64]"
    )
    assert (config.method, config.epochs, config.lr, config.train_split) == ("dae", 4, 0.1, "train[:64]")
    assert (config.views.crop_scale, config.views.blur_sigma) == ((0.5, 1), (0.1, 0.2))
    assert isinstance(config.epochs, int)
    assert isinstance(config.views.p_blur, float)


def test_nothing_and_none_take_a_folder_back():
    for text, value in (("/data=1", "/data=1"), ("", None), ("None", None)):
        assert load(f"configs/digits.py --config.data_dir=/x --config.data_dir={text}").data_dir == value


def test_the_default_config_takes_overrides():
    assert load("--config.probe.epochs=3", protocol).probe.epochs == 3


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (
            "configs/digits.py --config.zzz=1",
            r"--config.zzz=1 is not a key .*: give one of accumulate, .* views.hue, .*",
        ),
        (
            "configs/digits.py --config.p_blur=1",
            r"--config.p_blur=1 is not a key .*did you mean --config.views.p_blur\?",
        ),
        (
            "configs/digits.py:simsiam --config.w=1",
            r"--config.w=1 is a key of other methods \(sidae\) than this config's, simsiam: leave it out, or .*",
        ),
        ("configs/digits.py --config.views=1", r"--config.views=1 is not a key of this config: .*"),
        ("configs/digits.py --config.lr.x=1", r"--config.lr.x=1 is not a key of this config: .*"),
        ("configs/digits.py --config.lr", "--config.lr has no value: give --config.lr=VALUE"),
        ("configs/digits.py --config.lr=1e", "--config.lr=1e is not a number: give .* such as 0.03"),
        ("configs/digits.py --config.seed=1.0", "--config.seed=1.0 is not an integer: give .* such as 0"),
        ("configs/digits.py --config.seed=", "--config.seed= is not an integer: give .* such as 0"),
        *(
            (f"configs/digits.py --config.views.crop_scale={text}", r".* is not two numbers .* such as \(0.2, 1.0\)")
            for text in ("0.3", "(a,b)", "(0.2", "('a','b')", "(True,1)", "")
        ),
        ("", "--config is missing: give one of cifar10, digits, .*, or a config file"),
        ("configs/cifar.py", r"--config=configs/cifar.py is not a file in .*: did you mean configs/cifar10.py\?"),
        ("configs", "--config=configs is not a file in .*"),
        ("tests/conftest.py", "--config=tests/conftest.py defines no get_config: .*"),
        ("pyproject.toml", "--config=pyproject.toml defines no get_config: .*"),
        ("configs/linear_eval.py:knn", ".*:knn has another signature: give --config=configs/linear_eval.py"),
    ],
)
def test_a_mistake_in_a_config_or_its_overrides(command, says):
    with pytest.raises(UserError) as error:
        load(command)
    assert re.fullmatch(says, str(error.value)), error.value


def test_a_config_that_is_no_config_dict_is_refused(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("def get_config():\n    return {'epochs': 3}\n")
    with pytest.raises(
        UserError, match=r"returns \{'epochs': 3\}, and a ConfigDict is wanted: change and return what "
    ):
        load(str(path))
