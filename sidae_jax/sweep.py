"""Run an experiment: all its pre-training runs and their evaluations, what is not yet done of them.

python -m sidae_jax.sweep --experiment=FILE --workdir=DIR [--seeds=5] [--scale=small|paper] [--only=PATTERN] [--print]

The same command again continues. With --print it runs nothing and prints one shell command a run, for a cluster's
array job. A run that fails does not stop the others; it is named at the end, and the exit code is 1.
"""

from sidae_jax import interrupt  # noqa: F401, I001 (first: what follows takes a while to import)

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

from sidae_jax import cli, experiments
from sidae_jax.config import one_of
from sidae_jax.errors import UserError
from sidae_jax.experiments import Job
from sidae_jax.files import open_folder

_EXPERIMENT = flags.DEFINE_string("experiment", None, "File of the experiment, such as configs/experiments/table1.py.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the experiment: each run has a folder in it.")
_SEEDS = flags.DEFINE_integer("seeds", 5, "Number of seeds, from 0 on.", lower_bound=1)
_SCALE = flags.DEFINE_string("scale", "paper", "paper, or small: a check of two CPU cores, no result.")
_ONLY = flags.DEFINE_string("only", "", "Only runs in whose names this regular expression is found, such as ^mnist.")
_PRINT = flags.DEFINE_bool("print", False, "Print the commands, one line a run, and run nothing.")


def main() -> None:
    """Raises UserError; SystemExit 1 where runs failed, 128 + the signal's number where one stopped the sweep."""
    jobs = _jobs()
    if _PRINT.value:
        for job in jobs:
            folder = str(pathlib.Path(_WORKDIR.value).expanduser().absolute() / job.name)
            print(" && ".join(shlex.join(_whole("python", command, folder)) for command in job.commands))
        return
    sweep = _Sweep(open_folder(_WORKDIR.value), jobs)
    failed = sweep.run()
    for name, log in failed.items():
        lines = log.read_text().strip().splitlines()
        print(f"failed: {name}: {lines[-1] if lines else 'it printed nothing'} (all of it in {log})")
    print(f"{len(jobs) - len(failed)} of {len(jobs)} runs are done in {_WORKDIR.value}")
    sys.exit(1 if failed else 0)


def _jobs() -> list[Job]:
    for name, value in (("experiment", _EXPERIMENT.value), ("workdir", _WORKDIR.value)):
        if value is None:
            raise UserError(f"--{name} is missing: --help shows how it is given")
    load = cli.load_function("experiment", _EXPERIMENT.value, "get_experiment", "configs/experiments/table1.py")
    one_of("scale", _SCALE.value, experiments.SCALES)
    experiment, path = load(), pathlib.Path(_EXPERIMENT.value)
    configs = next((p for p in path.absolute().parents if (p / "linear_eval.py").exists()), None)
    if configs is None:
        raise UserError(f"--experiment={path} lies in no folder beside the configs: put it under configs/experiments")
    jobs = experiments.jobs(experiment, configs, _SEEDS.value, _SCALE.value)
    names = ", ".join(sorted({run.name for run, _ in experiment.runs}))
    try:
        chosen = [job for job in jobs if re.search(_ONLY.value, job.name)]
    except re.error as error:
        raise UserError(f"--only={_ONLY.value} is no regular expression ({error}): give a part of {names}") from error
    if not chosen:
        raise UserError(f"--only={_ONLY.value} is in the name of no run: give a part of one of {names}")
    return chosen


def _whole(python: str, command: tuple[str, ...], folder: str) -> list[str]:
    module, *arguments = command
    return [python, "-m", module, f"--workdir={folder}", *arguments]


class _Sweep:
    """The commands that are left, one after the other, each a process of its own."""

    def __init__(self, workdir: pathlib.Path, jobs: list[Job]):
        self.workdir = workdir
        self.jobs = jobs
        self.child: subprocess.Popen | None = None
        self.stopped_by: int | None = None

    def run(self) -> dict[str, pathlib.Path]:
        """The log of each job that failed, by its name."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        failed = {}
        console = rich.console.Console(stderr=True, highlight=False, soft_wrap=True)
        columns = rich.progress.Progress.get_default_columns()
        with rich.progress.Progress(*columns, console=console) as progress:
            bar = progress.add_task("", total=sum(len(job.commands) for job in self.jobs))
            for job in self.jobs:
                folder = self.workdir / job.name
                done = _done(folder)
                left = [command for command in job.commands if list(command) not in done]
                progress.advance(bar, len(job.commands) - len(left))
                for i, command in enumerate(left):
                    progress.update(bar, description=job.name)
                    if not self._run(folder, command):
                        console.print(f"{job.name} has failed, the others go on")
                        failed[job.name] = folder / "log.txt"
                        progress.advance(bar, len(left) - i)
                        break
                    progress.advance(bar)
        return failed

    def _run(self, folder: pathlib.Path, command: tuple[str, ...]) -> bool:
        """Whether the command ended well, which is then written down."""
        folder.mkdir(parents=True, exist_ok=True)
        since, whole = time.time(), _whole(sys.executable, command, str(folder))
        with open(folder / "log.txt", "a") as log:
            # The child inherits the lock with the file: the sweep after one that was killed waits for that one's child.
            try:
                fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"waiting for the process that a killed sweep left in {folder}", flush=True)
                fcntl.flock(log, fcntl.LOCK_EX)
            log.write(f"$ {shlex.join(whole)}\n")
            log.flush()
            # in a session of its own: a Ctrl-C reaches it through this process, and so once
            self.child = subprocess.Popen(whole, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
            if self.stopped_by is not None:  # the signal came before there was a child to tell
                self.child.terminate()
            code = self.child.wait()
        if self.stopped_by is not None:
            print("stopped: the same command continues")
            sys.exit(128 + self.stopped_by)
        if code == 0:
            with open(folder / "done.jsonl", "a") as file:
                file.write(json.dumps({"command": command, "seconds": round(time.time() - since, 1)}) + "\n")
        return code == 0

    def _stop(self, number, _):
        self.stopped_by = number
        if self.child is not None:
            self.child.send_signal(signal.SIGTERM)


def _done(folder: pathlib.Path) -> list[list[str]]:
    """The commands that have ended well there; a line cut short by a kill counts as none."""
    commands = []
    path = folder / "done.jsonl"
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            commands.append(json.loads(line)["command"])
        except ValueError:
            continue
    return commands


if __name__ == "__main__":
    cli.run_without_config(main)
