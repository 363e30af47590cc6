"""Runs the jobs of a sweep, each command in its own process."""

import fcntl
import json
import pathlib
import shlex
import signal
import subprocess
import sys
import time
from typing import IO

import rich.console
import rich.progress

from sidae_jax.experiments import Job
from sidae_jax.files import open_here
from sidae_jax.runs import done, sums


def remaining(folder: pathlib.Path, job: Job) -> list[tuple[str, ...]]:
    """Returns the commands that have not succeeded yet in the folder of the job."""
    succeeded = done.commands(folder)
    return [command for command in job.commands if list(command) not in succeeded]


def command_line(python: str, command: tuple[str, ...], folder: str) -> list[str]:
    """Returns a command of a job as a process takes it, with the folder of its run."""
    module, *arguments = command
    return [python, "-m", module, f"--workdir={folder}", *arguments]


class Sweep:
    """Runs the commands that are not done yet one after another, each in its own process."""

    def __init__(self, workdir: pathlib.Path, jobs: list[Job]):
        self.workdir = workdir
        self.jobs = jobs
        self.child: subprocess.Popen | None = None
        self.stopped_by: int | None = None

    def counted(self) -> str:
        """Says how many of the jobs are done."""
        count = len(self.jobs) - len(self._unfinished())
        return f"{count} of {len(self.jobs)} runs are done in {self.workdir}"

    def run(self) -> dict[str, pathlib.Path]:
        """Runs all jobs; returns the log of each job that failed, by its name."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        failed: dict[str, pathlib.Path] = {}
        done_here, began = 0, time.monotonic()
        console = rich.console.Console(stderr=True, highlight=False, soft_wrap=True)
        columns = rich.progress.Progress.get_default_columns()
        with rich.progress.Progress(*columns, console=console) as progress:
            bar = progress.add_task("", total=sum(len(job.commands) for job in self.jobs))
            for job in self.jobs:
                folder = self.workdir / job.name
                left = remaining(folder, job)
                progress.advance(bar, len(job.commands) - len(left))
                started = time.monotonic()
                for i, command in enumerate(left):
                    progress.update(bar, description=job.name)
                    if not self._run(folder, command):
                        console.print(f"{job.name} has failed; the other runs continue")
                        failed[job.name] = folder / "log.txt"
                        progress.advance(bar, len(left) - i)
                        break
                    progress.advance(bar)
                else:
                    if left and not console.is_terminal:  # a file shows no progress bar until its end
                        now, done_here = time.monotonic(), done_here + 1
                        hours = (now - began) / done_here * len(self._unfinished() - failed.keys()) / 3600
                        took = f"{job.name} took {(now - started) / 60:.1f} minutes"
                        console.print(f"{took}; {self.counted()}, at this pace the others in {hours:.1f} hours")
        return failed

    def _unfinished(self) -> set[str]:
        """Returns the names of the jobs with commands that have not succeeded."""
        return {job.name for job in self.jobs if remaining(self.workdir / job.name, job)}

    def _run(self, folder: pathlib.Path, command: tuple[str, ...]) -> bool:
        """Runs the command and returns whether it succeeded, which done.jsonl then records.

        What another sweep of the folder has done in the meantime is not run again.
        """
        folder.mkdir(parents=True, exist_ok=True)
        line = command_line(sys.executable, command, str(folder))
        with open_here(folder / "log.txt", "a") as log:
            self._lock(log, folder)
            if list(command) in done.commands(folder):
                return True
            start = time.time()
            log.write(f"$ {shlex.join(line)}\n")
            log.flush()
            # In its own session the child gets a Ctrl-C only once, from this process.
            self.child = subprocess.Popen(line, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
            if self.stopped_by is not None:  # the signal came before the child started
                self.child.terminate()
            code = self.child.wait()
            self._end_if_stopped()
            if code == 0:
                with open_here(folder / "done.jsonl", "a") as file:
                    record = {"command": list(command), "seconds": round(time.time() - start, 1)}
                    file.write(json.dumps(sums.sealed(record)) + "\n")
        return code == 0

    def _lock(self, log: IO[str], folder: pathlib.Path) -> None:
        """Locks the log. The child inherits the lock with the file: that of a killed sweep still has it."""
        told = False
        while True:
            try:
                return fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not told:
                    print(
                        f"waiting for a process in {folder}, of another sweep or left by one that was killed",
                        flush=True,
                    )
                told = True
            self._end_if_stopped()  # a lock that is waited for would not let a signal end it
            time.sleep(0.2)

    def _end_if_stopped(self) -> None:
        if self.stopped_by is not None:
            print(f"stopped: {self.counted()}; run the same command to continue")
            sys.exit(128 + self.stopped_by)

    def _stop(self, number, _):
        self.stopped_by = number
        if self.child is not None:
            self.child.send_signal(signal.SIGTERM)
