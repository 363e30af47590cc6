"""The loggers with their real libraries, offline: started, killed, started again, and whole runs with all of them."""

import importlib.util
import json
import os
import socket
import subprocess
import sys

import logged_runs
import numpy as np
import pytest
from one_logger import PICTURE
from test_end_to_end import ENVIRONMENT, ROOT, TINY

from sidae_jax import data
from sidae_jax.loggers.names import LOGGERS
from sidae_jax.training.input_pipeline import batch_order

INSTALLED = [name for name in LOGGERS if importlib.util.find_spec(name)]
pytestmark = [
    pytest.mark.timeout(400),
    # of SQLAlchemy on itself, as MLflow uses it
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning"),
]


def needs(*names):
    missing = [name for name in names if name not in INSTALLED]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: pip install -e '.[{','.join(missing)}]'")


@pytest.fixture
def two_starts(tmp_path, request):
    """A workdir: losses 1 at steps 10, 20 and 30, killed; from a checkpoint at step 20 on, losses 2 at 30 and 40."""
    for arguments in (["0", "1", "10,20,30", "kill"], ["20", "2", "30,40"]):
        command = [sys.executable, "tests/one_logger.py", request.param, tmp_path, *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": "."})
        assert done.returncode == (-9 if "kill" in arguments else 0), done.stderr
    return tmp_path


@needs("tensorboard")
@pytest.mark.parametrize("two_starts", ["tensorboard"], indirect=True)
def test_tensorboard_has_what_comes_after_the_checkpoint_from_the_second_start(two_starts):
    scalars, images = logged_runs.read_tensorboard(two_starts)
    assert scalars["loss"] == {10: 1, 20: 1, 30: 2, 40: 2}
    assert np.isnan(scalars["knn"].pop(20))
    assert scalars == {"loss": scalars["loss"], "knn": {10: 0.5, 30: 0.5, 40: 0.5}}
    np.testing.assert_array_equal(images["views"][40], PICTURE.reshape(12, 6, 3))
    assert sorted(images["views"]) == [40]  # that at 30 came after the checkpoint
    assert logged_runs.read_hparams(two_starts) == {"w": 0.5, "data_dir": "None", "views.hue": 0.1}


@needs("mlflow")
@pytest.mark.parametrize("two_starts", ["mlflow"], indirect=True)
def test_mlflow_goes_on_with_its_run_and_has_no_step_twice(two_starts):
    run, values, pictures = logged_runs.read_mlflow(two_starts)
    assert values["loss"] == {10: 1, 20: 1, 30: 1, 40: 2}
    assert np.isnan(values["knn"][20])
    assert run.data.params == {"w": "0.5", "data_dir": "None", "views.hue": "0.1"}
    assert (run.info.run_name, run.data.tags["group"], run.info.status) == ("name", "group", "FINISHED")
    assert len(pictures) == 2


@needs("wandb")
@pytest.mark.parametrize("two_starts", ["wandb"], indirect=True)
def test_wandb_goes_on_with_its_id(two_starts):
    first, second = logged_runs.read_wandb(two_starts)
    assert first["id"] == second["id"] == (two_starts / "wandb" / "run_id").read_text().strip()
    assert (second["run"].project, second["run"].run_group, second["run"].display_name) == (
        "sidae_jax",
        "group",
        "name",
    )
    assert second["config"]["views"] == {"hue": 0.1}
    assert {step: row["loss"] for step, row in second["history"].items()} == {30: 2, 40: 2}
    np.testing.assert_array_equal(second["pictures"][40]["views"], PICTURE.reshape(12, 6, 3))
    assert second["exit"] == 0


@needs("trackio")
@pytest.mark.parametrize("two_starts", ["trackio"], indirect=True)
def test_trackio_goes_on_by_its_name_and_has_no_step_twice(two_starts):
    name, config, values, pictures = logged_runs.read_trackio(two_starts)
    assert (name, config["_Group"], config["views.hue"]) == ("name", "group", 0.1)
    assert values["loss"] == {10: 1, 20: 1, 30: 1, 40: 2}
    assert np.isnan(values["knn"][20])
    assert sorted(pictures["views"]) == [30, 40]


@needs("trackio")
def test_trackio_in_two_workdirs_of_a_process_is_refused(tmp_path):
    program = "import sys; from pathlib import Path; from one_logger import start; "
    program += "[start('trackio', Path(folder), '0', '1', '10') for folder in sys.argv[1:]]"
    command = [sys.executable, "-c", program, tmp_path / "one", tmp_path / "two"]
    environment = os.environ | {"PYTHONPATH": ".:tests"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert f"RuntimeError: Trackio writes to {tmp_path}/one/trackio as long as" in done.stderr


class Outside(socket.socket):
    """What the environment names as the way to the network; it counts who comes."""

    def __init__(self):
        super().__init__()
        self.bind(("127.0.0.1", 0))
        self.listen()
        self.settimeout(0)

    def environment(self):
        address = f"http://127.0.0.1:{self.getsockname()[1]}"
        return {f"{kind}_proxy": address for kind in ("http", "https", "all", "HTTP", "HTTPS", "ALL")}

    def nobody_came(self):
        with pytest.raises(BlockingIOError):
            self.accept()
        return True


def run(workdir, environment, *arguments):
    command = [sys.executable, "-m", "sidae_jax.main", "--config=configs/digits.py", f"--workdir={workdir}", *TINY]
    command += ["--config.train_split=train[:96]", "--config.epochs=2", "--config.checkpoint_every=1", *arguments]
    command += ["--config.log_every=2"]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT | environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "warning" not in (done.stdout + done.stderr).lower()
    return done.stdout.splitlines()[-1]


@needs(*LOGGERS)
def test_a_run_with_all_loggers_is_the_one_without_and_each_has_all_of_its_values(tmp_path):
    workdir, home = tmp_path / "runs" / "logged", tmp_path / "home"
    home.mkdir()
    with Outside() as outside:
        environment = outside.environment() | {"HOME": str(home), "HF_TOKEN": "hf_" + 34 * "x"}
        last = run(workdir, environment, f"--config.loggers={','.join(LOGGERS)}")
        assert outside.nobody_came()
    assert last == run(tmp_path / "plain", {})
    assert not list(home.iterdir())
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    names = {name for line in lines for name in line} - {"step"}
    wanted = {name: {line["step"]: line[name] for line in lines if name in line} for name in names}
    assert list(wanted["loss"]) == [2, 3, 4, 6]
    assert list(wanted["rankme"]) == [3, 6]

    scalars, images = logged_runs.read_tensorboard(workdir)
    assert {name: {s: pytest.approx(v, rel=1e-6) for s, v in of.items()} for name, of in wanted.items()} == scalars
    status, values, pictures = logged_runs.read_mlflow(workdir)
    assert (values, status.info.status, len(pictures)) == (wanted, "FINISHED", 6)
    assert logged_runs.read_trackio(workdir)[2] == wanted
    (start,) = logged_runs.read_wandb(workdir)
    assert {name: {s: row[name] for s, row in start["history"].items() if name in row} for name in wanted} == wanted
    assert (start["run"].display_name, start["run"].run_group, start["config"]["w"]) == ("logged", "runs", 0.5)

    assert {name: tuple(of) for name, of in images.items()} == dict.fromkeys(("views", "reconstructions"), (0, 3, 6))
    np.testing.assert_array_equal(images["views"][6], start["pictures"][6]["views"])
    digits = data.load("digits", "train[:96]", None)
    first = digits.images[batch_order(96, 32, 0)[0][:8]]
    np.testing.assert_array_equal(images["views"][3][:, :32], first.reshape(8 * 32, 32, 3))
    np.testing.assert_array_equal(images["reconstructions"][6][:, :32], first.reshape(8 * 32, 32, 3))
