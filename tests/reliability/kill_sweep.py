"""A sweep that is killed: with its child, its child alone, or without its child, which then goes on."""

import contextlib
import json
import pathlib
import random
import subprocess

from reliability import kill_files
from reliability.commands import ROOT
from reliability.kill_files import Found
from reliability.kill_scenes import KEYS, SEED, Moment, Scene, evaluated, kill_group, newer
from reliability.kill_training import Training

_CHILD, _ALONE = "its child alone", "without its child, which goes on"
_WHO = ("with its child", _CHILD, _ALONE)
_RUN = f"sweep/*/seed{SEED}"

_EXPERIMENT = """
from sidae_jax.experiments import Evaluation, Experiment, Pretraining

def get_experiment():
    probe = Evaluation("linear_eval", {{"probe.epochs": 1, "native": "off"}})
    return Experiment("killed", [(Pretraining("digits", "simsiam", {keys}), [probe])])
"""


class Sweep(Scene):
    """sidae_jax.sweep of one training and its evaluation: those of the other scenes, whose results it must have."""

    def __init__(self, name: str, folder: pathlib.Path, training: Training, evaluation: Scene):
        configs = folder / "configs"
        (configs / "experiments").mkdir(parents=True, exist_ok=True)
        for config in ("digits.py", "linear_eval.py"):
            (configs / config).write_text((ROOT / "configs" / config).read_text())
        experiment = configs / "experiments" / "killed.py"
        experiment.write_text(_EXPERIMENT.format(keys=KEYS))
        of_one_seed = (f"--seeds={SEED + 1}", f"--only=seed{SEED}$")  # pictures, which take long, are of seed 0
        arguments = (f"--experiment={experiment}", "--workdir={home}/sweep", *of_one_seed)
        super().__init__(name, folder, "sidae_jax.sweep", *arguments)
        self._training, self._evaluation = training, evaluation
        self.moments = [
            Moment("a child", lambda home, text, since: text.startswith("$"), 4),
            Moment("trains", lambda home, text, since: "\nstep " in text, 1.5),
            Moment("a save", lambda home, text, since: newer(home, f"{_RUN}/checkpoints/*orbax*tmp*", since), 0.03),
            Moment("evaluates", lambda home, text, since: "linear_eval" in text, 4),
        ]
        self._who: dict[pathlib.Path, list[str]] = {}  # of the next kills
        self._read: dict[pathlib.Path, int] = {}  # how long the log of a run's children was at the start
        self._killed: dict[pathlib.Path, str] = {}  # who, at the last kill
        self._left: dict[pathlib.Path, list[int]] = {}  # children whose sweep was killed

    def alone(self) -> tuple[Found, float]:
        (trained, seconds), (evaluated_, more) = self._training.alone(), self._evaluation.alone()
        return trained | evaluated_ | {"done: sidae_jax.main": "", "done: sidae_jax.linear_eval": ""}, seconds + more

    def start(self, home: pathlib.Path, log: pathlib.Path) -> list[subprocess.Popen]:
        self._read[home] = sum(path.stat().st_size for path in home.glob(f"{_RUN}/log.txt"))
        return super().start(home, log)

    def text(self, home: pathlib.Path, log: pathlib.Path) -> str:
        """What the children of this start have printed, or the sweep itself before it has one."""
        for path in home.glob(f"{_RUN}/log.txt"):
            _, command, rest = path.read_bytes()[self._read[home] :].decode().partition("$ ")
            if command:
                return command + rest
        return super().text(home, log)

    def kill(self, processes: list[subprocess.Popen], home: pathlib.Path) -> None:
        (sweep,) = processes
        if not self._who.get(home):
            self._who[home] = random.Random(str(home.name)).sample(_WHO, len(_WHO))
        who, children = self._who[home].pop(), _children(sweep.pid)
        self._killed[home] = who
        if who != _CHILD or not children:
            super().kill(processes, home)
        if who == _ALONE:
            self._left.setdefault(home, []).extend(children)
            return
        for child in children:
            kill_group(child)
        sweep.wait(120)  # it ends after its child

    def found(self, home: pathlib.Path) -> Found:
        for run in home.glob(_RUN):
            lines = [json.loads(line) for line in _lines(run / "done.jsonl")]
            done = {f"done: {line['command'][0]}": "" for line in lines}
            return kill_files.trained(run, self._training.every) | evaluated(run) | done
        return {}

    def at_end(self, home: pathlib.Path) -> Found:
        (run,) = home.glob(_RUN)
        return kill_files.ended(run)

    def landed(self, home: pathlib.Path, text: str, new: set[str], before: Found) -> str:
        if text.startswith("$"):
            when = "evaluates" if "sidae_jax.linear_eval" in text else "trains"
        else:
            when = "waits for the child of a killed one" if "waiting for the process" in text else "starts"
        return f"{self._killed[home]}, while it {when}"

    def end(self, home: pathlib.Path) -> None:
        for child in self._left.pop(home, []):
            kill_group(child)


def _children(pid: int) -> list[int]:
    with contextlib.suppress(FileNotFoundError):
        return [int(child) for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _lines(path: pathlib.Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []
