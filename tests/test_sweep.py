"""Experiments as commands, and a sweep of real processes: a failing run, a continuation, a kill."""

import json
import os
import pathlib
import re
import runpy
import signal
import subprocess
import sys
import time

import pytest

from sidae_jax import cli, experiments
from sidae_jax.config import validate
from sidae_jax.evaluation import config as evaluation_config
from sidae_jax.experiments import Experiment, Pretraining

ROOT = pathlib.Path(__file__).parent.parent
EXPERIMENTS = sorted((ROOT / "configs" / "experiments").glob("*.py"))

pytestmark = pytest.mark.timeout(900)


def load(path):
    return runpy.run_path(str(path))["get_experiment"]()


@pytest.mark.parametrize("scale", experiments.SCALES)
@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_every_command_of_every_experiment_has_a_valid_config(path, scale):
    check_commands(load(path), scale)


def test_the_experiment_of_the_readme(tmp_path):
    (code,) = re.findall(r'```python\n(""".*?)```', (ROOT / "README.md").read_text(), re.DOTALL)
    (tmp_path / "mine.py").write_text(code)
    check_commands(load(tmp_path / "mine.py"), "paper")


def check_commands(experiment, scale):
    jobs = experiments.jobs(experiment, ROOT / "configs", 2, scale)
    assert len({job.name for job in jobs}) == len(jobs)
    for job in jobs:
        first_seed = job.name.endswith("/seed0")
        assert (("sidae_jax.pictures",) in job.commands) == first_seed
        for number, (module, *arguments) in enumerate(job.commands[:-1] if first_seed else job.commands):
            rest, overrides = cli.split(arguments)
            (file,) = (argument.partition("=")[2] for argument in rest if argument.startswith("--config="))
            config = cli.load_config(file, overrides)
            if number == 0:
                assert module == "sidae_jax.main"
                validate(config)
                assert job.name.startswith(f"{config.dataset}-{config.method}")
            else:
                assert module == "sidae_jax.linear_eval"
                evaluation_config.validate(config)
            assert job.name.endswith(f"/seed{config.seed}")


def test_the_papers_grids():
    """Counted in the papers' tables and figures: runs, and evaluations of all of them."""
    counted = {path.stem: [len(run) for _, run in load(path).runs] for path in EXPERIMENTS}
    assert {name: (len(found), sum(found)) for name, found in counted.items()} == {
        "table1": (12, 3 * (3 * 2 + 2) + 3 * 2),
        "figure4": (3, 3 * 2 + 2),
        "figure5": (6, 6 + 2),
        "figure6": (7, 7),
        "figure7": (3, 6),
        "figure8": (3, 3 * 2 + 2),
        "w_sweep": (20, 40),
        "d_hid": (9, 18),
        "report_table1": (8, 16),
    }


def test_an_experiments_own_keys_stand_above_those_of_the_small_scale():
    run = Pretraining("digits", "sidae", {"epochs": 7, "w": 0.25})
    assert run.name == "digits-sidae-epochs7-w0.25"
    (job,) = experiments.jobs(Experiment("", [(run, [])]), pathlib.Path("configs"), 1, "small")
    assert "--config.epochs=7" in job.commands[0]
    assert "--config.batch_size=256" in job.commands[0]


def test_the_reports_table_is_of_its_own_settings_and_both_of_its_classifiers():
    table = load(pathlib.Path("configs/experiments/report_table1.py"))
    assert all(run.changes == {} for run, _ in table.runs)  # the methods' defaults are the report's
    assert all([e.config for e in evaluations] == ["mlp_eval", "online_eval"] for _, evaluations in table.runs)
    for job in experiments.jobs(table, pathlib.Path("configs"), 1, "small"):
        assert "--config.width=16" in job.commands[0]
        assert not any("stem" in argument for argument in job.commands[0])


TINY = {"width": 4, "d_hid": 32, "epochs": 1, "checkpoint_every": 1, "train_split": "train[:128]"}
GRID = """
from sidae_jax.experiments import Evaluation, Experiment, Pretraining

TINY = {tiny}

def get_experiment():
    probe = Evaluation("linear_eval", {{"train_split": "train[:100]", "probe.epochs": 1}})
    good = Pretraining("digits", "simsiam", TINY)
    return Experiment("tiny", [(Pretraining("digits", "dae", {{**TINY, "lr": -1.0}}), [probe]), (good, [probe])])
"""


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    """A file beside the configs, as a user's would be: its first run fails."""
    folder = tmp_path_factory.mktemp("project") / "configs"
    (folder / "experiments").mkdir(parents=True)
    for name in ("digits.py", "linear_eval.py"):
        (folder / name).write_text((ROOT / "configs" / name).read_text())
    path = folder / "experiments" / "tiny.py"
    path.write_text(GRID.format(tiny=TINY))
    return path


def start(experiment, workdir, *arguments):
    command = [sys.executable, "-m", "sidae_jax.sweep", f"--experiment={experiment}", f"--workdir={workdir}"]
    return subprocess.Popen([*command, "--seeds=1", *arguments], stdout=subprocess.PIPE, text=True, cwd=ROOT)


def test_a_sweep_is_killed_continued_and_names_the_run_that_fails(experiment, tmp_path):
    good = tmp_path / load(experiment).runs[1][0].name / "seed0"

    process = start(experiment, tmp_path)
    while not (good / "log.txt").exists():
        assert process.poll() is None
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (good / "done.jsonl").exists()

    process = start(experiment, tmp_path)  # the killed sweep's child still runs: this one waits for it
    out, _ = process.communicate(timeout=600)
    assert process.returncode == 1
    assert "failed: digits-dae-" in out
    assert "config.lr=-1.0" in out
    assert "1 of 2 runs are done" in out
    done = [json.loads(line)["command"][0] for line in (good / "done.jsonl").read_text().splitlines()]
    assert done == ["sidae_jax.main", "sidae_jax.linear_eval", "sidae_jax.pictures"]
    assert list((good / "eval").glob("linear-digits-*.jsonl"))
    log = (good / "log.txt").read_text()
    assert log.count("done: step ") >= 1

    again = start(experiment, tmp_path, "--only=simsiam")  # nothing is left of it
    out, _ = again.communicate(timeout=60)
    assert (again.returncode, out.strip()) == (0, f"1 of 1 runs are done in {tmp_path}")
    assert (good / "log.txt").read_text() == log


def test_a_sweep_stopped_by_sigterm_stops_its_run_and_says_how_to_go_on(experiment, tmp_path):
    process = start(experiment, tmp_path, "--only=simsiam")
    while not list(tmp_path.glob("*/seed0/log.txt")):
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM
    assert "the same command continues" in out
    assert not list(tmp_path.glob("*/seed0/done.jsonl"))


def test_only_takes_a_regular_expression(tmp_path):
    def names(only):
        process = start("configs/experiments/table1.py", tmp_path / "new", "--print", f"--only={only}")
        out, _ = process.communicate(timeout=60)
        return [line.partition("/new/")[2].partition("/")[0] for line in out.strip().splitlines()]

    assert names("^mnist") == ["mnist-sidae", "mnist-simsiam", "mnist-dae"]
    assert names("mnist-(dae|sidae)") == ["fashion_mnist-sidae", "fashion_mnist-dae", "mnist-sidae", "mnist-dae"]


def test_print_gives_one_shell_command_a_run(experiment, tmp_path):
    process = start(experiment, tmp_path / "new", "--print")
    out, _ = process.communicate(timeout=60)
    first, second = out.strip().splitlines()
    assert first.count(" && ") == second.count(" && ") == 2
    name = load(experiment).runs[1][0].name
    assert name == "digits-simsiam-width4-d_hid32-epochs1-train_splittrain128"
    assert second.startswith(f"python -m sidae_jax.main --workdir={tmp_path}/new/{name}/seed0 --config=")
    assert "'--config.train_split=train[:128]'" in second
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workdir=x"], "--experiment is missing"),
        (["--experiment=configs/experiments/tabel1.py", "--workdir=x"], "names no file in"),
        (["--experiment=configs/cifar10.py", "--workdir=x"], "defines no get_experiment"),
        (["--experiment=configs/experiments/table1.py"], "--workdir is missing"),
        (["--experiment=configs/experiments/table1.py", "--workdir=x", "--scale=smal"], "did you mean small"),
        (["--experiment=configs/experiments/table1.py", "--workdir=x", "--only=svhn"], "give a part of one of cifar10"),
        (["--experiment=configs/experiments/table1.py", "--workdir=x", "--only=(mnist"], "is no regular expression"),
        (["--config=configs/digits.py", "--workdir=x"], "is no option of this program, which takes no config"),
        (["--config.epochs=2", "--workdir=x"], "is no option of this program, which takes no config"),
        (["--seed=2", "--workdir=x"], "--seed is no option of this program: did you mean --seeds?\n"),
    ],
)
def test_mistakes_are_told_in_a_sentence(arguments, message):
    command = [sys.executable, "-m", "sidae_jax.sweep", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: ")
    assert message in ended.stderr
    assert ended.stderr.count("\n") == 1
