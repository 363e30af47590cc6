"""Run an experiment: the pre-training runs and evaluations that are not done yet.

python -m sidae_jax.sweep --experiment=NAME --workdir=DIR [--seeds=5] [--scale=thin] [--only=PATTERN] [--print]

NAME is one of the experiments that come with the package, such as table1, or the path of a file. The same command
continues a sweep that was stopped. With --print it runs nothing and prints one shell command per run, for a cluster's
array job. A run that fails does not stop the others; it is named at the end, and the exit code is 1.
The data sets are those of the folder that the environment variable TFDS_DATA_DIR names, or of ~/tensorflow_datasets.
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

import rich.console
import rich.progress
from absl import flags

from sidae_jax import cli, config_files, data, experiments
from sidae_jax.config import validate
from sidae_jax.config_values import one_of
from sidae_jax.errors import UserError
from sidae_jax.evaluation import config as evaluation
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
    "only", "", "Only runs whose names contain a match of this regular expression, such as ^mnist."
)
_PRINT = flags.DEFINE_bool("print", False, "Print the commands, one line per run, and run nothing.")


def main() -> None:
    """Runs or prints the experiment.

    Raises:
      UserError: if the command line is wrong.
      SystemExit: with code 1 if runs failed, with 128 + the signal's number if a signal stopped the sweep.
    """
    jobs = _jobs()
    if _PRINT.value:
        for job in jobs:
            folder = str(pathlib.Path(str(_WORKDIR.value)).expanduser().absolute() / job.name)
            print(" && ".join(shlex.join(_command_line("python", command, folder)) for command in job.commands))
        return
    sweep = _Sweep(open_folder(str(_WORKDIR.value)), jobs)
    failed = sweep.run()
    for name, log in failed.items():
        lines = log.read_text().strip().splitlines()
        print(f"failed: {name}: {lines[-1] if lines else 'it printed nothing'} (full log: {log})")
    print(f"{len(jobs) - len(failed)} of {len(jobs)} runs are done in {_WORKDIR.value}")
    sys.exit(1 if failed else 0)


def _jobs() -> list[Job]:
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
        raise UserError(f"--only={_ONLY.value} matches no run: give a part of one of {names}")
    first_seeds: dict[str, Job] = {}
    for job in chosen:
        first_seeds.setdefault(job.name.rpartition("/")[0], job)
    for job in first_seeds.values():  # the other seeds have the same keys
        _check_commands(job)
    return chosen


def _check_commands(job: Job) -> None:
    """Raises UserError if a command would refuse its config, however long the commands before it take."""
    pretraining = None
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
            else:
                evaluation.validate(config)
                evaluation.check_run(config, pretraining, 0 if "--step=0" in rest else None)
            if config.dataset is not None:
                data.check_name(config.dataset, config.data_dir)
        except UserError as error:
            what = module.rpartition(".")[2]
            raise UserError(f"{what} of the run {job.name} cannot work: {error}") from error


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
                succeeded = done.commands(folder)
                remaining = [command for command in job.commands if list(command) not in succeeded]
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
            print("stopped: run the same command to continue")
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
