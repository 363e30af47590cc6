"""The package as it is installed, without a checkout: its wheel, the configs in it, the console script."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import zipfile

import pytest

from sidae_jax import config_files
from sidae_jax.__main__ import PROGRAMS

ROOT = pathlib.Path(__file__).parent.parent


def is_there(module):
    """Whether this revision has the program."""
    path = ROOT / module.replace(".", "/")
    return path.with_suffix(".py").exists() or (path / "__main__.py").exists()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Made from a copy, since setuptools leaves files behind that a later build would find."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("sidae_jax", "configs"):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run([*command, "-w", source, source], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (path,) = source.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder for PYTHONPATH in which the wheel is unpacked."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def sidae_jax(installed, cwd, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, "-m", "sidae_jax", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60)


def test_the_wheel_has_every_file_of_the_package_and_the_configs(wheel):
    with zipfile.ZipFile(wheel) as archive:
        files = {name for name in archive.namelist() if ".dist-info/" not in name}
        scripts = next(archive.read(name).decode() for name in archive.namelist() if name.endswith("entry_points.txt"))
    package = {p.relative_to(ROOT).as_posix() for p in (ROOT / "sidae_jax").rglob("*") if p.suffix in (".py", ".json")}
    configs = {f"sidae_jax/{p.relative_to(ROOT).as_posix()}" for p in (ROOT / "configs").rglob("*.py")}
    assert len(configs) > 20
    assert files == {*package, *configs, "sidae_jax/py.typed"}
    assert scripts.split() == ["[console_scripts]", "sidae-jax", "=", "sidae_jax.__main__:main"]


def test_packaged_configs_are_found_by_name_and_a_file_wins(installed, tmp_path):
    done = sidae_jax(installed, tmp_path, "pretrain", "--config=cifar10:simsiam", "--config.epochs=0")
    assert done.stderr.startswith("error: config.epochs=0 is out of range")
    done = sidae_jax(installed, tmp_path, "pretrain", "--config=cifra10")
    assert done.stderr == f"error: --config=cifra10 is not a file in {tmp_path}: did you mean cifar10?\n"
    done = sidae_jax(installed, tmp_path, "evaluate", "--config=configs/knn_evl.py", "--workdir=x")
    assert done.stderr.endswith("did you mean knn_eval?\n")
    done = sidae_jax(installed, tmp_path, "evaluate", "--config=knn_eval", "--config.seed=-1", "--workdir=x")
    assert done.stderr.startswith("error: config.seed=-1 is out of range")
    (tmp_path / "cifar10").write_text("mine")
    done = sidae_jax(installed, tmp_path, "pretrain", "--config=cifar10")
    assert done.stderr.startswith("error: --config=cifar10 defines no get_config")


def test_a_packaged_experiment_uses_the_configs_beside_it(installed, tmp_path):
    options = ["--workdir=runs", "--print", "--only=^mnist-dae", "--seeds=1"]
    done = sidae_jax(installed, tmp_path, "sweep", "--experiment=table1", *options)
    configs = re.findall(r"--config=(\S+)", done.stdout)
    packaged = installed / "sidae_jax" / "configs"
    assert configs == [f"{packaged}/mnist.py:dae", *[f"{packaged}/linear_eval.py"] * 2], done.stderr
    assert list(tmp_path.iterdir()) == []
    # in a checkout a name and a path give the same commands, so that either continues the other's sweep
    by_path = sidae_jax(ROOT, ROOT, "sweep", "--experiment=configs/experiments/table1.py", *options)
    by_name = sidae_jax(ROOT, ROOT, "sweep", "--experiment=table1", *options)
    assert f"--config={ROOT}/configs/mnist.py:dae " in by_name.stdout
    assert by_path.stdout == by_name.stdout
    done = sidae_jax(installed, tmp_path, "sweep", "--experiment=tabel1", "--workdir=x")
    assert done.stderr == f"error: --experiment=tabel1 is not a file in {tmp_path}: did you mean table1?\n"


def test_the_names_are_those_of_the_folders_at_the_top():
    for flag, folder in (("config", ROOT / "configs"), ("experiment", ROOT / "configs" / "experiments")):
        assert config_files.names(flag) == sorted(path.stem for path in folder.glob("*.py"))


@pytest.mark.parametrize("name", [name for name, (module, _) in PROGRAMS.items() if is_there(module)])
def test_the_help_of_every_program_begins_with_what_it_does(name, installed, tmp_path):
    done = sidae_jax(installed, tmp_path, name, "--help")
    assert done.returncode == 0, done.stderr
    module = PROGRAMS[name][0]
    assert f"python -m {module}" in done.stdout
    assert "--workdir" in done.stdout or name == "runs"


def test_the_console_script_lists_its_programs_and_answers_mistakes(installed, tmp_path):
    listed = sidae_jax(installed, tmp_path, "--help")
    for name, (_, what) in PROGRAMS.items():
        assert re.search(rf"^  {name} +{re.escape(what)}$", listed.stdout, re.MULTILINE)
    assert sidae_jax(installed, tmp_path).stdout == listed.stdout
    assert re.fullmatch(r"sidae-jax \d+\.\d+\.\d+\n", sidae_jax(installed, tmp_path, "--version").stdout)
    for name, hint in (("evalute", r"did you mean evaluate\?"), ("x", "give one of pretrain, evaluate, .*")):
        done = sidae_jax(installed, tmp_path, name)
        assert (done.returncode, done.stdout) == (2, "")
        assert re.fullmatch(f"error: {name} is not a program of sidae-jax: {hint}\n", done.stderr)
