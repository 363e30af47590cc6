"""Any text on the command line and any value in a config: a value of the key's type, or one sentence, no traceback."""

import contextlib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict

from sidae_jax import cli, config_files
from sidae_jax import main as _options  # noqa: F401 (it defines them)
from sidae_jax.config import pretraining, validate
from sidae_jax.config_values import flat
from sidae_jax.errors import UserError
from sidae_jax.evaluation import config as evaluation
from sidae_jax.evaluation.protocols import PROTOCOLS
from sidae_jax.overrides import override
from sidae_jax.settings import METHOD_SETTINGS

CONFIGS = {
    **{f"{m} {on}": (lambda m=m, on=on: pretraining(m, on)) for m in METHOD_SETTINGS for on in ("digits", "folder")},
    **{name: (lambda name=name: evaluation.protocol(name)) for name in PROTOCOLS},
}
NUMBERS = [
    "nan",
    "-inf",
    "1e999",
    "-0.0",
    "1e-320",
    "0x1",
    "1_0",
    " 7 ",
    "٣",
    "9" * 30,
    "9" * 5000,
    "1e5",
    "True",
    "None",
]
TUPLES = ["()", "(1,)", "(0.2, 1)", "[0.5,1]", "(1,2,3)", "(nan, 1)", "(1j, 2)", "((1,2),3)", "('a', 'b')", "{1, 2}"]
HOSTILE = [
    "(" * 300,
    "-" * 9000 + "1",
    "[" * 90 + "]" * 90,
    "(1" + "0" * 400 + ", 1)",
    "\0",
    "\ud800",
    "$(id)",
    "a\nb",
    "",
]
TEXTS = st.one_of(
    st.sampled_from(NUMBERS + TUPLES + HOSTILE),
    st.text(max_size=20),
    st.integers().map(str),
    st.floats().map(str),
    st.tuples(st.floats(), st.floats()).map(str),
)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=3),
    st.tuples(st.floats(), st.floats()),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=3), st.none()),
)
BY_DEFAULT = {"max_examples": 300, "deadline": None, "derandomize": True}


def check(config: ConfigDict) -> None:
    (evaluation.validate if "protocol" in config else validate)(config)


def types(config: ConfigDict, prefix: str = "") -> dict[str, type]:
    found = {}
    for key in config:
        inner = isinstance(config[key], ConfigDict)
        found |= types(config[key], f"{prefix}{key}.") if inner else {prefix + key: config.get_type(key)}
    return found


@settings(**BY_DEFAULT)
@given(st.sampled_from(sorted(CONFIGS)), st.data(), TEXTS)
def test_any_text_for_any_key_becomes_a_value_of_its_type_or_is_refused(name, data, text):
    config = CONFIGS[name]()
    before, kinds = flat(config), types(config)
    key = data.draw(st.sampled_from([*before, "views", "views.", ".", "", "epochs.epochs", "w"]))
    try:
        override(config, key, text)
    except UserError:
        assert flat(config) == before
        return
    value = flat(config)[key]
    assert value is None or type(value) is kinds[key]
    if isinstance(value, tuple):
        assert all(type(each) is float for each in value)
    assert {k: v for k, v in flat(config).items() if k != key} == {k: v for k, v in before.items() if k != key}
    with contextlib.suppress(UserError):
        check(config)


@pytest.mark.parametrize("text", HOSTILE)
def test_each_hostile_text_is_refused(text):
    with pytest.raises(UserError, match="is not two numbers"):
        override(pretraining("sidae", "digits"), "views.crop_scale", text)


@settings(**BY_DEFAULT)
@given(st.sampled_from(sorted(CONFIGS)), st.data(), VALUES)
def test_a_config_made_of_any_values_is_right_or_refused(name, data, value):
    config = CONFIGS[name]()
    wanted, kinds = flat(config), types(config)
    key = data.draw(st.sampled_from(sorted(wanted)))
    with config.ignore_type(), config.unlocked():
        section = config
        *folders, last = key.split(".")
        for folder in folders:
            section = section[folder]
        with section.ignore_type(), section.unlocked():
            section[last] = value
    try:
        check(config)
    except UserError:
        return
    kind = type(flat(config)[key])
    assert kind is kinds[key] or (kind is int and kinds[key] is float) or (value is None and wanted[key] is None), key


ARGUMENTS = st.one_of(
    st.sampled_from(
        [
            "--config=digits",
            "--config",
            "--config=",
            "--config=digits:",
            "--config=digits:dae",
            "--config.lr",
            "--config.lr=1",
            "-config.epochs",
            "--config.=3",
            "--config..",
            "--workdir",
            "--workdir=x",
            "--num_processes=2",
            "--num_processes=two",
            "--process_id=",
            "--nodistributed",
            "--distributed=maybe",
            "--noworkdir",
            "--",
            "-",
            "---",
            "=",
            "--=",
            "--flagfile=x",
            "--undefok=a",
            "--verbosity=9e9",
            "stray",
            "",
        ]
    ),
    st.text(max_size=12),
    st.tuples(st.sampled_from(["--num_processes=", "--process_id=", "--distributed=", "--config.lr="]), TEXTS).map(
        "".join
    ),
)


@settings(**BY_DEFAULT)
@example(["--config.lr"])
@given(st.lists(ARGUMENTS, max_size=5))
def test_any_command_line_is_parsed_or_refused(arguments):
    if {argument.partition("=")[0].lstrip("-") for argument in arguments} & {"help", "h", "?"}:
        return  # ends the program
    flags = cli.flags.FLAGS
    before = {name: flags[name].value for name in ("num_processes", "process_id", "distributed")}
    try:
        rest, overrides = cli.split(arguments)
        assert len(rest) + len(overrides) <= len(arguments) <= len(rest) + 2 * len(overrides)
        cli._parse(["main", *rest])
        assert all(type(flags[name].value) in (int, type(None)) for name in ("num_processes", "process_id"))
        assert type(flags["distributed"].value) is bool
        config_files.load_config(flags["config"].value, overrides, None)
    except UserError:
        pass
    finally:
        for name, value in before.items():
            flags[name].value = value
        flags["config"].value = None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("def get_config():\n    return (\n", r"cannot be read \(line 2: SyntaxError: '\(' was never closed"),
        ("import nothing_of_this_name\n", r"cannot be read \(line 1: ModuleNotFoundError: No module named"),
        ("def get_config():\n    return {}['lr']\n", r"cannot be read \(line 2: KeyError: 'lr'"),
        (
            "from sidae_jax import config\ndef get_config():\n    return config.pretraining('sidae', 'x', lr='y')\n",
            r"cannot be read \(line 3: TypeError",
        ),
    ],
)
def test_a_config_file_with_an_error_is_one_sentence_with_the_line(tmp_path, text, says):
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(UserError, match=f"--config={path} {says}"):
        config_files.load_config(str(path), [])
