"""Processes that are not of one run, or do not share its workdir: all of them end, with a sentence that says why."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import pytest

from sidae_jax import processes
from sidae_jax.config import pretraining
from sidae_jax.errors import UserError
from sidae_jax.runs.workdir import Workdir
from sidae_jax.training import start

_ROOT = pathlib.Path(__file__).parent.parent
_ARGUMENTS = [
    *("--config=configs/digits.py:simsiam", "--config.width=4", "--config.d_hid=32", "--config.batch_size=32"),
    *("--config.train_split=train[:128]", "--config.epochs=2", "--config.log_every=1"),
]
_TIMEOUT = 150

pytestmark = pytest.mark.timeout(600)


class _Processes:
    """One process for each list of arguments, joined over loopback; all are killed at the end."""

    def __init__(self, tmp_path: pathlib.Path, *arguments: list[str], environments=({}, {})):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        self.outputs, self.processes = [], []
        for i, (own, environment) in enumerate(zip(arguments, environments, strict=True)):
            flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=1", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
            join = [f"--coordinator={address}", f"--num_processes={len(arguments)}", f"--process_id={i}"]
            self.outputs.append(tmp_path / f"process{i}.out")
            with self.outputs[-1].open("w") as output:
                self.processes.append(
                    subprocess.Popen(
                        [sys.executable, "-m", "sidae_jax.main", *_ARGUMENTS, *own, *join],
                        env=os.environ | flags | {"JAX_COORDINATOR_BIND_ADDRESS": address} | environment,
                        stdout=output,
                        stderr=subprocess.STDOUT,
                        cwd=_ROOT,
                    )
                )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.wait()

    def ended(self, within=_TIMEOUT):
        """(exit codes, outputs)"""
        deadline = time.monotonic() + within
        codes = [process.wait(max(deadline - time.monotonic(), 0.1)) for process in self.processes]
        return codes, [path.read_text() for path in self.outputs]


def errors(output: str) -> list[str]:
    assert "Traceback" not in output, output
    return [line for line in output.splitlines() if line.startswith("error: ")]


def test_processes_with_other_settings_end_and_name_each_key(tmp_path):
    run = f"--workdir={tmp_path}/run"
    other = ["--config.seed=7", "--config.lr=0.3", "--config.data_dir=/tmp"]
    with _Processes(tmp_path, [run], [run, *other]) as launched:
        codes, outputs = launched.ended()
    assert codes == [2, 2], outputs
    for output in outputs:
        (error,) = errors(output)
        assert "config.lr is 0.03 in process 0 and 0.3 in process 1" in error
        assert "config.seed is 0 in process 0 and 7 in process 1" in error
        assert "epochs" not in error
    assert not (tmp_path / "run" / "config.json").exists()


@pytest.mark.parametrize(
    ("mistake", "says"),
    [("--config.data_dir=/nowhere", "--config.data_dir=/nowhere: "), ("--config.lrr=3", "--config.lrr=3 is not a key")],
)
def test_a_mistake_of_one_process_ends_all(tmp_path, mistake, says):
    run = f"--workdir={tmp_path}/run"
    with _Processes(tmp_path, [run], [run, mistake]) as launched:
        codes, outputs = launched.ended()
    assert codes == [2, 2], outputs
    assert f"process 1 of this run has stopped: {says}" in errors(outputs[0])[0]
    assert errors(outputs[1])[0].startswith(f"error: {says}")


@pytest.mark.parametrize(
    "fact",
    ["config.lr", "the chosen input", "the sha256 of the images", "the version of jax", "the list of checkpoints"],
)
def test_each_fact_is_compared(tmp_path, fact, monkeypatch):
    """The other process is made up of this one's answers, with one fact of another value."""

    def gather(value):
        other = (
            {k: "other" if k.startswith(fact) else v for k, v in value.items()} if isinstance(value, dict) else value
        )
        return [value, other]

    settings = pretraining("simsiam", "digits")
    with Workdir(tmp_path, settings, lock=True) as workdir:
        start.agree(settings, [workdir], "a" * 64, "resident")
        monkeypatch.setattr(processes, "gather", gather)
        with pytest.raises(UserError, match=rf"do not agree: {fact}[^;]* is .* in process 0 and other in process 1\. "):
            start.agree(settings, [workdir], "a" * 64, "resident")


def test_a_workdir_that_is_not_shared_is_told_at_the_start_and_at_the_continuation(tmp_path):
    arguments = [[f"--workdir={tmp_path}/{name}"] for name in ("zero", "one")]
    with _Processes(tmp_path, *arguments) as launched:
        codes, outputs = launched.ended()
    assert codes == [2, 2], outputs
    assert "one is not the folder that process 0 writes to: give a --workdir that all machines share" in outputs[1]
    assert "process 1 of this run has stopped" in outputs[0]

    # a run of one process, which the two then continue, one of them in a copy that lacks a checkpoint
    command = [sys.executable, "-m", "sidae_jax.main", *_ARGUMENTS, *arguments[0], "--config.checkpoint_every=1"]
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=1"}
    subprocess.run(command, cwd=_ROOT, env=environment, check=True, timeout=_TIMEOUT, capture_output=True)
    subprocess.run(["cp", "-r", tmp_path / "zero", tmp_path / "one"], check=True)
    subprocess.run(["rm", "-r", tmp_path / "one" / "checkpoints" / "8"], check=True)
    with _Processes(tmp_path, *arguments) as launched:
        codes, outputs = launched.ended()
    assert codes == [2, 2], outputs
    assert "give a --workdir that all machines share" in outputs[0]
    assert "give a --workdir that all machines share" in outputs[1]


def test_processes_with_different_numbers_of_devices_say_so(tmp_path):
    run = [f"--workdir={tmp_path}/run"]
    two = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    with _Processes(tmp_path, run, run, environments=({}, two)) as launched:
        codes, outputs = launched.ended()
    assert codes == [2, 2], outputs
    for output in outputs:
        assert "different numbers of devices (1 in process 0, 2 in process 1)" in errors(output)[0]


def test_a_signal_to_one_process_stops_all_within_seconds_whatever_log_every(tmp_path):
    arguments = [f"--workdir={tmp_path}/run", "--config.log_every=1000000", "--config.epochs=100000"]
    arguments += ["--config.checkpoint_every=100000"]
    with _Processes(tmp_path, arguments, arguments) as launched:
        deadline = time.monotonic() + _TIMEOUT
        while "starting: " not in launched.outputs[0].read_text():
            assert time.monotonic() < deadline
            time.sleep(0.2)
        time.sleep(20)  # it trains by then, or compiles still, upon which the signal waits for the first step
        launched.processes[1].send_signal(signal.SIGTERM)
        codes, outputs = launched.ended(within=60)  # 10 s, a step, a checkpoint, on a busy machine
    assert codes == [143, 143], outputs
    assert "stopped by SIGTERM; step " in outputs[0]
    (saved,) = (path.name for path in (tmp_path / "run" / "checkpoints").iterdir() if path.name.isdigit())
    assert f"step {saved} is saved" in outputs[0]
    assert json.loads((tmp_path / "run" / "config.json").read_text())["config"]["seed"] == 0
