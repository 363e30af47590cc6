"""Kills one after another in one folder, each followed by the same command, and the comparison at the end."""

import pathlib
import random
import shutil
import time

from reliability import kill_files
from reliability.kill_files import Found
from reliability.kill_scenes import TIMEOUT, Moment, Scene
from reliability.outcomes import Outcome

_SHOWN = 8  # problems of a chain; one that goes wrong early is wrong in every line
_LATEST = 0.6  # of the time of the run left alone, which compiles as well: later ones would come after the end
_ANY_TIME = Moment("any time", lambda *_: True, 0)
WENT_ON = "the same command went on, to the bits of the run left alone"
WRONG = "not as in the run left alone"


class Chain:
    """A scene, killed so many times. Its random choices follow from its seed alone."""

    def __init__(self, scene: Scene, kills: int, seed: str):
        self.scene, self.kills, self.seed = scene, kills, seed
        self._random = random.Random(seed)
        moments = [_ANY_TIME, *scene.moments]
        # in the order in which they come: one that comes no more lets the program end, and the next chain begins
        self._moments = [moments[i] for i in sorted(self._random.choices(range(len(moments)), k=kills))]
        self._history: list[str] = []
        self._problems: list[str] = []
        self._landed: list[str] = []
        self._kept: Found = {}  # what has been found at a kill, to be found at all later times

    def run(self) -> list[Outcome]:
        """Returns an outcome for each kill; all of a folder's are not ok if something in it is not."""
        outcomes: list[Outcome] = []
        number = iter(range(3 * self.kills + 5))
        try:
            self.scene.alone()
            while len(outcomes) < self.kills:
                home = self.scene.folder / f"chain {self.seed} {next(number)}".replace(" ", "-").replace(",", "")
                new = self._in_folder(home, self.kills - len(outcomes))
                if not new:  # the moment did not come, in a whole run
                    self._moments[len(outcomes)] = _ANY_TIME
                outcomes += new
        except Exception as error:
            self._history.append(f"{type(error).__name__}: {error}")
            missing = [Outcome(self.scene.name, "the test itself failed", False, self._detail())]
            outcomes += missing * (self.kills - len(outcomes))
        return outcomes

    def _in_folder(self, home: pathlib.Path, kills: int) -> list[Outcome]:
        """Kills up to so many times, until the program ends by itself, as it may before a moment has come."""
        self._history, self._problems, self._landed, self._kept = [], [], [], {}
        self.scene.prepare(home)
        try:
            while self._one_start(
                home, self._moments[-kills:][len(self._landed)] if len(self._landed) < kills else None
            ):
                pass
        finally:
            self.scene.end(home)
        ok = not self._problems
        if ok:
            shutil.rmtree(home)
        details = [self._detail() if not ok else "", *[f"of the chain {self.seed!r}"] * len(self._landed)]
        outcome = WENT_ON if ok else WRONG
        if not ok and not self._landed:  # it ended by itself, and not well
            return [Outcome(f"{self.scene.name}: no kill", outcome, False, details[0])]
        return [
            Outcome(f"{self.scene.name}: {what}", outcome, ok, "" if ok else detail)
            for what, detail in zip(self._landed, details, strict=False)
        ]

    def _one_start(self, home: pathlib.Path, moment: Moment | None) -> bool:
        """Starts the command, and returns whether it was killed."""
        scene, log = self.scene, home / f"log{len(self._history)}"
        found, unfinished, saved = scene.found(home), kill_files.unfinished(home), kill_files.steps(home / "run")
        since = time.time()
        processes = scene.start(home, log)
        killed, timely = self._killed(processes, home, log, moment, since)
        text = scene.text(home, log)
        self._check(home, text, saved)
        if killed:
            new = {name for name, number in kill_files.unfinished(home) - unfinished}
            self._landed.append(scene.landed(home, text, new, found))
        codes = [process.returncode for process in processes]
        what = f"killed, {self._landed[-1]}" if killed else f"ended, exit codes {codes}"
        by = moment.name if moment else "none"
        self._history.append(f"moment: {by}; {what}; {time.time() - since:.1f} s; it said:\n{_indented(text)}")
        if not killed:
            self._at_end(home, codes, timely)
        return killed

    def _killed(self, processes, home: pathlib.Path, log: pathlib.Path, moment, since: float) -> tuple[bool, bool]:
        """Returns whether it was killed in its moment, and whether it ended in time."""
        while any(process.poll() is None for process in processes):
            if time.time() > since + TIMEOUT:
                self.scene.kill(processes, home)
                return False, False
            if moment and moment.reached(home, self.scene.text(home, log), since):
                after = moment.after if moment is not _ANY_TIME else _LATEST * self.scene.alone()[1]
                time.sleep(self._random.uniform(0, after))
                if all(process.poll() is None for process in processes):
                    self.scene.kill(processes, home)
                    return True, True
            time.sleep(0.002 if moment else 0.05)
        return False, True

    def _check(self, home: pathlib.Path, text: str, saved: list[int]) -> None:
        """Compares what is there with the run left alone, and with what was there before."""
        alone, found = self.scene.alone()[0], self.scene.found(home)
        different = [name for name in found if alone.get(name) != found[name]]
        lost = self._kept.keys() - found.keys()
        self._problems += [f"{name} is {found[name]:.200}, wanted {alone.get(name)!s:.200}" for name in different]
        self._problems += [f"{name} was there, and is no longer" for name in sorted(lost)]
        self._kept |= found
        if problem := self.scene.lost(text, saved):
            self._problems.append(problem)
        if "Traceback (most recent call last)" in text:
            self._problems.append("a traceback")

    def _at_end(self, home: pathlib.Path, codes: list[int], timely: bool) -> None:
        if not timely:
            self._problems.append(f"it had not ended after {TIMEOUT} s")
        elif any(codes):
            self._problems.append(f"it ended with exit codes {codes}")
        else:
            alone, found = self.scene.alone()[0], {**self.scene.found(home), **self.scene.at_end(home)}
            self._problems += [
                f"in the end {name} is {found.get(name)!s:.200}, wanted {alone.get(name)!s:.200}"
                for name in sorted(found.keys() | alone.keys())
                if found.get(name) != alone.get(name)
            ]

    def _detail(self) -> str:
        starts = "\n".join(f"{i}. {text}" for i, text in enumerate(self._history, start=1))
        more = [f"... and {len(self._problems) - _SHOWN} more"] if len(self._problems) > _SHOWN else []
        return f"chain of kills {self.seed!r}\n" + "\n".join([*self._problems[:_SHOWN], *more, starts])


def _indented(text: str) -> str:
    return "".join(f"    {line[:300]}\n" for line in text.splitlines()[-12:])
