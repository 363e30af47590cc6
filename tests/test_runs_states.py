"""The list of runs and what it says of real ones: that train, were stopped or killed, or have finished."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from run_commands import ENVIRONMENT, ROOT, lines, listed, runs

from sidae_jax.evaluation import results
from sidae_jax.runs import sums

SETTINGS = ["--config.width=4", "--config.d_hid=8", "--config.batch_size=32", "--config.train_split=train[:64]"]
SETTINGS += ["--config.log_every=2", "--config.native=off"]
SETTINGS += ["--config.epochs=50", "--config.checkpoint_every=10"]
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def train():
    """Starts the same program for every name, so that only the first one waits for the compiler."""
    started = []
    yield lambda folder, name: started.append(start(folder, name)) or started[-1]
    for process in started:
        process.kill()
        process.communicate()


def start(folder, name):
    command = [sys.executable, "-m", "sidae_jax.main", f"--config={ROOT}/configs/digits.py:simsiam"]
    return subprocess.Popen(
        [*command, f"--workdir=runs/{name}", *SETTINGS],
        cwd=folder,
        env=ENVIRONMENT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def wait_for(there, process):
    deadline = time.monotonic() + 240
    while not there():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def seen(tmp_path_factory, train):
    """The folder of runs that have ended in each way, and what was seen of one that was training."""
    folder = tmp_path_factory.mktemp("states")
    stopped, killed = folder / "runs" / "stopped", folder / "runs" / "killed"

    process = train(folder, "stopped")
    wait_for(lambda: lines(stopped), process)
    process.send_signal(signal.SIGSTOP)  # so that it does not end meanwhile
    during = {"listed": listed(folder), "show": runs(folder, "show", "stopped").stdout, "pid": process.pid}
    during["rm"] = runs(folder, "rm", "stopped", "--yes")
    during["verify"] = runs(folder, "verify", "stopped")
    during["status"] = json.loads((stopped / "status.json").read_text())
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGCONT)
    process.communicate(timeout=120)
    assert process.returncode == 143

    for name in ("killed", "table/sidae/seed1"):
        shutil.copytree(stopped, folder / "runs" / name)
    before = len(lines(killed))
    process, other = train(folder, "killed"), train(folder, "table/sidae/seed1")
    wait_for(lambda: len(lines(killed)) > before, process)
    process.kill()
    process.communicate()
    out, err = other.communicate(timeout=240)
    assert other.returncode == 0, err
    assert "done: step 100, " in out
    shutil.copytree(killed, folder / "runs" / "table/sidae/seed0")
    return folder, during


def test_a_run_that_trains_is_running(seen):
    _, during = seen
    assert {name: run["state"] for name, run in during["listed"].items()} == {"stopped": "running"}
    assert f"process {during['pid']} on " in during["show"]
    assert during["listed"]["stopped"]["eta_seconds"] > 0
    status = during["status"]
    assert (status["state"], status["pid"], status["total_steps"]) == ("running", during["pid"], 100)
    assert abs(status["time"] - time.time()) < 300


def test_a_running_run_is_not_deleted_and_can_be_verified(seen):
    _, during = seen
    assert (during["rm"].returncode, during["rm"].stdout) == (2, "")
    assert during["rm"].stderr == "error: stopped is running: stop it first\n"
    assert during["verify"].returncode == 0, during["verify"].stdout
    assert "arrays intact" in during["verify"].stdout


def test_how_each_run_has_ended(seen):
    folder, _ = seen
    found = listed(folder)
    assert {name: run["state"] for name, run in found.items()} == {
        "killed": "crashed",
        "stopped": "stopped",
        "table/sidae/seed0": "crashed",
        "table/sidae/seed1": "finished",
    }
    assert found["stopped"]["message"] == "SIGTERM"
    for name, run in found.items():
        last = lines(folder / "runs" / name)[-1]
        assert (run["step"], run["loss"], run["epoch"]) == (last["step"], last["loss"], last["epoch"])
        assert (run["method"], run["data"], run["epochs"], run["problems"]) == ("simsiam", "digits train[:64]", 50, [])
    assert found["table/sidae/seed1"]["epoch"] == 50


def test_the_final_status_has_the_steps(seen):
    folder, _ = seen
    status = json.loads((folder / "runs" / "stopped" / "status.json").read_text())
    saved = [int(path.name) for path in (folder / "runs" / "stopped" / "checkpoints").glob("[0-9]*")]
    assert status["saved_step"] == max(saved) >= status["step"]
    assert status["started"] < status["time"]


def test_the_table_has_a_line_for_each_seed(seen):
    folder, _ = seen
    done = runs(folder)
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = (line for line in done.stdout.splitlines() if "table/sidae/seed1" in line)
    loss = lines(folder / "runs/table/sidae/seed1")[-1]["loss"]
    words = line.split()
    assert words[:6] == ["table/sidae/seed1", "simsiam", "digits", "train[:64]", "50/50", f"{loss:.4g}"]
    assert "finished" in words
    assert "\x1b" not in done.stdout
    only = runs(folder, "runs/table").stdout
    assert "sidae/seed0" in only
    assert "killed" not in only
    assert runs(folder, "runs/killed").stdout.count("crashed") == 1


def test_nothing_is_written_but_by_rm(seen):
    folder, _ = seen

    def content():
        return {path: path.is_dir() or (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*")}

    before = content()
    for arguments in (["list"], ["show", "killed"], ["compare", "killed", "stopped"], ["verify", "runs"]):
        assert runs(folder, *arguments).returncode == 0
    assert content() == before


def test_a_list_takes_less_than_a_second_and_does_not_import_jax(seen):
    folder, _ = seen
    code = "import sys; from sidae_jax.runs.__main__ import main\n"
    code += "try: main(sys.argv[1:])\nfinally: print({'jax', 'flax', 'orbax', 'tensorflow'} & set(sys.modules))"
    for arguments in (["list"], ["show", "killed"], ["compare", "killed", "stopped"], ["rm", "--help"]):
        command = [sys.executable, "-c", code, *arguments]
        done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=60)
        assert done.stdout.endswith("set()\n"), done.stderr


@pytest.mark.parametrize(
    ("age", "host", "state"), [(10, "elsewhere", "running"), (1000, "elsewhere", "crashed"), (10, None, "crashed")]
)
def test_on_another_host_the_heartbeat_decides(seen, tmp_path, age, host, state):
    shutil.copytree(seen[0] / "runs" / "killed", tmp_path / "runs" / "killed")
    path = tmp_path / "runs" / "killed" / "status.json"
    content = json.loads(path.read_text())
    content |= {"time": time.time() - age, "host": host or content["host"]}
    del content["sha256"]
    path.write_text(json.dumps(content))
    assert listed(tmp_path)["killed"]["state"] == state


@pytest.mark.parametrize(
    ("name", "state"), [("table/sidae/seed1", "finished"), ("stopped", "stopped"), ("scheduled", "unfinished")]
)
def test_older_runs_have_no_status(seen, tmp_path, name, state):
    run = shutil.copytree(seen[0] / "runs" / name.replace("scheduled", "stopped"), tmp_path / "runs" / "old")
    (run / "status.json").unlink()
    if name == "scheduled":
        (run / "checkpoints" / f".scheduled-{max(os.listdir(run / 'checkpoints'), key=lambda n: (len(n), n))}").touch()
    assert listed(tmp_path)["old"]["state"] == state


def add_result(run, step, accuracy, **changes):
    record = {"protocol": "linear", "dataset": "digits", "label_fraction": 0.5, "seed": 0} | changes
    path = results.result_path(run, record["protocol"], record["dataset"], record["label_fraction"], 0)
    results.add(path, {"step": step, "epoch": step / 2, "accuracy": accuracy, **record})


def test_show_and_compare_have_settings_results_and_curves(seen, tmp_path):
    for name in ("stopped", "killed"):
        shutil.copytree(seen[0] / "runs" / name, tmp_path / "runs" / name)
    run = tmp_path / "runs" / "stopped"
    for step, accuracy in ((0, 0.99), (20, 0.75), (40, 0.5)):
        add_result(run, step, accuracy)
    add_result(run, 20, 0.25, protocol="knn", dataset="mnist")
    record = {"step": 10**6, "epoch": 5e5, "loss": float("nan"), "feature_std": 0.5, "knn": 0.625}
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(record) + "\n")
    found = listed(tmp_path)["stopped"]
    best = {"accuracy": 0.75, "step": 20, "protocol": "linear", "on": "digits", "label_fraction": 0.5}
    assert found["best"] == best
    assert (found["knn"], found["loss"]) == (0.625, None)
    assert "75.0% linear, 50%" in runs(tmp_path).stdout

    shown = runs(tmp_path, "show", "runs/stopped").stdout
    rows = [" ".join(line.split()) for line in shown.splitlines()]
    assert "width 4" in rows
    assert "train_split train[:64]" in rows
    assert not any(row.startswith("momentum") for row in rows)  # is the default
    assert "linear probe digits 50% 0 75.0% (step 20) 50.0% (step 40) 2 99.0%" in rows
    assert "weighted kNN mnist 50% 0 25.0% (step 20) 25.0% (step 20) 1" in rows
    kept = sorted(int(path.name) for path in (run / "checkpoints").glob("[0-9]*"))
    assert next(row.split()[0] for row in rows if row.endswith("temporary")) == str(kept[-1])
    assert all(f"{key} by epoch" in shown for key in ("loss", "feature_std", "knn"))
    as_json = json.loads(runs(tmp_path, "show", "stopped", "--json").stdout)
    assert [one["step"] for one in as_json["checkpoints"]] == kept
    assert as_json["settings"]["width"] == 4
    assert as_json["metrics"]["knn"] == 0.625

    add_result(tmp_path / "runs" / "killed", 20, 0.5)
    path = tmp_path / "runs" / "killed" / "config.json"
    content = json.loads(path.read_text())
    content["config"]["lr"] = 0.02
    path.write_text(json.dumps(sums.sealed({key: value for key, value in content.items() if key != "sha256"})))
    done = runs(tmp_path, "compare", "stopped", "runs/killed")
    assert (done.returncode, done.stderr) == (0, "")
    rows = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "stopped killed" in rows
    assert "lr 0.03 0.02" in rows
    assert not any(row.startswith("width") for row in rows)
    assert "linear probe on digits, 50%, seed 0 75.0% (step 20) 50.0% (step 20)" in rows
    assert any(line.count("┤") == 2 for line in done.stdout.splitlines())
    assert max(map(len, done.stdout.splitlines())) <= 200
