"""The whole path with real processes: pre-train, kill, resume, evaluate."""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).parent.parent
# programs that are less optimized, and less exact, are compiled twice as fast; here they are compared with themselves
ENVIRONMENT = os.environ | {"XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"}
TINY = ["--config.width=4", "--config.d_hid=32", "--config.batch_size=32", "--config.epochs=10"]
TINY += ["--config.train_split=train[:640]", "--config.checkpoint_every=2"]


def start(workdir, *arguments):
    command = [sys.executable, "-m", "sidae_jax.main", "--config=configs/digits.py", f"--workdir={workdir}", *TINY]
    return subprocess.Popen(
        [*command, *arguments], cwd=ROOT, env=ENVIRONMENT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def finish(process):
    """(exit code, standard output) of a run that is left alone."""
    out, err = process.communicate(timeout=240)
    assert "Traceback" not in err, err
    return process.returncode, out


def metrics(workdir):
    path = workdir / "metrics.jsonl"
    return path.read_text().splitlines(keepends=True) if path.exists() else []


def wait_for_step(workdir, step, process, before):
    """Until the process has logged this step or a later one: a line that is not one of `before`, its start."""

    def logged():
        new = (line for line in metrics(workdir) if line not in before and line.endswith("\n"))
        return any(json.loads(line)["step"] >= step for line in new)

    deadline = time.monotonic() + 240
    while not logged():
        assert process.poll() is None, "the run ended before it could be stopped"
        assert time.monotonic() < deadline
        time.sleep(0.01)


def sha256(out):
    last = out.strip().splitlines()[-1]
    assert last.startswith("done: step 200, loss "), last
    return last.split("parameters sha256 ")[1]


@pytest.fixture(scope="module")
def left_alone(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("alone")
    code, out = finish(start(workdir))
    assert code == 0
    return workdir, sha256(out)


@pytest.mark.timeout(900)
def test_killed_and_stopped_at_any_moment_it_resumes_to_the_same_bits(tmp_path, left_alone):
    moments = random.Random(0).sample(range(20, 150, 10), 3)  # well before the end, at 200
    stops = [(signal.SIGKILL, -9), (signal.SIGTERM, 143), (signal.SIGINT, 130)]
    for moment, (number, code) in zip(sorted(moments), stops, strict=True):
        before = metrics(tmp_path)  # the last stop may have been slow, and past this moment
        process = start(tmp_path)
        wait_for_step(tmp_path, moment, process, before)
        process.send_signal(number)
        found, out = finish(process)
        assert found == code
        if number != signal.SIGKILL:
            assert f"stopped by {number.name}; step " in out
    code, out = finish(start(tmp_path, "--config.log_every=7"))
    assert code == 0
    assert sha256(out) == left_alone[1]
    saved = sorted(int(path.name) for path in (tmp_path / "checkpoints").iterdir() if path.name.isdigit())
    measured = [record for record in map(json.loads, metrics(tmp_path)) if "knn" in record]
    knn = {record["step"]: record["knn"] for record in measured}
    assert list(knn) == list(range(20, 201, 20))  # each of ten epochs
    assert saved == sorted({40, 80, 120, 160, 200, max(knn, key=knn.get)})  # what the stops left is gone
    steps = [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps))
    code, out = finish(start(tmp_path))  # once more: nothing left to do
    assert code == 0
    assert sha256(out) == left_alone[1]


def test_the_records_of_a_run(left_alone):
    workdir, _ = left_alone
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(10, 201, 10))
    assert {"loss", "loss_dae", "loss_si", "feature_std", "lr", "epoch", "images_per_second"} <= lines[0].keys()
    assert lines[-1]["loss"] < lines[0]["loss"]
    written = json.loads((workdir / "config.json").read_text())
    assert written["config"]["w"] == 0.5
    assert {"jax", "flax", "optax"} <= written["versions"].keys()
    assert {"git_revision", "data_sha256"} <= written.keys()


def test_the_seed_changes_the_result(tmp_path, left_alone):
    process = start(tmp_path, "--config.seed=1")
    wait_for_step(tmp_path, 10, process, [])
    process.kill()
    process.communicate()
    ours, theirs = (json.loads(metrics(workdir)[0]) for workdir in (tmp_path, left_alone[0]))
    assert ours["step"] == theirs["step"] == 10
    assert ours["loss"] != theirs["loss"]


def test_a_loss_that_is_not_finite_stops_the_run_unsaved(tmp_path):
    process = start(tmp_path, "--config.lr=1e30", "--config.log_every=1")
    _, err = process.communicate(timeout=240)
    assert process.returncode == 1
    assert err.startswith("error: ")
    assert "not" in err
    assert "--config.lr" in err
    assert not [path for path in (tmp_path / "checkpoints").iterdir() if path.name.isdigit()]
    assert json.loads((tmp_path / "status.json").read_text())["state"] == "diverged"


def test_linear_evaluation_of_every_checkpoint(left_alone):
    workdir, _ = left_alone
    command = [sys.executable, "-m", "sidae_jax.linear_eval", f"--workdir={workdir}", "--config.label_fraction=0.5"]
    done = subprocess.run(
        [*command, "--config.probe.epochs=5"], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    path = workdir / "eval" / "linear-digits-0.5-seed0.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 40, 80, 120, 160, 200]
    assert [line["epoch"] for line in lines] == [0, 2, 4, 6, 8, 10]
    assert all(line["n_train"] == 718 and line["n_test"] == 360 for line in lines)
    assert all(0 <= line["accuracy"] <= 1 for line in lines)
    assert f"{100 * lines[-1]['accuracy']:.2f}" in done.stdout


@pytest.mark.timeout(900)
def test_seeds_are_added_to_a_finished_run_with_kill_9_in_the_middle_and_nothing_is_lost(tmp_path):
    def files(seed):
        folder = tmp_path / f"seed{seed}"
        saved = [path for path in (folder / "checkpoints").rglob("*") if path.is_file()]
        return {path: path.read_bytes() for path in [folder / "metrics.jsonl", folder / "config.json", *saved]}

    small = ["--config=configs/digits.py:simsiam", "--config.epochs=4"]  # the quickest to compile
    code, out = finish(start(tmp_path, *small, "--config.num_seeds=2"))
    assert code == 0
    before, of_two = files(0) | files(1), out.splitlines()[-2:]
    process = start(tmp_path, *small, "--config.num_seeds=3")
    wait_for_step(tmp_path / "seed2", 50, process, [])
    process.kill()
    assert finish(process)[0] == -signal.SIGKILL
    assert files(0) | files(1) == before
    code, out = finish(start(tmp_path, *small, "--config.num_seeds=3"))
    assert code == 0
    assert "continuing at step 40" in out
    assert out.splitlines()[-3:-1] == of_two
    assert files(0) | files(1) == before
    # the seed that was added is the run with it alone, to the last bit
    alone = tmp_path / "alone"
    code, alone_out = finish(start(alone, *small, "--config.seed=2"))
    assert out.splitlines()[-1] == f"seed 2 {alone_out.splitlines()[-1]}"
