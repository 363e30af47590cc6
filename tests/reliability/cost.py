"""What a checkpoint costs: the seconds of a save, a verification and a fall-back, its bytes, files and reads."""

import contextlib
import io
import pathlib
import random
import time
from collections.abc import Iterator

import jax
import numpy as np

from reliability.outcomes import Outcome
from sidae_jax.config import pretraining
from sidae_jax.runs import checkpoint
from sidae_jax.runs.verify import verify
from sidae_jax.training.seed_run import SeedRun
from sidae_jax.training.start import open_run

TITLE = "What a checkpoint costs"
TEXT = """
SidAE with a ResNet-18, and before it with a network of a quarter of its width, saves its state twice, is verified and
restored, and falls back from its newest checkpoint, a bit of which has flipped. Bounded are counts, not seconds: a
save writes the bytes of its arrays and little more, in few files, and computes the SHA-256 of each array once; a
verification and a restore read them once, and compute each sum once; a fall-back reads two checkpoints.
"""
IN_CI, IN_FULL = 4, 8

_SMALL, _WHOLE = {"width": 16, "d_hid": 256}, {"width": 64, "d_hid": 2048}
_BESIDE = 300_000  # bytes of a checkpoint beside its arrays: names, shapes, sums


class _Counted:
    """The seconds of a block, the bytes that it reads and writes, and the SHA-256 sums of arrays that it computes."""

    def __enter__(self) -> "_Counted":
        self.sums, self._sha256 = 0, checkpoint.array_sha256

        def counting(array) -> str:
            self.sums += 1
            return self._sha256(array)

        checkpoint.array_sha256 = counting
        self._before, self._start = _io(), time.perf_counter()
        return self

    def __exit__(self, *_) -> None:
        self.seconds = time.perf_counter() - self._start
        self.read, self.written = (after - before for after, before in zip(_io(), self._before, strict=True))
        checkpoint.array_sha256 = self._sha256


def _io() -> tuple[int, int]:
    """Returns the bytes that this process has read and written, from the disk or from the system's cache of it."""
    lines = dict(line.split(": ") for line in pathlib.Path("/proc/self/io").read_text().splitlines())
    return int(lines["rchar"]), int(lines["wchar"])


def run(count: int, seed: int, folder: pathlib.Path) -> Iterator[Outcome]:
    """Measures the small network first, if the count says so the whole one too."""
    for number, size in enumerate((_SMALL, _WHOLE)[: count // IN_CI]):
        yield from _cost(size, seed, folder / str(number))


def _cost(size: dict[str, int], seed: int, folder: pathlib.Path) -> Iterator[Outcome]:
    config = pretraining("sidae", "digits", batch_size=8 * jax.device_count(), epochs=1, **size)
    config.update(train_split="train[:160]", monitor_every=0, native="off")
    with contextlib.ExitStack() as exit_stack:
        run = open_run(config, str(folder / "run"), exit_stack)
        (own,) = run.seeds
        initial = run.initial_state(own.config)
        noise = np.random.default_rng(seed)  # zeros, such as the first momentum, would take no room
        state = jax.tree.map(lambda a: noise.normal(size=a.shape).astype(a.dtype) if a.dtype == "f" else a, initial)
        yield from _measured(own, state, random.Random(seed))


def _measured(own: SeedRun, state, choose: random.Random) -> Iterator[Outcome]:
    like = checkpoint.to_arrays(state)
    n, size = len(like), sum(array.nbytes for array in like.values())
    with _Counted() as first:
        own.save(1, state, 1.0, scheduled=True)
    own.save(2, state, 1.0, scheduled=True)
    newest = own.checkpoints.directory / "2"
    files = [path for path in newest.rglob("*") if path.is_file()]
    stored = sum(path.stat().st_size for path in files)
    yield _outcome(
        f"a save of {n} arrays, {size / 1e6:.0f} MB",
        f"{first.seconds:.1f} s, {stored / 1e6:.0f} MB in {len(files)} files",
        first,
        {
            "written": first.written < 1.02 * size + 3 * _BESIDE,
            "stored": stored < 1.02 * size + _BESIDE,
            "files": len(files) <= 40,
            "sums": first.sums == n,
        },
    )
    with _Counted() as whole, contextlib.redirect_stdout(io.StringIO()) as said:
        code = verify([str(own.workdir.folder)])
    yield _outcome(
        f"verification of two checkpoints of {size / 1e6:.0f} MB",
        f"{whole.seconds:.1f} s",
        whole,
        {"code": code == 0, "text": f"2 checkpoints, {2 * n} arrays intact" in said.getvalue()}
        | _reads(whole, 2, n, size),
    )
    yield _restored(own, like, f"a restore of {size / 1e6:.0f} MB", 2, 1)
    _flip_a_bit(own, 2, max(files, key=lambda path: path.stat().st_size), choose, like)
    yield _restored(own, like, f"a fall-back to the checkpoint before, {size / 1e6:.0f} MB, by a flipped bit", 1, 2)


def _flip_a_bit(own: SeedRun, step: int, file: pathlib.Path, choose: random.Random, like: checkpoint.Arrays) -> None:
    """Flips a bit of a checkpoint's file that changes an array, or without which it cannot be read.

    Orbax's files have bytes that nothing reads. The sums, which are tested here, have no part in the choice.
    """
    content = file.read_bytes()
    for _ in range(20):
        changed = bytearray(content)
        changed[choose.randrange(len(content))] ^= 1 << choose.randrange(8)
        file.write_bytes(changed)
        try:
            found = own.checkpoints._arrays(step, list(like))
        except checkpoint.CorruptCheckpoint:
            return
        if any(found[name].tobytes() != array.tobytes() for name, array in like.items()):
            return
    raise AssertionError(f"20 flipped bits of {file} changed no array")


def _restored(own: SeedRun, like: checkpoint.Arrays, what: str, step: int, checkpoints: int) -> Outcome:
    size = sum(array.nbytes for array in like.values())
    with _Counted() as counted:
        found = own.checkpoints.newest_intact(like)
    same = found is not None and checkpoint.arrays_sha256(found[1]) == checkpoint.arrays_sha256(like)
    good = {"step": found is not None and found[0] == step, "bits": same}
    return _outcome(what, f"{counted.seconds:.1f} s", counted, good | _reads(counted, checkpoints, len(like), size))


def _reads(counted: _Counted, checkpoints: int, n: int, size: int) -> dict[str, bool]:
    return {
        "read": counted.read < checkpoints * (1.02 * size + 3 * _BESIDE),
        "sums": counted.sums <= checkpoints * n,
    }


def _outcome(what: str, figures: str, counted: _Counted, good: dict[str, bool]) -> Outcome:
    wrong = [name for name, holds in good.items() if not holds]
    detail = f"{wrong}; {counted.read} bytes read, {counted.written} written, {counted.sums} sums"
    return Outcome(what, figures, not wrong, detail)
