"""A sweep of real processes: a failing run, a continuation, a kill, what it prints and its mistakes."""

import fcntl
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest
from test_experiments import load

from sidae_jax import experiments
from sidae_jax.runs import sums

ROOT = pathlib.Path(__file__).parent.parent
pytestmark = pytest.mark.timeout(900)

TINY = {"width": 4, "d_hid": 32, "epochs": 1, "checkpoint_every": 1, "train_split": "train[:128]"}
GRID = """
from sidae_jax.experiments import Evaluation, Experiment, Pretraining

TINY = {tiny}

def get_experiment():
    probe = Evaluation("linear_eval", {{"train_split": "train[:100]", "probe.epochs": 1}})
    good = Pretraining("digits", "simsiam", TINY)
    return Experiment("tiny", [(Pretraining("digits", "dae", {{**TINY, "batch_size": 256}}), [probe]), (good, [probe])])
"""


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    """Returns a user's experiment file beside the configs; its first run fails."""
    folder = tmp_path_factory.mktemp("project") / "configs"
    (folder / "experiments").mkdir(parents=True)
    for name in ("digits.py", "linear_eval.py"):
        (folder / name).write_text((ROOT / "configs" / name).read_text())
    path = folder / "experiments" / "tiny.py"
    path.write_text(GRID.format(tiny=TINY))
    return path


def start(experiment, workdir, *arguments, **keywords):
    command = [sys.executable, "-m", "sidae_jax.sweep", f"--experiment={experiment}", f"--workdir={workdir}"]
    return subprocess.Popen(
        [*command, "--seeds=1", *arguments], stdout=subprocess.PIPE, text=True, cwd=ROOT, **keywords
    )


def test_a_sweep_is_killed_continued_and_names_the_run_that_fails(experiment, tmp_path):
    good = tmp_path / load(experiment).runs[1][0].name / "seed0"

    process = start(experiment, tmp_path)
    while not (good / "log.txt").exists():
        assert process.poll() is None
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (good / "done.jsonl").exists()

    # the killed sweep's child still runs: this one waits for it
    process = start(experiment, tmp_path, stderr=subprocess.PIPE)
    out, told = process.communicate(timeout=600)
    assert process.returncode == 1
    assert f"--scale=paper (nothing is scaled down): 0 of 2 runs are done in {tmp_path}\n" in told
    took = rf"digits-simsiam-\S+/seed0 took \d\.\d minutes; 1 of 2 runs are done in {tmp_path}, at this pace the others"
    assert re.search(rf"{took} in 0\.0 hours\n", told)  # the other has failed
    assert "failed: digits-dae-" in out
    assert "config.batch_size=256 is more than the 128 images" in out
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

    (good / "config.json").rename(tmp_path / "aside.json")
    again = start(experiment, tmp_path, "--only=simsiam", stderr=subprocess.PIPE)
    out, told = again.communicate(timeout=60)
    assert (again.returncode, out) == (2, "")
    assert f"{good}/config.json is missing, though done.jsonl says that the run was made" in told


def test_a_sweep_stopped_by_sigterm_stops_its_run_and_says_how_to_go_on(experiment, tmp_path):
    process = start(experiment, tmp_path, "--only=simsiam")
    while not list(tmp_path.glob("*/seed0/log.txt")):
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM
    assert f"stopped: 0 of 1 runs are done in {tmp_path}; run the same command to continue" in out
    assert not list(tmp_path.glob("*/seed0/done.jsonl"))


def test_a_sweep_whose_data_cannot_be_had_says_so_once_and_starts_no_run(tmp_path):
    command = [sys.executable, "-m", "sidae_jax.sweep", "--experiment=table1", "--seeds=2"]

    def run(data_dir, *arguments):
        env = {
            **os.environ,
            "TFDS_DATA_DIR": data_dir,
            "HOME": str(tmp_path / "home"),
            **dict.fromkeys(["http_proxy", "https_proxy"], "http://127.0.0.1:9"),
        }
        return subprocess.run(
            [*command, f"--workdir={tmp_path / 'new'}", *arguments],
            **{"capture_output": True, "text": True, "env": env, "cwd": tmp_path, "timeout": 120, "check": False},
        )

    nowhere = run(str(tmp_path / "nowhere"))
    assert (nowhere.returncode, nowhere.stdout, nowhere.stderr.count("\n")) == (2, "", 1)
    assert f"TFDS_DATA_DIR={tmp_path}/nowhere: {tmp_path}/nowhere does not exist" in nowhere.stderr
    # those on CIFAR-10, and those on STL-10, which are evaluated on it
    assert "12 of 24 runs, such as cifar10-sidae/seed0, need it: --only can leave them out" in nowhere.stderr
    empty = run("", "--only=^mnist")  # not the current folder
    assert (empty.returncode, empty.stdout) == (2, "")
    assert f"dataset 'mnist' is not prepared in {tmp_path}/home/tensorflow_datasets/mnist" in empty.stderr
    assert "6 of 6 runs, such as mnist-sidae/seed0, need it" in empty.stderr
    assert not (tmp_path / "new").exists()


def test_a_sweep_that_waits_for_another_ends_by_a_signal(experiment, tmp_path):
    folder = tmp_path / load(experiment).runs[1][0].name / "seed0"
    folder.mkdir(parents=True)
    for number in (signal.SIGTERM, signal.SIGINT):
        with (folder / "log.txt").open("a") as log:
            fcntl.flock(log, fcntl.LOCK_EX)
            process = start(experiment, tmp_path, "--only=simsiam")
            assert f"waiting for a process in {folder}, of another sweep" in process.stdout.readline()
            process.send_signal(number)
            out, _ = process.communicate(timeout=10)
        assert process.returncode == 128 + number
        assert out == f"stopped: 0 of 1 runs are done in {tmp_path}; run the same command to continue\n"


def test_what_another_sweep_has_done_in_the_meantime_is_not_run_again(experiment, tmp_path):
    _, job = experiments.jobs(load(experiment), experiment.parent.parent, 1, "paper")
    folder = tmp_path / job.name
    folder.mkdir(parents=True)
    with (folder / "log.txt").open("a") as log:
        fcntl.flock(log, fcntl.LOCK_EX)
        process = start(experiment, tmp_path, "--only=simsiam")
        assert "waiting" in process.stdout.readline()
        write_done(folder, job.commands)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, f"1 of 1 runs are done in {tmp_path}\n")
    assert (folder / "log.txt").read_text() == ""


def write_done(folder, commands):
    records = [sums.sealed({"command": list(command), "seconds": 1.0}) for command in commands]
    (folder / "done.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


def test_a_sweep_needs_the_data_of_the_commands_that_are_left_alone(experiment, tmp_path):
    """Of a run on MNIST, which is not there, a probe on the digits is left; then nothing."""
    (experiment.parent.parent / "mnist.py").write_text((ROOT / "configs" / "mnist.py").read_text())
    path = experiment.with_name("transfer.py")
    path.write_text(
        "from sidae_jax.experiments import Evaluation, Experiment, Pretraining\n"
        "def get_experiment():\n"
        "    probe = Evaluation('linear_eval', {'dataset': 'digits'})\n"
        "    return Experiment('transfer', [(Pretraining('mnist', 'dae'), [probe])])\n"
    )
    (job,) = experiments.jobs(load(path), path.parent.parent, 1, "paper")
    folder = tmp_path / "new" / job.name
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (tmp_path / "empty").mkdir()
    proxies = dict.fromkeys(["http_proxy", "https_proxy"], "http://127.0.0.1:9")
    env = {**os.environ, **proxies, "TFDS_DATA_DIR": str(tmp_path / "empty")}

    def run():
        return start(path, tmp_path / "new", stderr=subprocess.PIPE, env=env).communicate(timeout=120)

    assert "dataset 'mnist' is not prepared" in run()[1]
    main, _, pictures = job.commands
    write_done(folder, [main, pictures])
    assert "failed: mnist-dae/seed0" in run()[0]  # by the probe, since there is no checkpoint
    write_done(folder, job.commands)
    assert run()[0] == f"1 of 1 runs are done in {tmp_path / 'new'}\n"


def test_only_takes_a_regular_expression(tmp_path):
    def names(only):
        process = start("configs/experiments/table1.py", tmp_path / "new", "--print", f"--only={only}")
        out, _ = process.communicate(timeout=60)
        return [line.partition("/new/")[2].partition("/")[0] for line in out.strip().splitlines()]

    assert names("^mnist") == ["mnist-sidae", "mnist-simsiam", "mnist-dae"]
    assert names("mnist-(dae|sidae)") == ["fashion_mnist-sidae", "fashion_mnist-dae", "mnist-sidae", "mnist-dae"]


def test_print_ends_quietly_when_its_reader_leaves(tmp_path):
    command = (
        f"{sys.executable} -m sidae_jax.sweep --experiment=table1 --workdir={tmp_path} --seeds=500 --print | head -1"
    )
    ended = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=ROOT, timeout=60, check=True)
    assert ended.stdout.count("\n") == 1
    assert ended.stderr == ""


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
        (["--workdir=x"], "--experiment is missing: give one, such as --experiment=table1"),
        (["--experiment=configs/experiments/tabel1.py", "--workdir=x"], "did you mean configs/experiments/table1.py?"),
        (["--experiment=configs/cifar10.py", "--workdir=x"], "defines no get_experiment"),
        (["--experiment=configs/experiments/table1.py"], "--workdir is missing"),
        (["--experiment=configs/experiments/table1.py", "--workdir=x", "--scale=smal"], "did you mean small"),
        (
            ["--experiment=configs/experiments/table1.py", "--workdir=x", "--only=svhn"],
            "NAME/seed0 to seed4, where NAME is one of cifar10",
        ),
        (
            ["--experiment=configs/experiments/table1.py", "--workdir=x", "--only=(mnist"],
            "give a part of NAME/seed0 to seed4, where NAME is one of",
        ),
        (["--config=configs/digits.py", "--workdir=x"], "is not an option of this program, which takes no config"),
        (["--config.epochs=2", "--workdir=x"], "is not an option of this program, which takes no config"),
        (["--seed=2", "--workdir=x"], "--seed is not an option of this program: did you mean --seeds?\n"),
    ],
)
def test_mistakes_are_answered_with_one_sentence(arguments, message):
    command = [sys.executable, "-m", "sidae_jax.sweep", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: ")
    assert message in ended.stderr
    assert ended.stderr.count("\n") == 1


PROBES = """
from sidae_jax.experiments import Evaluation, Experiment, Pretraining

PRETRAINING = Pretraining("digits", "simsiam", {"width": 4})

def get_experiment():
    return Experiment("mistaken", RUNS)
"""


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ('[(Pretraining("digit", "dae"), [])]', "main of the run digit-dae/seed0 cannot work: --config="),
        ('[(Pretraining("digits", "dae", {"w": 1}), [])]', "--config.w=1 is a key of other methods"),
        ('[(Pretraining("digits", "dae", {"lr": -1}), [])]', "config.lr=-1.0 is out of range"),
        ('[(PRETRAINING, [Evaluation("linear_evl")])]', "did you mean "),
        (
            '[(PRETRAINING, [Evaluation("linear_eval", {"probe.epoch": 3})])]',
            "linear_eval of the run digits-simsiam-width4/seed0 cannot work: --config.probe.epoch=3 is not a key",
        ),
        ('[(PRETRAINING, [Evaluation("linear_eval", {"label_fraction": 2})])]', "config.label_fraction=2.0 is out of"),
        ('[(PRETRAINING, [Evaluation("linear_eval", {"dataset": "digit"})])]', "did you mean digits?"),
        ('[(PRETRAINING, [Evaluation("online_eval")])]', "config.protocol=online needs a classifier"),
        ('[Pretraining("digits", "sidae")]', "as runs[0], and a pair is wanted: give (Pretraining(...), [Evaluation"),
        ("[(PRETRAINING, PRETRAINING)]", "as runs[0], and a pair is wanted"),
        ("PRETRAINING", "and an Experiment with a list of runs is wanted"),
    ],
)
def test_an_experiment_is_checked_whole_before_its_first_command(experiment, tmp_path, runs, message):
    for name in ("knn_eval.py", "online_eval.py"):
        (experiment.parent.parent / name).write_text((ROOT / "configs" / name).read_text())
    mistaken = experiment.with_name("mistaken.py")
    mistaken.write_text(PROBES.replace("RUNS", runs))
    for arguments in ([], ["--print"]):
        command = [sys.executable, "-m", "sidae_jax.sweep", f"--experiment={mistaken}", f"--workdir={tmp_path / 'new'}"]
        ended = subprocess.run([*command, *arguments], capture_output=True, text=True, cwd=ROOT, timeout=60)
        assert (ended.returncode, ended.stdout) == (2, "")
        assert message in ended.stderr
        assert ended.stderr.count("\n") == 1
        assert not (tmp_path / "new").exists()


def test_a_sweep_of_other_seeds_than_the_first_is_checked_too(experiment, tmp_path):
    mistaken = experiment.with_name("mistaken.py")
    mistaken.write_text(PROBES.replace("RUNS", '[(Pretraining("digits", "sidae", {"epoch": 2}), [])]'))
    command = [sys.executable, "-m", "sidae_jax.sweep", f"--experiment={mistaken}", f"--workdir={tmp_path / 'new'}"]
    ended = subprocess.run([*command, "--only=seed1", "--print"], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "seed1 cannot work: --config.epoch=2 is not a key" in ended.stderr
