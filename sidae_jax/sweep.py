"""Run an experiment: the pre-training runs and evaluations that are not done yet.

python -m sidae_jax.sweep --experiment=NAME --workdir=DIR [--seeds=5] [--scale=thin] [--only=PATTERN] [--print]

NAME is one of the experiments that come with the package, such as table1, or the path of a file. The same command
continues a sweep that was stopped. With --print it runs nothing and prints one shell command per run, for a cluster's
array job. A run that fails does not stop the others; it is named at the end, and the exit code is 1.
The data sets are those of the folder that the environment variable TFDS_DATA_DIR names, or of ~/tensorflow_datasets;
those that are not there are downloaded before the first run.
"""

from sidae_jax import interrupt  # noqa: F401, I001 (first, because the other imports take a while)

import fcntl
import json
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

import rich.console
import rich.progress
from absl import flags

from sidae_jax import cli, config_files, data, experiments
from sidae_jax.config import folder_settings, validate
from sidae_jax.config_values import one_of
from sidae_jax.errors import UserError
from sidae_jax.evaluation import config as evaluation
from sidae_jax.evaluation.data_set import DataSet, choose
from sidae_jax.experiments import Job
from sidae_jax.files import open_folder, open_here
from sidae_jax.runs import done, sums

_EXPERIMENT = flags.DEFINE_string("experiment", None, "Name of an experiment, such as table1, or the path of its file.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the experiment, with a folder for each run.")
_SEEDS = flags.DEFINE_integer("seeds", 5, "Number of seeds, counted from 0.", lower_bound=1)
_SCALE = flags.DEFINE_string(
    "scale",
    "paper",
    "paper; thin: the whole schedules with a quarter of the width, on 10,240 images; or small: a check for two CPU "
    "cores, no result.",
)
_ONLY = flags.DEFINE_string(
    "only",
    "",
    "Only runs whose names, NAME/seedN, contain a match of this regular expression, such as ^mnist or -dae/seed0.",
)
_PRINT = flags.DEFINE_bool("print", False, "Print the commands, one line per run, and run nothing.")


def main() -> None:
    """Runs or prints the experiment.

    Raises:
      UserError: if the command line is wrong.
      SystemExit: with code 1 if runs failed, with 128 + the signal's number if a signal stopped the sweep.
    """
    jobs, data_sets = _checked_jobs()
    if _PRINT.value:
        with cli.until_the_reader_leaves():
            for job in jobs:
                folder = str(pathlib.Path(str(_WORKDIR.value)).expanduser().absolute() / job.name)
                print(" && ".join(shlex.join(_command_line("python", command, folder)) for command in job.commands))
        return
    _make_ready(jobs, data_sets)
    sweep = _Sweep(open_folder(str(_WORKDIR.value)), jobs)
    of_scale = " (the papers' whole settings)" if _SCALE.value == "paper" else ""
    print(f"--scale={_SCALE.value}{of_scale}: {sweep.counted()}", file=sys.stderr)
    failed = sweep.run()
    for name, log in failed.items():
        lines = log.read_text().strip().splitlines()
        print(f"failed: {name}: {lines[-1] if lines else 'it printed nothing'} (full log: {log})")
    print(sweep.counted())
    sys.exit(1 if failed else 0)


def _checked_jobs() -> tuple[list[Job], dict[str, list[DataSet]]]:
    """Returns the jobs that the command line asks for, and by the name of a run the data sets that it needs."""
    for name, value, example in (
        ("experiment", _EXPERIMENT.value, "table1"),
        ("workdir", _WORKDIR.value, "runs/table1"),
    ):
        if value is None:
            raise UserError(f"--{name} is missing: give one, such as --{name}={example}")
    load = config_files.load_function(
        "experiment", str(_EXPERIMENT.value), "get_experiment", "configs/experiments/table1.py"
    )
    one_of("scale", _SCALE.value, experiments.SCALES)
    experiment, path = load(), pathlib.Path(config_files.find("experiment", str(_EXPERIMENT.value)))
    try:
        experiments.check_types(experiment)
    except UserError as error:
        raise UserError(f"get_experiment of --experiment={path} {error}") from error
    configs = next((p for p in path.absolute().parents if (p / "linear_eval.py").exists()), None)
    if configs is None:
        raise UserError(f"--experiment={path} lies in no folder beside the configs: put it under configs/experiments")
    jobs = experiments.jobs(experiment, configs, _SEEDS.value, _SCALE.value)
    names = ", ".join(sorted({run.name for run, _ in experiment.runs}))
    try:
        chosen = [job for job in jobs if re.search(_ONLY.value, job.name)]
    except re.error as error:
        raise UserError(
            f"--only={_ONLY.value} is not a regular expression ({error}): give a part of {names}"
        ) from error
    if not chosen:
        seeds = "seed0" if _SEEDS.value == 1 else f"seed0 to seed{_SEEDS.value - 1}"
        raise UserError(
            f"--only={_ONLY.value} matches no run: give a part of NAME/{seeds}, where NAME is one of {names}"
        )
    data_sets: dict[str, list[DataSet]] = {}
    for job in chosen:
        if job.run not in data_sets:  # the other seeds have the same keys
            data_sets[job.run] = _check_commands(job)
    return chosen, data_sets


def _check_commands(job: Job) -> list[DataSet]:
    """Returns the data sets that a job needs.

    Raises:
      UserError: if a command would refuse its config, however long the commands before it take.
    """
    pretraining, data_sets = None, []
    for module, *arguments in job.commands:
        rest, overrides = cli.split(arguments)
        files = [argument.removeprefix("--config=") for argument in rest if argument.startswith("--config=")]
        if not files:
            continue
        try:
            config = config_files.load_config(files[0], overrides)
            if pretraining is None:
                validate(config)
                pretraining = config
                data_set = DataSet(config.dataset, config.data_dir, folder_settings(config), config.size)
            else:
                evaluation.validate(config)
                evaluation.check_run(config, pretraining, 0 if "--step=0" in rest else None)
                data_set = choose(config, pretraining)
            data.check_name(data_set.name, data_set.data_dir)
            if data_set not in data_sets:
                data_sets.append(data_set)
        except UserError as error:
            what = module.rpartition(".")[2]
            raise UserError(f"{what} of the run {job.name} cannot work: {error}") from error
    return data_sets


def _make_ready(jobs: Sequence[Job], data_sets: Mapping[str, list[DataSet]]) -> None:
    """Downloads and prepares what the commands that are left need. Raises UserError if that cannot be done."""
    workdir = pathlib.Path(str(_WORKDIR.value)).expanduser()
    needed: dict[DataSet, list[str]] = {}
    for job in jobs:
        if _remaining(workdir / job.name, job):
            for data_set in data_sets[job.run]:
                needed.setdefault(data_set, []).append(job.name)
    for data_set, names in needed.items():
        try:
            data_set.make_ready()
        except UserError as error:
            raise UserError(
                f"{error}; {len(names)} of {len(jobs)} runs, such as {names[0]}, need it: --only can leave them out"
            ) from error


def _remaining(folder: pathlib.Path, job: Job) -> list[tuple[str, ...]]:
    """Returns the commands that have not succeeded yet in the folder of the job."""
    succeeded = done.commands(folder)
    return [command for command in job.commands if list(command) not in succeeded]


def _command_line(python: str, command: tuple[str, ...], folder: str) -> list[str]:
    module, *arguments = command
    return [python, "-m", module, f"--workdir={folder}", *arguments]


class _Sweep:
    """Runs the commands that are not done yet one after another, each in its own process."""

    def __init__(self, workdir: pathlib.Path, jobs: list[Job]):
        self.workdir = workdir
        self.jobs = jobs
        self.child: subprocess.Popen | None = None
        self.stopped_by: int | None = None

    def counted(self) -> str:
        """Says how many of the jobs are done."""
        count = sum(not _remaining(self.workdir / job.name, job) for job in self.jobs)
        return f"{count} of {len(self.jobs)} runs are done in {self.workdir}"

    def run(self) -> dict[str, pathlib.Path]:
        """Runs all jobs; returns the log of each job that failed, by its name."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        failed = {}
        console = rich.console.Console(stderr=True, highlight=False, soft_wrap=True)
        columns = rich.progress.Progress.get_default_columns()
        with rich.progress.Progress(*columns, console=console) as progress:
            bar = progress.add_task("", total=sum(len(job.commands) for job in self.jobs))
            for job in self.jobs:
                folder = self.workdir / job.name
                remaining = _remaining(folder, job)
                progress.advance(bar, len(job.commands) - len(remaining))
                for i, command in enumerate(remaining):
                    progress.update(bar, description=job.name)
                    if not self._run(folder, command):
                        console.print(f"{job.name} has failed; the other runs continue")
                        failed[job.name] = folder / "log.txt"
                        progress.advance(bar, len(remaining) - i)
                        break
                    progress.advance(bar)
        return failed

    def _run(self, folder: pathlib.Path, command: tuple[str, ...]) -> bool:
        """Runs the command and returns whether it succeeded, which done.jsonl then records."""
        folder.mkdir(parents=True, exist_ok=True)
        start, line = time.time(), _command_line(sys.executable, command, str(folder))
        with open_here(folder / "log.txt", "a") as log:
            # The child inherits the lock with the file. If a sweep is killed, the next one waits for its child.
            try:
                fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"waiting for the process that a killed sweep left in {folder}", flush=True)
                fcntl.flock(log, fcntl.LOCK_EX)
            log.write(f"$ {shlex.join(line)}\n")
            log.flush()
            # In its own session the child gets a Ctrl-C only once, from this process.
            self.child = subprocess.Popen(line, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
            if self.stopped_by is not None:  # the signal came before the child started
                self.child.terminate()
            code = self.child.wait()
        if self.stopped_by is not None:
            print(f"stopped: {self.counted()}; run the same command to continue")
            sys.exit(128 + self.stopped_by)
        if code == 0:
            with open_here(folder / "done.jsonl", "a") as file:
                record = {"command": list(command), "seconds": round(time.time() - start, 1)}
                file.write(json.dumps(sums.sealed(record)) + "\n")
        return code == 0

    def _stop(self, number, _):
        self.stopped_by = number
        if self.child is not None:
            self.child.send_signal(signal.SIGTERM)


if __name__ == "__main__":
    cli.run_without_config(main)
