"""The commands without --workdir: where a run goes, that the same command continues it, and which run is evaluated."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).parent.parent
ENVIRONMENT = os.environ | {
    "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
    "PYTHONPATH": str(ROOT),
}
TINY = ["--config.width=4", "--config.d_hid=32", "--config.epochs=6", "--config.checkpoint_every=2"]
NAME = "digits-simsiam-d_hid32-epochs6-width4"  # checkpoint_every changes nothing in the result

pytestmark = pytest.mark.timeout(600)


def command(folder, program, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", f"sidae_jax.{program}", *arguments],
        cwd=folder,
        env=ENVIRONMENT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def finished(process):
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    return out.splitlines()


def test_the_same_command_continues_and_evaluation_and_report_find_the_run(tmp_path):
    arguments = [f"--config={ROOT}/configs/digits.py:simsiam", *TINY]
    process = command(tmp_path, "main", *arguments)
    assert process.stdout.readline() == f"workdir: runs/{NAME}\n"
    metrics = tmp_path / "runs" / NAME / "metrics.jsonl"
    deadline = time.monotonic() + 240
    while not (metrics.exists() and metrics.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=240)
    assert process.returncode == 143

    lines = finished(command(tmp_path, "main", *arguments))
    assert lines[0] == f"workdir: runs/{NAME}"
    assert lines[1].startswith("continuing at step ")
    assert lines[-1].startswith("done: step 132, ")

    other = [f"--config={ROOT}/configs/digits.py:simsiam", *TINY, "--config.views.hue=0.2", "--config.num_seeds=2"]
    other += ["--config.train_split=train[:64]"]
    lines = finished(command(tmp_path, "main", *other))
    (with_seeds,) = {path.name for path in (tmp_path / "runs").iterdir()} - {NAME}
    assert lines[0] == f"workdir: runs/{with_seeds}"
    assert with_seeds.startswith("digits-simsiam-")
    assert with_seeds.endswith("-seeds")
    assert "hue0.2" in with_seeds

    # the other run has saved last, until this one does
    settings = ["--step=0", "--config.probe.epochs=1"]
    assert f"workdir: runs/{with_seeds}/seed" in finished(command(tmp_path, "linear_eval", *settings))[0]
    os.utime(tmp_path / "runs" / NAME / "checkpoints" / "132")
    (tmp_path / "runs" / "diverged" / "checkpoints").mkdir(parents=True)  # it saved nothing
    newest = f"workdir: runs/{NAME} (the newest; --workdir=DIR takes another)"
    assert finished(command(tmp_path, "linear_eval", *settings))[0] == newest
    assert finished(command(tmp_path, "report"))[0] == newest
    assert (tmp_path / "runs" / NAME / "report" / "report.html").exists()


@pytest.mark.parametrize("program", ["linear_eval", "pictures", "report", "export"])
def test_without_any_run_the_workdir_is_asked_for(tmp_path, program):
    process = command(tmp_path, program, *(["--out=encoder.safetensors"] if program == "export" else []))
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert err == (
        f"error: --workdir is missing, and {tmp_path}/runs holds no checkpoint: give the folder of a run of "
        "sidae_jax.main, such as --workdir=runs/cifar10-sidae\n"
    )
