"""The disk is full, read-only or slow, at each of the places where the programs write."""

import dataclasses
import json
import pathlib
import random
import re
import shutil
import time
from collections.abc import Iterator

from reliability import commands, small_disks
from reliability.outcomes import Outcome, in_parallel
from sidae_jax.runs.checkpoint import Checkpoints

TITLE = "Disks: full, read-only, slow"
TEXT = """
A run of 30 steps, which saves every 10, its evaluation, pictures, export or report meets a disk that is full (a small
tmpfs, or a limit on the size of files), read-only, or slow. Promised: a sentence that names the place and says what to
do, exit code 1, no traceback; every checkpoint that was saved is intact; with room, the same command ends with the bits
of a run that was left alone. A cache that has no room is done without, and that is said.
"""
IN_CI, IN_FULL = 3, 45

_STEPS, _EVERY = 30, 10
_RUN = [
    "--config=configs/digits.py", "--config.width=4", "--config.d_hid=32", "--config.batch_size=16",
    "--config.epochs=3", "--config.train_split=train[:160]", "--config.monitor_every=0", "--config.log_every=1",
]  # fmt: skip
_KNN = ["--config=configs/knn_eval.py", f"--step={_STEPS}"]
_ERROR = re.compile(r"^error: (.*)$", re.MULTILINE)
_NOISE = ("Traceback", "Event loop is closed", "RESOURCE_EXHAUSTED", "Exception ignored")


@dataclasses.dataclass(frozen=True)
class _Undisturbed:
    """A run that was left alone, and its evaluation."""

    folder: pathlib.Path
    sha256: str
    pages: int  # of a checkpoint

    def copy(self, folder: pathlib.Path) -> pathlib.Path:
        return pathlib.Path(shutil.copytree(self.folder, folder))


class _Wrong(Exception):
    """What was promised did not hold."""


class _Case:
    """The fault that number `i` of the seed chooses, and the checks that the faults share."""

    def __init__(self, i: int, seed: int, folder: pathlib.Path, alone: _Undisturbed):
        self.random = random.Random(f"disk {seed} {i}")
        self.alone = alone
        self.folder = folder / str(i)
        self.folder.mkdir()
        self.env = commands.environment(folder)
        self.log: list[str] = []
        self.fault = _FAULTS[i % len(_FAULTS)]

    def outcome(self) -> Outcome:
        what = self.fault.__doc__.rstrip(".") if self.fault.__doc__ else ""
        try:
            said, outcome = self.fault(self)
            return Outcome(what.format(by=said), outcome, True)
        except _Wrong as error:
            return Outcome(what, "NOT as promised", False, "\n".join([str(error), *self.log]))

    def start(self, module: str, *arguments: object, **options) -> commands.Ended:
        options = {"env": self.env, **options}
        if "largest_file" in options:  # a program cut short would stay in the cache that tests share
            options["env"] = {**options["env"], "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "1e9"}
        ended = commands.run(module, *arguments, **options)
        self.log.append(str(ended))
        return ended

    def train(self, workdir: pathlib.Path, *arguments: str, module: str = "sidae_jax.main", **options):
        every = [] if any("checkpoint_every" in each for each in arguments) else ["--config.checkpoint_every=1"]
        return self.start(module, *_RUN, *every, *arguments, f"--workdir={workdir}", **options)

    def check(self, good: bool, what: str) -> None:
        if not good:
            raise _Wrong(what)

    def check_told(self, ended: commands.Ended, place: pathlib.Path, reason: str = "No space left on device") -> None:
        """One sentence on the last line names the place and the reason; exit code 1; nothing of orbax's own."""
        self.check(ended.code == 1, f"exit code {ended.code}")
        self.check(not any(noise in ended.output for noise in _NOISE), "a traceback")
        sentences = _ERROR.findall(ended.output)
        self.check(len(sentences) == 1 and ended.output.rstrip().endswith(sentences[0]), "no one sentence at the end")
        self.check(str(place) in sentences[0] and f"({reason}): " in sentences[0], "no place, or no reason")

    def check_intact(self, workdir: pathlib.Path, steps: list[int]) -> None:
        with Checkpoints(workdir, read_only=True) as checkpoints:
            self.check(checkpoints.steps() == steps, f"checkpoints {checkpoints.steps()}, not {steps}")
            for step in steps:
                checkpoints.check(step)

    def check_goes_on(self, workdir: pathlib.Path, *arguments: str) -> str:
        ended = self.train(workdir, *arguments)
        self.check(ended.code == 0, "the same command does not go on")
        self.check(_sha256(ended) == self.alone.sha256, "other bits")
        return "told, nothing lost; with room it ended with the same bits"


def _sha256(ended: commands.Ended) -> str:
    return ended.output.rpartition("parameters sha256 ")[2].strip()


def _accuracy(workdir: pathlib.Path) -> float:
    (path,) = (workdir / "eval").glob("knn-*.jsonl")
    return json.loads(path.read_text().splitlines()[-1])["accuracy"]


def _at_a_save(case: _Case) -> tuple[str, str]:
    """Full at the first, a middle or the last save ({by})."""
    k = case.random.randint(1, _STEPS // _EVERY)
    before = [_EVERY * number for number in range(1, k)]
    if small_disks.can_mount():
        room = 12 + int((k - 1 + case.random.uniform(0.05, 0.8)) * case.alone.pages)
        with small_disks.small_disk(case.folder / "disk", room) as disk:
            case.check_told(case.train(disk / "run"), disk / "run" / "checkpoints" / str(_EVERY * k))
            case.check_intact(disk / "run", before)
            small_disks.make_room(disk)
            return "tmpfs", case.check_goes_on(disk / "run")
    return _limited_at_a_save(case)


def _limited_at_a_save(case: _Case) -> tuple[str, str]:
    """Larger than a file may be, at a save ({by})."""
    workdir = case.folder / "run"
    ended = case.train(workdir, largest_file=case.random.randrange(60_000, 150_000))
    case.check_told(ended, workdir / "checkpoints" / str(_EVERY), "File too large")
    case.check_intact(workdir, [])
    return "RLIMIT_FSIZE", case.check_goes_on(workdir)


def _at_a_log_line(case: _Case) -> tuple[str, str]:
    """Full at a line of metrics.jsonl ({by})."""
    last_only = "--config.checkpoint_every=3"
    if not small_disks.can_mount():
        workdir = case.folder / "run"
        ended = case.train(workdir, last_only, largest_file=8192)
        case.check_told(ended, workdir / "metrics.jsonl", "File too large")
        return "RLIMIT_FSIZE", case.check_goes_on(workdir, last_only)
    with small_disks.small_disk(case.folder / "disk", 1000) as disk:
        log, workdir = case.folder / "log.txt", disk / "run"
        process = commands.start("sidae_jax.main", *_RUN, last_only, f"--workdir={workdir}", env=case.env, log=log)
        metrics = workdir / "metrics.jsonl"
        while process.poll() is None and not (metrics.exists() and metrics.stat().st_size):
            time.sleep(0.01)
        filler = small_disks.fill(disk)
        code = process.wait(timeout=300)
        ended = commands.Ended("sidae_jax.main, and a disk that fills up", code, log.read_text())
        case.log.append(str(ended))
        # the last lines may lie in a page that the file has already
        case.check_told(ended, metrics if str(metrics) in ended.output else workdir / "checkpoints")
        filler.unlink()
        return "tmpfs", case.check_goes_on(workdir, last_only)


def _evaluation(case: _Case) -> tuple[str, str]:
    """Full in an evaluation: its features and its result file ({by})."""
    workdir = case.alone.copy(case.folder / "run")
    wanted = _accuracy(workdir)
    shutil.rmtree(workdir / "eval")
    arguments = ("sidae_jax.linear_eval", *_KNN, f"--workdir={workdir}")
    if small_disks.can_mount():
        with small_disks.small_disk(workdir / "eval", 1):
            filler = small_disks.fill(workdir / "eval")
            ended, reason = case.start(*arguments), "No space left on device"
            filler.unlink()
            _check_evaluation(case, workdir, ended, reason)
            small_disks.make_room(workdir / "eval")
            case.check(case.start(*arguments).code == 0, "the same command does not go on")
            found = _accuracy(workdir)
    else:
        ended, reason = case.start(*arguments, largest_file=512), "File too large"
        _check_evaluation(case, workdir, ended, reason)
        case.check(case.start(*arguments).code == 0, "the same command does not go on")
        found = _accuracy(workdir)
    case.check(found == wanted, f"accuracy {found}, not {wanted}")
    by = "tmpfs" if small_disks.can_mount() else "RLIMIT_FSIZE"
    return by, "told; with room it found the same accuracy"


def _check_evaluation(case: _Case, workdir: pathlib.Path, ended: commands.Ended, reason: str) -> None:
    case.check_told(ended, workdir / "eval", reason)
    case.check("cannot be kept" in ended.output, "no word of the features that were not kept")
    case.check(not list((workdir / "eval").rglob("*.npy")), "a part of the features was left")


def _slow(case: _Case) -> tuple[str, str]:
    """Slow at a save ({by})."""
    workdir = case.folder / "run"
    ended = case.train(workdir, "--config.checkpoint_every=3", module="tests.reliability.slow_disk")
    told = re.findall(r"^saving step \d+ takes long: .*$", ended.output, re.MULTILINE)
    first = f"saving step {_STEPS} takes long: 1 s so far"  # and after two, of a machine that is busy
    case.check(told[:1] == [first] and len(told) < 4, f"the console says {told}")
    case.check(_sha256(ended) == case.alone.sha256, "other bits")
    return "an fsync that sleeps; a second counts as a minute", "told while it lasts; same bits"


def _read_only(case: _Case) -> tuple[str, str]:
    """Read-only in the middle of a run ({by})."""
    workdir = case.folder / "run"
    process = commands.start(
        "sidae_jax.main", *_RUN, "--config.checkpoint_every=1", f"--workdir={workdir}", env=case.env,
        log=case.folder / "log.txt",
    )  # fmt: skip
    first = workdir / "checkpoints" / str(_EVERY)
    while process.poll() is None and not first.exists():
        time.sleep(0.005)
    with small_disks.read_only(workdir):
        code = process.wait(timeout=300)
    ended = commands.Ended("sidae_jax.main, and a disk turned read-only", code, (case.folder / "log.txt").read_text())
    case.log.append(str(ended))
    case.check_told(ended, workdir / "checkpoints", "Read-only file system")
    saved = sorted(int(path.name) for path in (workdir / "checkpoints").glob("[0-9]*") if path.name.isdecimal())
    case.check(bool(saved), "nothing was saved before")
    case.check_intact(workdir, saved)
    return "a bind mount", case.check_goes_on(workdir)


def _decoded_images(case: _Case) -> tuple[str, str]:
    """Full in the cache of decoded images and compiled programs ({by})."""
    with small_disks.small_disk(case.folder / "cache", case.random.randrange(1, 40)) as cache:
        env = {**case.env, "XDG_CACHE_HOME": str(cache)}
        env.pop("JAX_COMPILATION_CACHE_DIR", None)
        ended = case.train(case.folder / "run", env=env)
        case.check(ended.code == 0 and "Traceback" not in ended.output, "the run did not go on")
        case.check("cannot be kept" in ended.output, "no word of it")
        case.check(_sha256(ended) == case.alone.sha256, "other bits")
        small_disks.make_room(cache)  # with what was cut short in it
        again = case.train(case.folder / "again", env=env)
        case.check(again.code == 0 and _sha256(again) == case.alone.sha256, "the cache was left broken")
    return "tmpfs", "went on without it, said so; same bits"


def _preparation(case: _Case) -> tuple[str, str]:
    """Full while a data set is prepared ({by})."""
    with small_disks.small_disk(case.folder / "tfds", case.random.randrange(4, 140)) as disk:
        env = {**case.env, "TFDS_DATA_DIR": str(disk)}
        case.check_told(case.train(case.folder / "run", env=env), disk)
        small_disks.make_room(disk)
        ended = case.train(case.folder / "run", env=env)
        case.check(ended.code == 0 and _sha256(ended) == case.alone.sha256, "the same command does not go on")
    return "tmpfs", "told; with room it ended with the same bits"


def _outputs(case: _Case) -> tuple[str, str]:
    """Full at an export, a hub folder, features, a report or pictures ({by})."""
    workdir = case.alone.copy(case.folder / "run")
    with small_disks.small_disk(case.folder / "disk", 3) as disk:
        chosen = case.random.randrange(5)
        place, module, *arguments = [
            (disk, "sidae_jax.export", f"--out={disk}/encoder.safetensors"),
            (disk, "sidae_jax.export", f"--out={disk}/encoder"),
            (disk, "sidae_jax.embed", "--dataset=digits", f"--out={disk}/features.npz"),
            (disk, "sidae_jax.report", f"--out={disk}/report"),
            (workdir / "eval" / "pictures.npz", "sidae_jax.pictures"),
        ][chosen]
        if module == "sidae_jax.pictures":
            (workdir / "eval").rename(workdir / "aside")
            (workdir / "eval").symlink_to(disk)
        case.check_told(case.start(module, *arguments, f"--workdir={workdir}"), place)
        left = [path for path in disk.rglob("*") if path.is_file() and path.name.startswith(".")]
        case.check(not left, f"{left} is left")
        small_disks.make_room(disk)
        overwrite = ["--overwrite"] if module in ("sidae_jax.export", "sidae_jax.embed") else []
        ended = case.start(module, *arguments, *overwrite, f"--workdir={workdir}")
        case.check(ended.code == 0, "the same command does not go on")
    return "tmpfs", "told; with room it was written"


_ANYWHERE = [_at_a_save, _at_a_log_line, _evaluation, _limited_at_a_save, _slow]  # the first ones in CI
_MOUNTED = [_read_only, _decoded_images, _preparation, _outputs]
_FAULTS = _ANYWHERE + (_MOUNTED if small_disks.can_mount() else [])


def run(count: int, seed: int, folder: pathlib.Path) -> Iterator[Outcome]:
    """Makes the undisturbed run first."""
    workdir, env = folder / "alone", commands.environment(folder)
    ended = commands.run("sidae_jax.main", *_RUN, "--config.checkpoint_every=1", f"--workdir={workdir}", env=env)
    assert ended.code == 0, ended
    measured = commands.run("sidae_jax.linear_eval", *_KNN, f"--workdir={workdir}", env=env)
    assert measured.code == 0, measured
    pages = small_disks.pages(workdir / "checkpoints" / str(_STEPS))
    alone = _Undisturbed(workdir, _sha256(ended), pages)
    yield from in_parallel(lambda i: _Case(i, seed, folder, alone).outcome(), range(count))
