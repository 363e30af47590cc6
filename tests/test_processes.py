"""Several processes of one run, started by launch/local.sh: the same result as one process, stopped and continued."""

import contextlib
import functools
import json
import os
import pathlib
import runpy
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from sidae_jax import runtime
from sidae_jax.errors import UserError
from sidae_jax.methods import make_method
from sidae_jax.runs.checkpoint import Checkpoints, to_arrays
from sidae_jax.training import step

_ROOT = pathlib.Path(__file__).parent.parent
_ARGUMENTS = [
    "--config=configs/digits.py:simsiam",  # the quickest to compile
    "--config.zero_init_residual=True",  # differences in rounding grow more slowly from step to step
    "--config.width=4",
    "--config.d_hid=32",
    "--config.batch_size=32",
    "--config.train_split=train[:128]",
    "--config.epochs=3",
    "--config.log_every=1",
]
_STEPS = 12
_TIMEOUT = 240  # of one launch; on two idle cores it takes ten to twenty seconds

pytestmark = pytest.mark.timeout(1000)


def _environment(devices=1):
    # Each process but the first compiles anew every time: little optimization saves most of that.
    flags = f"--xla_force_host_platform_device_count={devices}"
    return {**os.environ, "XLA_FLAGS": flags, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "PYTHON": sys.executable}


class _Launch:
    """launch/local.sh, running; its output goes to a file so that no full pipe stops it."""

    def __init__(self, processes: int, workdir: pathlib.Path, *arguments: str):
        self.output = workdir.with_suffix(".out")
        command = ["launch/local.sh", str(processes), "--", *_ARGUMENTS, f"--workdir={workdir}", *arguments]
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                command, cwd=_ROOT, env=_environment(), stdout=output, stderr=subprocess.STDOUT
            )
        self.metrics = workdir / "metrics.jsonl"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:  # two signals: the processes are killed after the launcher's 10 seconds
            self.process.terminate()
            time.sleep(1)
            self.process.terminate()
            self.process.wait(60)

    def wait(self) -> str:
        """Its output, when it has ended with exit code 0."""
        code = self.process.wait(_TIMEOUT)
        text = self.output.read_text()
        assert code == 0, text
        return text

    def until(self, happened, within=_TIMEOUT):
        deadline = time.monotonic() + within
        while not happened():
            assert self.process.poll() is None, self.output.read_text()
            assert time.monotonic() < deadline, self.output.read_text()
            time.sleep(0.1)

    def children(self) -> dict[int, int]:
        """Process number to process id."""
        found = {}
        for pid in pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
            words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            found |= {int(w.partition("=")[2]): int(pid) for w in words if w.startswith("--process_id=")}
        return found

    def metrics_writers(self) -> list[int]:
        """The numbers of the processes that have metrics.jsonl open."""
        writers = []
        for number, pid in self.children().items():
            for handle in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                    if "metrics.jsonl" in os.readlink(f"/proc/{pid}/fd/{handle}"):
                        writers.append(number)
        return writers


def _launch(processes, workdir) -> str:
    with _Launch(processes, workdir) as launch:
        return launch.wait()


def _records(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


@functools.cache
def _like():
    """A state of the runs' shapes."""
    config = runpy.run_path(_ROOT / "configs" / "digits.py")["get_config"]("simsiam")
    config.update(width=4, d_hid=32)
    optimizer, _ = step.make_optimizer(config.lr, config.momentum, config.weight_decay, _STEPS)
    _, state = step.create_state(make_method(config, None), optimizer)
    return to_arrays(state)


def _arrays(workdir):
    """The arrays of the last step's checkpoint."""
    with Checkpoints(workdir, read_only=True) as checkpoints:
        return checkpoints.restore(_STEPS, _like())


def _assert_same_run(workdir, reference):
    found, wanted = _arrays(workdir), _arrays(reference)
    assert found.keys() == wanted.keys()
    for name in wanted:
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-5, atol=1e-5, err_msg=name)
    losses, wanted = ([(r["step"], r["loss"]) for r in _records(d)] for d in (workdir, reference))
    assert [number for number, _ in losses] == list(range(1, _STEPS + 1))
    np.testing.assert_allclose(losses, wanted, rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def one_process(tmp_path_factory):
    """The workdir of a run in one process with two devices."""
    workdir = tmp_path_factory.mktemp("one") / "run"
    command = [sys.executable, "-m", "sidae_jax.main", *_ARGUMENTS, f"--workdir={workdir}"]
    subprocess.run(command, cwd=_ROOT, env=_environment(devices=2), check=True, timeout=_TIMEOUT)
    return workdir


def test_two_processes_train_as_one(one_process, tmp_path):
    workdir = tmp_path / "run"
    output = _launch(2, workdir)

    _assert_same_run(workdir, one_process)
    assert output.count("done: step 12") == 1
    assert output.count("2 cpu device(s)") == 1
    other = (workdir / "logs" / "process-1.log").read_text().splitlines()
    assert [line for line in other if not line.startswith("[Gloo]")] == []


def test_sigterm_saves_and_the_same_command_or_one_process_continues(one_process, tmp_path):
    workdir = tmp_path / "run"
    with _Launch(2, workdir) as launch:
        launch.until(lambda: launch.metrics.exists() and launch.metrics.read_text())
        assert launch.metrics_writers() == [0]
        launch.process.send_signal(signal.SIGTERM)
        assert launch.process.wait(60) == 143
        assert "stopped by SIGTERM; step " in launch.output.read_text()
    stopped_at = _records(workdir)[-1]["step"]
    assert 1 <= stopped_at < _STEPS
    saved = {int(path.name) for path in (workdir / "checkpoints").glob("[0-9]*")}
    assert stopped_at in saved
    assert len(saved) <= 2  # the other one is the best by kNN

    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", workdir, copy], check=True)
    assert f"continuing at step {stopped_at}" in _launch(2, workdir)
    _assert_same_run(workdir, one_process)
    assert f"continuing at step {stopped_at}" in _launch(1, copy)
    # one device rounds otherwise than two, and these differences grow from step to step: the next one is compared
    (found,), (wanted,) = ([r["loss"] for r in _records(d) if r["step"] == stopped_at + 1] for d in (copy, one_process))
    assert found == pytest.approx(wanted, rel=1e-4, abs=1e-5)
    assert [r["step"] for r in _records(copy)] == list(range(1, _STEPS + 1))


def test_a_killed_process_ends_the_others(tmp_path):
    with _Launch(2, tmp_path / "run") as launch:
        launch.until(lambda: "connected to 1 peer" in launch.output.read_text())
        children = launch.children()
        os.kill(children[1], signal.SIGKILL)
        assert launch.process.wait(30) == 128 + 9
    assert "process 1 failed with exit code 137" in launch.output.read_text()
    assert not pathlib.Path(f"/proc/{children[0]}").exists()


@pytest.mark.parametrize("arguments", [[], ["2"], ["0", "--"], ["two", "--"], ["2", "--config=configs/digits.py"]])
def test_local_sh_explains_itself(arguments):
    result = subprocess.run(["launch/local.sh", *arguments], cwd=_ROOT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 2
    assert "usage: launch/local.sh N -- ARGUMENTS" in result.stderr


def test_local_sh_wants_a_workdir():
    command = ["launch/local.sh", "2", "--", "--config=configs/digits.py"]
    result = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 2
    assert "--workdir is missing" in result.stderr


@pytest.mark.parametrize(
    ("environment", "joins"),
    [
        ({"SLURM_NTASKS": "2", "SLURM_JOB_ID": "1"}, False),  # the shell of salloc
        ({"SLURM_NTASKS": "2", "SLURM_JOB_ID": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}, False),  # of sbatch
        ({"SLURM_NTASKS": "2", "SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}, False),  # of salloc, as a step
        ({"SLURM_NTASKS": "2", "SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "0"}, True),  # a task of srun
    ],
)
def test_a_task_of_a_slurm_step_joins_by_itself(environment, joins, monkeypatch):
    calls = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda *a, **k: calls.append((a, k)))
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    runtime.start()
    assert calls == ([((), {})] if joins else [])


def test_process_numbers_without_a_coordinator_are_a_mistake():
    with pytest.raises(UserError, match="--coordinator"):
        runtime.start(num_processes=2, process_id=0)


def test_a_single_process_joins_nobody(monkeypatch):
    monkeypatch.setattr(jax.distributed, "initialize", lambda *a, **k: pytest.fail("joined"))
    runtime.start(coordinator="127.0.0.1:1", num_processes=1, process_id=0)
