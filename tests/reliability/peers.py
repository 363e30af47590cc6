"""Processes that are killed, stopped or cut off; and runs that go on with other numbers of processes and devices."""

import functools
import pathlib
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from reliability.outcomes import Outcome
from reliability.peers_changes import DEVICES, DEVICES_IN_CI, LOSSES_DIFFER, PROCESSES, changed
from reliability.peers_launch import TOTAL, Link, Processes, link_is_possible, linked, sha256

PEER_TIMEOUT = 10
_MARGIN = 25  # seconds: the process that leaves last, and a machine that does other things too
FAULTS = ("killed", "stopped", "cut off")

TITLE = "Several processes"
TEXT = f"""
A run in two processes, of which one is killed (`kill -9`), stopped (`SIGSTOP`) or cut off (each process is in a network
namespace of its own, and the link between them goes down), at random moments from the first exchange on: while it
compiles, between steps, during saves and measures of the features. Each chain has one fault of each kind, in random
order, each followed by the same command.

Promised: every process that is left ends with a non-zero code within `config.peer_timeout`, {PEER_TIMEOUT} seconds
here, and {_MARGIN} more on a busy machine; so does the stopped one when it goes on. They say why in one sentence, but
where process 0 is gone and JAX itself aborts the others. The same command goes on, and the parameters have the bits of
the run left alone.

Then runs that are stopped by SIGTERM and go on with other numbers of processes (2, 1, 2) and devices (8, 4, 2, 1, 8, of
CPUs): the checkpoint has the same bits on the devices, of whatever number, and {LOSSES_DIFFER}.
"""
IN_CI, IN_FULL = 4, 60
_CHAINS_IN_FULL, _CHANGES_IN_FULL = 12, (3, 6)  # of devices, of processes


def run(count: int, seed: int, folder: pathlib.Path) -> Iterator[Outcome]:
    """Yields the outcomes of the chains, two of which run at a time."""
    full = count > IN_CI
    alone = _alone(folder)  # of two processes
    devices, processes = _CHANGES_IN_FULL if full else (1, 0)  # test_processes.py has one of these
    plan: list[Callable[[], list[Outcome]]] = [
        *(functools.partial(_faults, folder, alone, f"{seed}, {i}") for i in range(_CHAINS_IN_FULL if full else 1)),
        *(
            functools.partial(changed, folder / f"devices{i}", DEVICES if full else DEVICES_IN_CI, f"{seed}, {i}")
            for i in range(devices)
        ),
        *(functools.partial(changed, folder / f"processes{i}", PROCESSES, f"{seed}, {i}") for i in range(processes)),
    ]
    with ThreadPoolExecutor(2) as pool:
        for outcomes in pool.map(lambda each: each(), plan):
            yield from outcomes


def _alone(folder: pathlib.Path) -> str:
    """Returns the checksum of the run left alone."""
    with Processes(folder / "alone", 2) as processes:
        return sha256(processes.finished())


def _faults(folder: pathlib.Path, alone: str, seed: str) -> list[Outcome]:
    """Returns the outcomes of a fault of each kind in one folder; the last of them is of the end, too."""
    choices = random.Random(seed)
    faults = choices.sample(FAULTS, len(FAULTS))
    home = folder / f"chain {seed}".replace(", ", "-").replace(" ", "-")
    steps = sorted(choices.sample(range(6, TOTAL - 15), len(faults)))
    outcomes = []
    for fault, step in zip(faults, steps, strict=True):
        early, number, after = choices.random() < 0.3, choices.randrange(2), choices.uniform(0, 0.5)
        moment = (0, 8 * after) if early else (step, after)
        outcomes.append(_fault(home, fault, number, *moment, seed))
    try:
        with Processes(home, 2) as processes:
            found = sha256(processes.finished())
        problem = "" if found == alone else f"the parameters have sha256 {found}, those of the run alone {alone}"
    except RuntimeError as error:
        problem = str(error)
    if problem:
        what = f"the run after {', '.join(faults)}"
        return [*outcomes[:-1], Outcome(what, "not the bits of the run left alone", False, f"seed {seed}: {problem}")]
    if all(each.ok for each in outcomes):
        shutil.rmtree(home)
    return outcomes


def _fault(home: pathlib.Path, fault: str, number: int, step: int, after: float, seed: str) -> Outcome:
    """Starts the run, and does something to a process `after` seconds after a step; 0 is the first exchange."""
    of = "process 0, the coordinator," if number == 0 else "process 1"
    when = "before the first step" if step == 0 else "in the run"
    what = f"{of} is {fault} {when}" if fault != "cut off" else f"the link between them is cut {when}"
    if fault == "cut off" and not link_is_possible():
        return Outcome("the link between them is cut", "left out: no network namespaces here", True)
    detail = f"seed {seed}, {after:.2f} s after step {step}"
    try:
        with (
            linked(fault == "cut off") as link,
            Processes(home, 2, f"--config.peer_timeout={PEER_TIMEOUT}", link=link) as processes,
        ):
            processes.until(step)
            time.sleep(after)
            if any(process.poll() is not None for process in processes.processes):
                raise RuntimeError(f"it ended before the fault:\n{processes.report()}")
            problem, outcome = _ends(processes, fault, number, link)
            detail += f"\n{processes.report()}"
    except RuntimeError as error:
        problem, outcome, detail = "not as promised", "", f"{detail}: {error}"
    return Outcome(what, problem or outcome, not problem, detail if problem else "")


def _ends(processes: Processes, fault: str, number: int, link: Link | None) -> tuple[str, str]:
    """Does it, and returns what is wrong with how the processes end, and how they end."""
    if link is not None:
        link.cut()
        ended = processes.ended((0, 1), PEER_TIMEOUT + _MARGIN)
    else:
        processes.send(number, signal.SIGKILL if fault == "killed" else signal.SIGSTOP)
        ended = processes.ended((1 - number,), PEER_TIMEOUT + _MARGIN)
        if fault == "stopped":
            processes.send(number, signal.SIGCONT)
            (last,) = processes.ended((number,), PEER_TIMEOUT + _MARGIN)
            if last.code == 0:
                return "the stopped one ended with code 0", ""
    who = "both end" if link else "the other ends"
    aborted = [each.code == -signal.SIGABRT and "another task died" in each.output for each in ended]
    if any(aborted) and number == 0 and fault == "killed":
        return "", f"{who} by an abort of JAX, code 134; the same command went on, to the bits of the run left alone"
    for each in ended:
        sentences = [line for line in each.output.splitlines() if line.startswith("error: ")]
        if each.code != 1 or len(sentences) != 1 or "Traceback" in each.output:
            return f"exit code {each.code}, {len(sentences)} sentences", ""
    return "", f"{who} with code 1 and one sentence; the same command went on, to the bits of the run left alone"
