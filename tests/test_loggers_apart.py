"""A logger that is missing, fails, or does not come back leaves the run as it is."""

import json
import subprocess
import sys
import threading

import pytest
from logged_runs import read_tensorboard
from test_loggers import needs
from test_seeds import settings

from sidae_jax.config import validate
from sidae_jax.errors import UserError
from sidae_jax.loggers import background, loggers
from sidae_jax.loggers.background import BackgroundLogger
from sidae_jax.loggers.loggers import Loggers
from sidae_jax.loggers.names import LOGGERS, names_in, require_installed
from sidae_jax.loggers.protocol import LoggedRun
from sidae_jax.training import seed_run
from sidae_jax.training.train import train


def test_names_are_read_each_once():
    assert [names_in(text) for text in (None, "", " , ", "wandb", " wandb,tensorboard ,wandb,")] == [
        [],
        [],
        [],
        ["wandb"],
        ["wandb", "tensorboard"],
    ]


def test_an_unknown_logger_and_one_not_installed_are_refused(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"loggers='tensorbord' is unknown.*did you mean tensorboard\?"):
        validate(settings(loggers="tensorbord,wandb"))
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setattr(sys, "meta_path", [f for f in sys.meta_path if "Editable" not in getattr(f, "__name__", "")])
    for name in LOGGERS:
        (tmp_path / name).mkdir()  # as W&B leaves one, from which Python would make a package
        monkeypatch.delitem(sys.modules, name, raising=False)
        with pytest.raises(UserError, match=rf"has {name}, which is not installed: pip install 'sidae-jax\[{name}\]'"):
            require_installed(name)


def test_nothing_of_them_is_imported_unasked():
    program = f"import sys, sidae_jax.main, sidae_jax.training.train; print({{*{LOGGERS}}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def run(workdir, capsys, **changes):
    """(printed lines, lines of metrics) of a run of four steps."""
    config = settings(**changes)
    validate(config)
    train(config, str(workdir))
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return capsys.readouterr().out.splitlines(), lines


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("plain")
    train(settings(), str(workdir))
    return [json.loads(line)["loss"] for line in (workdir / "metrics.jsonl").read_text().splitlines()]


@needs("tensorboard")
def test_a_logger_that_fails_in_the_middle_is_told_once_and_left_out(tmp_path, capsys, monkeypatch, plain):
    from sidae_jax.loggers.tensorboard import TensorBoard

    class Full(TensorBoard):
        def log(self, values, step):
            if step == 3:
                raise OSError(28, "No space left on device")
            super().log(values, step)

    monkeypatch.setattr(loggers, "open_one", lambda name, run: Full(run))
    out, lines = run(tmp_path, capsys, loggers="tensorboard")
    told = "warning: logger tensorboard is left out from here on: OSError: [Errno 28] No space left on device"
    assert [line for line in out if "warning" in line] == [told]
    assert [line["loss"] for line in lines] == plain
    scalars, images = read_tensorboard(tmp_path)
    assert [*scalars["loss"]] == [1, 2]
    assert {name: [*of] for name, of in images.items()} == {"views": [0, 2]}  # SimSiam has no decoder


@needs("tensorboard")
def test_a_logger_that_cannot_start_and_pictures_that_cannot_be_made_are_told(tmp_path, capsys, monkeypatch, plain):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "tensorboard").write_text("no folder")
    out, lines = run(tmp_path / "one", capsys, loggers="tensorboard")
    assert [line.partition(": [")[0] for line in out if "warning" in line] == [
        "warning: logger tensorboard is left out from here on: FileExistsError"
    ]
    assert [line["loss"] for line in lines] == plain

    def out_of_memory(*_):
        raise RuntimeError("RESOURCE_EXHAUSTED: out of memory")

    monkeypatch.setattr(seed_run.SamplePictures, "make", out_of_memory)
    out, lines = run(tmp_path / "two", capsys, loggers="tensorboard")
    told = "warning: the loggers get no pictures from here on: RuntimeError: RESOURCE_EXHAUSTED: out of memory"
    assert [line for line in out if "warning" in line] == [told]
    assert [line["loss"] for line in lines] == plain
    scalars, images = read_tensorboard(tmp_path / "two")
    assert (list(scalars["loss"].values()), images) == (pytest.approx(plain), {})


@needs("tensorboard")
def test_each_seed_is_a_run_of_its_own(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(
        loggers, "open_one", lambda name, run, real=loggers.open_one: opened.append(run) or real(name, run)
    )
    train(settings(loggers="tensorboard", num_seeds=2, seed=5), str(tmp_path / "both"))
    names = [(run.name, run.group, run.top_folder.name, run.step, run.config["seed"]) for run in opened]
    assert sorted(names) == [(f"both-seed{n}", "both", "both", 0, n) for n in (5, 6)]
    for seed in (5, 6):
        folder = tmp_path / "both" / f"seed{seed}"
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        wanted = {line["step"]: pytest.approx(line["loss"]) for line in lines}
        assert read_tensorboard(folder)[0]["loss"] == wanted


class Stuck:
    """As a server that does not answer."""

    def __init__(self):
        self.answers, self.seen = threading.Event(), []

    def log(self, values, step):
        self.answers.wait()
        self.seen.append(step)

    def pictures(self, name, images, step):
        self.seen.append(name)

    def close(self, *, finished):
        self.seen.append(finished)


def logged(several, steps):
    return [news for step in steps for news in several.log({"step": step, "loss": 1.0})]


def test_a_logger_that_does_not_come_back_holds_nothing_up(monkeypatch, tmp_path):
    monkeypatch.setattr(background, "_MOST_WAITING", 3)
    stuck, good = Stuck(), Stuck()
    good.answers.set()
    monkeypatch.setattr(loggers, "open_one", lambda name, run: {"wandb": stuck, "mlflow": good}[name])
    several = Loggers(["wandb", "mlflow"], LoggedRun(tmp_path, tmp_path, "name", "group", {}, 0))
    news = []
    for step in range(1, 20):
        news += logged(several, [step])
        while good.seen[-1:] != [step]:  # it keeps up
            pass
    assert news == ["warning: logger wandb is left out from here on: it is slower than the run: 3 records wait for it"]
    assert several.close(finished=True) == []
    assert good.seen == [*range(1, 20), True]
    assert stuck.seen == []
    stuck.answers.set()


def test_what_a_logger_had_not_written_at_the_end_is_told():
    stuck = Stuck()
    slow = BackgroundLogger("wandb", lambda: stuck)
    slow.call(lambda logger: logger.log({}, 1))
    slow.close(finished=False)
    slow.wait(0.1)
    assert (
        slow.news()
        == "warning: logger wandb is left out from here on: it had not written everything when the run ended"
    )
    assert slow.news() is None
    stuck.answers.set()


def test_a_librarys_exit_ends_only_its_logger():
    def leave():
        sys.exit("not logged in")

    leaving = BackgroundLogger("wandb", leave)
    leaving.wait(10.0)
    assert leaving.news() == "warning: logger wandb is left out from here on: SystemExit: not logged in"
