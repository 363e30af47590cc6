"""Starts the programs as a user does: every mistake ends with exit code 2 and one sentence that helps.

Two processes at a time, since each spends seconds on its imports.
"""

import concurrent.futures
import os
import pathlib
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from cli_mistakes import EVALUATE, MAIN, MISTAKES
from ml_collections import ConfigDict

from sidae_jax import files
from sidae_jax.errors import UserError
from sidae_jax.runs.checkpoint import Checkpoints
from sidae_jax.runs.workdir import Workdir

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture(scope="module")
def tmp(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    (folder / "file").touch()
    (folder / "none").mkdir()
    with Checkpoints(folder / "done", read_only=False) as checkpoints:
        for step in 3, 5:
            checkpoints.save(step, {"x": np.zeros(3)}, {}, scheduled=True)
    return folder


def run_of(tmp, name):
    return tmp / f"run-{list(MISTAKES).index(name)}"


@pytest.fixture(scope="module")
def answers(tmp):
    """Yields the answers of the programs by the names of the mistakes, as futures: later ones still run."""

    def start(name, mistake):
        arguments = mistake.arguments.replace("{tmp}", str(tmp)).replace("{run}", str(run_of(tmp, name))).split()
        command = [sys.executable, "-m", mistake.program, *arguments]
        return subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=60)

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        yield {name: pool.submit(start, name, mistake) for name, mistake in MISTAKES.items()}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_answered_with_one_sentence(name, answers, tmp):
    done = answers[name].result()
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    says = MISTAKES[name].says
    for place, path in {"{tmp}": tmp, "{root}": ROOT, "{run}": run_of(tmp, name)}.items():
        says = says.replace(place, re.escape(str(path)))
    assert re.fullmatch(says, done.stderr.removeprefix("error: ").removesuffix("\n")), done.stderr
    assert done.returncode == 2
    assert not (run_of(tmp, name) / "config.json").exists()


@pytest.mark.parametrize("config", [["--config=configs/digits.py:dae"], ["--config", "configs/digits.py:dae"]])
def test_help_lists_the_options_and_the_keys_of_the_config(config):
    command = [sys.executable, "-m", MAIN, *config, "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert "--workdir:" in done.stdout
    assert re.search(r"^  epochs = 20 +passes over the training images \(at least 1\)$", done.stdout, re.MULTILINE)
    assert re.search("^  views.p_blur = 0.5 +probability of the Gaussian blur", done.stdout, re.MULTILINE)


def test_a_refused_run_leaves_no_empty_workdir(tmp_path):
    with pytest.raises(UserError), files.opened(str(tmp_path / "made")):
        raise UserError("refused")
    assert not (tmp_path / "made").exists()
    (tmp_path / "mine").mkdir()
    with pytest.raises(UserError), files.opened(str(tmp_path / "mine")):
        raise UserError("refused")
    assert (tmp_path / "mine").exists()


def test_a_workdir_is_that_of_one_process(tmp_path):
    command = [sys.executable, "-m", MAIN, "--config=configs/digits.py", f"--workdir={tmp_path}"]
    with Workdir(tmp_path, ConfigDict(), lock=True):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert f"--workdir={tmp_path} is in use by process {os.getpid()} on " in done.stderr
    assert done.stderr.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "status.json"]
    with Workdir(tmp_path, ConfigDict(), lock=True):  # free again
        pass
    with pytest.raises(UserError), files.opened(tmp_path / "made") as folder, Workdir(folder, ConfigDict(), lock=True):
        raise UserError("refused")
    assert not (tmp_path / "made").exists()


INTERRUPTED_IMPORT = """
import runpy, signal, sys
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "absl":
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
runpy.run_module(sys.argv[1], run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize(
    "module",
    [
        MAIN,
        EVALUATE,
        *(f"sidae_jax.{program}" for program in ("sweep", "report", "pictures", "export", "embed", "runs")),
    ],
)
def test_ctrl_c_during_the_imports_is_answered_in_one_line(module):
    # where the tests run in the background they inherit that it is ignored, and would hand that on
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        command = [sys.executable, "-c", INTERRUPTED_IMPORT, module]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    finally:
        signal.signal(signal.SIGINT, before)
    assert result.stderr.splitlines() == ["interrupted"]
    assert result.returncode in (130, -signal.SIGINT)


def test_a_mistake_in_a_config_is_reported_before_jax_is_imported():
    """It takes JAX and Flax seconds to import."""
    program = "import sys; sys.argv[1:] = ['--config=configs/cifar10.py', '--config.epochs=0']\n"
    program += "try: import runpy; runpy.run_module('sidae_jax.{}', run_name='__main__')\n"
    program += "finally: print(sorted({{'jax', 'flax', 'orbax'}} & set(sys.modules)))"
    for name, arguments in (("main", ""), ("linear_eval", "sys.argv[1:] = ['--workdir=x', '--config.seed=-1']; ")):
        code = program.format(name).replace("\ntry", f"\n{arguments}\ntry")
        result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert "error: config." in result.stderr, result.stderr
        assert result.stdout == "[]\n"
