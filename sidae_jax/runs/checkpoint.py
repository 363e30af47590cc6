"""Checkpoints by orbax, with a checksum of every array; only this file imports orbax.

A checkpoint has two items: `state`, a flat dictionary of named arrays, and `metadata`, JSON. Orbax loads arrays
with flipped bits, and casts other dtypes, without a warning, so names, shapes, dtypes and SHA-256 sums are compared
here.
"""

import hashlib
import os
import pathlib
import shutil
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging

from sidae_jax import processes
from sidae_jax.errors import UserError, one_line
from sidae_jax.runs import orbax_errors, sizes, sums
from sidae_jax.runs.old_names import modern

Arrays = dict[str, np.ndarray]
_SUMS, _SCHEDULED = "array_sha256", "scheduled"


class CorruptCheckpoint(UserError):
    """A checkpoint cannot be read, or its arrays are not those that were saved; `problem` says why."""

    def __init__(self, problem: str):
        super().__init__(f"{problem}: put back a copy; linear_eval can evaluate another one, by --step")
        self.problem = problem


class Checkpoints:
    """The checkpoints of a workdir, in `workdir/checkpoints/<step>`; a context manager.

    A checkpoint is either scheduled, and kept, or temporary: left by a stop, or the best one for a time. `settle`
    removes those that newer or better ones have replaced.

    Attributes:
      best: the step that is kept as the best one so far; None if there is none.
    """

    def __init__(self, workdir: str | os.PathLike, *, read_only: bool):
        self.directory = pathlib.Path(workdir).absolute() / "checkpoints"
        self._temporary: set[int] = set()
        self.best: int | None = None
        self._last: int | None = None
        writing = {
            "todelete_subdir": ".trash",  # a rename into it is atomic; a deletion may be cut short
            "cleanup_tmp_directories": True,
            # the step overwrites the state's memory, from which an asynchronous save would still read
            "enable_async_checkpointing": False,
        }
        orbax_errors.only_raise()
        # Not orbax's read_only, which saves anyway when forced to, and warns that it is set.
        options = {"create": False} if read_only else writing
        self._read_only = read_only
        self._manager = ocp.CheckpointManager(self.directory, options=ocp.CheckpointManagerOptions(**options))

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_) -> None:
        self._manager.close()

    def steps(self) -> list[int]:
        """Returns the saved steps, ascending."""
        return sorted(self._manager.all_steps())

    def save(self, step: int, arrays: Arrays, metadata: dict[str, Any], *, scheduled: bool) -> None:
        """Saves a checkpoint, and returns when it is whole on the disk. Raises OSError if the disk cannot take it."""
        assert not self._read_only
        self._last = step
        if not scheduled:
            self._temporary.add(step)
        of_arrays = {name: array_sha256(value) for name, value in arrays.items()}
        metadata = sums.sealed({**metadata, _SCHEDULED: scheduled, _SUMS: of_arrays}, sums.OF_METADATA)
        items = ocp.args.Composite(state=ocp.args.PyTreeSave(arrays), metadata=ocp.args.JsonSave(metadata))
        with orbax_errors.disk_errors(self.directory / str(step)):
            self._manager.save(step, args=items, force=True)
            self._manager.wait_until_finished()
        self._empty_trash()

    def keep(self, step: int) -> None:
        """Turns a saved step into a scheduled one."""
        assert not self._read_only
        if step in self._temporary:
            self._temporary.discard(step)
            if jax.process_index() == 0:
                self._kept(step).touch()

    def settle(self) -> None:
        """Removes the temporary ones except the newest, the one saved last and the best.

        A run with several seeds calls it when all of them have saved a step, so that after a kill they have one in
        common. The one saved last is not the newest if a seed is taken through steps again that it has done before.
        """
        assert not self._read_only
        steps = self.steps()  # none, if the seed has diverged before its first
        for step in steps[:-1]:
            if step in self._temporary and step not in (self._last, self.best):
                self._manager.delete(step)
        self._manager.wait_until_finished()
        self._empty_trash()

    def _kept(self, step):
        """Returns the file whose existence means that a temporary checkpoint has become a scheduled one."""
        return self.directory / f".scheduled-{step}"

    def metadata(self, step: int) -> dict[str, Any]:
        """Returns what was saved beside the arrays of `step`. Raises CorruptCheckpoint."""
        metadata = self._read(step, metadata=ocp.args.JsonRestore())
        try:
            if sums.OF_METADATA not in metadata:
                raise ValueError("it has no checksum")
            metadata = modern(sums.unsealed(metadata, sums.OF_METADATA))
        except (ValueError, TypeError) as error:
            where = self.directory / str(step)
            raise CorruptCheckpoint(f"{where}: the checksum of its metadata does not match") from error
        try:
            problem = sizes.problem(self.directory / str(step) / "state", metadata.get("config"))
        except OSError as error:  # the run that trains here has just removed it
            problem = one_line(error)
        if (saved := metadata.get("step", step)) != step:
            problem = f"it is the checkpoint of step {saved}"
        if problem is not None:
            raise CorruptCheckpoint(f"{self.directory / str(step)}: {problem}")
        return metadata

    def restore(self, step: int, like: dict[str, Any], under: tuple[str, ...] = ("",)) -> Arrays:
        """Returns the arrays named in `like`, with the shapes and dtypes of `like`'s values.

        Raises:
          CorruptCheckpoint: the checkpoint's names that start with one of `under` are not those of `like`, or an array
            differs in shape or dtype from `like`'s or in any bit from what was saved.
        """
        where = self.directory / str(step)
        of_arrays = self.metadata(step)[_SUMS]
        different = {name for name in of_arrays if name.startswith(under)} ^ set(like)
        if different:
            raise CorruptCheckpoint(f"{where} does not fit this network: only one of them has {min(different)}")
        arrays = self._arrays(step, list(like))
        for name, wanted in like.items():
            found = arrays[name]
            if (found.shape, found.dtype) != (wanted.shape, wanted.dtype):
                raise CorruptCheckpoint(
                    f"{where} holds {name} as {found.dtype}{list(found.shape)}, "
                    f"wanted is {wanted.dtype}{list(wanted.shape)}"
                )
            if array_sha256(found) != of_arrays[name]:
                raise CorruptCheckpoint(f"{where}: the checksum of {name} does not match")
        return arrays

    def check(self, step: int) -> int:
        """Returns the number of arrays of a checkpoint, all as they were saved. Raises CorruptCheckpoint."""
        of_arrays = self.metadata(step)[_SUMS]
        for name, found in self._arrays(step, list(of_arrays)).items():
            if array_sha256(found) != of_arrays[name]:
                raise CorruptCheckpoint(f"{self.directory / str(step)}: the checksum of {name} does not match")
        return len(of_arrays)

    def _arrays(self, step: int, names: list[str]) -> Arrays:
        """Returns arrays of a checkpoint by their names, unchecked. Raises CorruptCheckpoint if one is missing."""
        as_numpy = {name: ocp.RestoreArgs(restore_type=np.ndarray) for name in names}
        request = ocp.args.PyTreeRestore(dict.fromkeys(names, 0), restore_args=as_numpy, partial_restore=True)
        found = self._read(step, state=request)
        for name in names:
            if not isinstance(found.get(name), np.ndarray):  # orbax may return an int where its own metadata is damaged
                raise CorruptCheckpoint(f"{self.directory / str(step)} cannot be read: {name} is no array")
        return {name: found[name] for name in names}

    def newest_intact(self, like: dict[str, Any]) -> tuple[int, Arrays, dict[str, Any]] | None:
        """Returns the newest step whose checkpoint is intact, its arrays and its metadata; None if there is none.

        Corrupt ones after it are set aside, with a warning. Collective: all processes see the same steps.

        Raises:
          UserError: all are corrupt. They stay where they are, so that the run does not start again from nothing.
        """
        assert not self._read_only
        corrupt = {}
        for step in reversed(self.steps()):
            found, problem = None, None
            try:
                found = step, self.restore(step, like), self.metadata(step)
            except CorruptCheckpoint as error:
                problem = error.problem
            if problems := [text for text in processes.gather(problem) if text]:
                corrupt[step] = problems[0]
                continue
            for later, text in corrupt.items():
                self.set_aside(later, text)
            self._temporary = {s for s in self.steps() if self.is_temporary(s)}
            return found
        if corrupt:
            raise UserError(
                f"no checkpoint in {self.directory} can be read (the oldest: {corrupt[min(corrupt)]}): "
                f"put back a copy, move {self.directory.parent} away to start this seed anew, or start again with "
                "another --workdir"
            )
        return None

    def set_aside(self, step: int, why: str) -> None:
        """Moves a corrupt checkpoint to a folder `.corrupt-<step>` beside it. Collective."""
        taken = (self.directory / f".corrupt-{step}{suffix}" for suffix in ("", *(f"-{i}" for i in range(1, 1000))))
        aside = next(path for path in taken if not path.exists())
        logging.warning("Checkpoint %d is corrupt (%s); it is moved to %s.", step, why, aside)
        processes.gather(None)  # no process reads it any more, and all have chosen the name
        if jax.process_index() == 0:
            (self.directory / str(step)).rename(aside)
        processes.gather(None)  # it is gone
        self._manager.reload()

    def is_temporary(self, step: int) -> bool:
        """Returns whether a saved step is not a scheduled one."""
        try:
            return not self.metadata(step)[_SCHEDULED] and not self._kept(step).exists()
        except CorruptCheckpoint:  # an older one, which nothing needs now
            return False

    def _read(self, step, **item):
        try:
            for path in (self.directory / str(step)).rglob("*"):
                if not (path.is_file() or path.is_dir()):  # orbax would read a pipe or a device without end
                    raise OSError(f"{path} is no regular file")
            (value,) = self._manager.restore(step, args=ocp.args.Composite(**item)).values()
        # Whatever orbax, tensorstore or the JSON reader raise for corrupt bytes.
        except Exception as error:
            reason = (str(error) or type(error).__name__).splitlines()[0].partition(" [tensorstore_spec=")[0]
            raise CorruptCheckpoint(f"{self.directory / str(step)} cannot be read: {reason}") from error
        if value is None:
            raise CorruptCheckpoint(f"{self.directory / str(step)} has no {next(iter(item))}")
        return value

    def _empty_trash(self):
        if jax.process_index() == 0:
            shutil.rmtree(self.directory / ".trash", ignore_errors=True)


def to_arrays(tree: Any, prefix: str = "") -> Arrays:
    """Returns the leaves of a pytree on the host, by names such as "params.encoder.backbone.stem.kernel"."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {prefix + _path(path): np.asarray(leaf) for path, leaf in leaves}


def from_arrays(tree: Any, arrays: Arrays, prefix: str = "") -> Any:
    """Returns the pytree `tree` with its leaves replaced by the arrays that `to_arrays` named."""
    return jax.tree_util.tree_map_with_path(lambda path, _: arrays[prefix + _path(path)], tree)


def _path(path) -> str:
    # the last part of a path to a Flax variable is "value"
    return jax.tree_util.keystr(path, simple=True, separator=".").removesuffix(".value")


def array_sha256(array: np.ndarray) -> str:
    """Returns the SHA-256 of dtype, shape and bytes."""
    digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def arrays_sha256(arrays: Arrays) -> str:
    """Returns the SHA-256 of names and arrays in the order of the names."""
    lines = "".join(f"{name} {array_sha256(arrays[name])}\n" for name in sorted(arrays))
    return hashlib.sha256(lines.encode()).hexdigest()
