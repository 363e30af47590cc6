"""Ctrl-C while XLA has the main thread: in a terminal during compiling, and in the long loop of a probe."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
from saved_runs import save, trained_arrays

ROOT = pathlib.Path(__file__).parent.parent
CTRL_C = b"\x03"
IN_TERMINAL = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])) % 256)"
pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def heeded():
    """Programs heed SIGINT even if the tests run in the background, where a shell has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def read_until(stream, mark):
    text = b""
    while mark not in text:
        chunk = os.read(stream.fileno(), 4096)
        assert chunk, text.decode()
        text += chunk
    return text


def test_a_second_ctrl_c_in_a_terminal_ends_a_run_that_compiles_at_once(tmp_path, heeded):
    command = [sys.executable, "-m", "sidae_jax.main", "--config=configs/digits.py", "--config.width=11"]
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "empty"), "JAX_LOG_COMPILES": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", IN_TERMINAL, *command, f"--workdir={tmp_path / 'run'}"],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    )
    read_until(process.stdout, b"waits for the compiler")
    read_until(process.stdout, b"Finished jaxpr to MLIR")  # the main thread is in XLA for many seconds now
    time.sleep(0.5)
    start = time.monotonic()
    process.stdin.write(CTRL_C)
    read_until(process.stdout, b"SIGINT: the run saves and stops")
    process.stdin.write(CTRL_C)
    text = read_until(process.stdout, b"SIGINT again: ended at once, unsaved")
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 130, (text + rest).decode()
    assert time.monotonic() - start < 5
    assert (text + rest).rstrip().endswith(b"\x1b[?25h")  # the cursor is back
    assert not list((tmp_path / "run" / "checkpoints").iterdir())


def test_ctrl_c_ends_a_probe_that_trains(tmp_path, heeded):
    run = save(tmp_path, {8: trained_arrays(8)})
    command = [sys.executable, "-m", "sidae_jax.linear_eval", f"--workdir={run}", "--config.probe.epochs=10000000"]
    process = subprocess.Popen([*command, "--config.train_split=train[:40]"], cwd=ROOT, stderr=subprocess.PIPE)
    while not list((run / "eval").glob("features/*.json")):
        assert process.poll() is None
        time.sleep(0.1)
    time.sleep(5)  # it compiles, and begins
    process.send_signal(signal.SIGINT)
    try:
        _, text = process.communicate(timeout=20)
    finally:
        process.kill()
    assert (process.returncode, text.splitlines()[-1]) == (130, b"interrupted")
    assert not list((run / "eval").glob("*.jsonl"))
