"""The folder of a run with one seed: its lock, its config.json, its metrics.jsonl and its status.json."""

import contextlib
import fcntl
import importlib.metadata
import json
import os
import pathlib
import platform
import secrets
import subprocess
import time
from typing import IO, Any

from absl import logging
from ml_collections import ConfigDict

from sidae_jax.config import FREE_KEYS, PLACE_KEYS
from sidae_jax.config_values import flat, plain
from sidae_jax.errors import UserError
from sidae_jax.files import atomic_write, keep_aside, naming, open_here, read_regular, write_text
from sidae_jax.runs import checkpoint_steps, metrics_file, status, sums
from sidae_jax.runs.old_names import modern
from sidae_jax.runs.values import printable

# The version of a run's files. It is raised when older runs cannot be continued to the result they would have had:
# 2: streams of random numbers have tags, which changed the order of the images, the views and the initial values.
FORMAT = 2
_PACKAGES = ("sidae-jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy", "pillow")
_ONEDNN = ("sidae-jax-native", "onednn-cpu-gomp")


class Workdir:
    """A run's folder, opened once for a config; a context manager that holds the lock.

    Attributes:
      folder: its absolute path.
      config: the config of this start.
      new: whether no run was here before.
      init_from: what config.json records of the backbone that the run here was started from; None without one.
      joined_late: whether this seed was added after others had checkpoints; it trains alone until it has caught up.
      token: the content of the lock file, unique to this start; None in a process that does not lock.
      status: what others are told about the run; written while the lock is held.
      metrics_damage: what was or is wrong with metrics.jsonl; metrics_certain: whether it is known to be intact. Of
        the process that opens it.
    """

    def __init__(self, folder: pathlib.Path, config: ConfigDict, *, lock: bool):
        """Opens the folder. Raises UserError if it holds a run with other settings, or another process trains in it.

        lock: whether this process writes here; of several processes only one does.
        """
        self.folder = folder
        self.config = config
        self.token: str | None = None
        self.status = status.StatusFile(folder)
        self.metrics_damage: str | None = None
        self.metrics_certain = True
        self._before = self._read_config()
        self.new = self._before is None
        self.init_from: dict[str, Any] | None = None if self._before is None else self._before.get("init_from")
        self.joined_late = self._before is not None and bool(self._before.get("added"))
        if lock:
            self._lock()

    def __enter__(self) -> "Workdir":
        if self.token is not None:
            self.status.__enter__()
        return self

    def __exit__(self, kind: type | None, *rest: Any) -> None:
        if self.token is not None:
            self.status.__exit__(kind, *rest)
            if self.new and kind is not None and issubclass(kind, UserError):
                with contextlib.suppress(OSError):
                    (self.folder / ".lock").unlink()  # leaves a new folder empty
            self._lock_file.close()

    def _lock(self) -> None:
        path = self.folder / ".lock"
        try:
            file = self._lock_file = open_here(path, "a+")
        except OSError as error:
            raise UserError(
                f"{path} cannot be written ({error.strerror}), as when another user has trained here: give another "
                "--workdir"
            ) from error
        try:
            _lock_at_once(file)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.readline().strip()
            file.close()
            raise UserError(
                f"--workdir={self.folder} is in use by process {holder}: wait for its end, stop it, "
                "or give another --workdir"
            ) from error
        except OSError:
            pass  # a file system without locks
        self.token = f"{os.getpid()} on {platform.node()}\n{secrets.token_hex(16)}\n"
        try:
            with naming(path):
                file.truncate(0)
                os.write(file.fileno(), self.token.encode())  # at once: a buffer would be tried again at the end
                os.fsync(file.fileno())  # only then do other machines see it on NFS
        except OSError:
            file.close()
            raise

    def holds(self, token: str) -> bool:
        """Returns whether the lock file here holds this token, written by this or another process.

        A shared file system may take some seconds to show it.
        """
        for wait in (0.0, 1.0, 2.0, 4.0):
            time.sleep(wait)
            with contextlib.suppress(OSError):
                if (self.folder / ".lock").read_text() == token:
                    return True
        return False

    def checkpoint_steps(self) -> list[int]:
        """Returns the steps that are saved here, ascending, from the names of their folders."""
        return checkpoint_steps(self.folder)

    def _read_config(self) -> dict[str, Any] | None:
        """Returns the content of this run's config.json, or None if there is no file."""
        path = self.folder / "config.json"
        if not path.exists():
            if self.checkpoint_steps():
                raise UserError(f"{path} is missing beside checkpoints: put it back, or give another --workdir")
            return None
        try:
            before = modern(sums.read_json(path))
            if not isinstance(before, dict):
                raise ValueError("it holds no settings")
            old, format_, _ = flat(before["config"]), before.get("format", 1), before["data_sha256"]
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            raise UserError(
                f"{path} is not the config.json of a run ({error}): give another --workdir, or put the file back"
            ) from error
        if format_ != FORMAT:
            raise UserError(
                f"--workdir={self.folder} holds a run of another version of sidae_jax (format {format_}, this one has "
                f"{FORMAT}), which draws other random numbers: finish it with the version that began it "
                f"(git revision {before.get('git_revision')}), or give another --workdir to start a new run"
            )
        new = flat(plain(self.config))
        compared = (old.keys() | new.keys()) - {*FREE_KEYS, *PLACE_KEYS}
        differing = sorted(key for key in compared if old.get(key) != new.get(key))
        if differing:
            changes = ", ".join(f"{key}: {old.get(key, 'none')} -> {new.get(key, 'none')}" for key in differing)
            raise UserError(
                f"--workdir={self.folder} holds a run with other settings ({changes}), which would give another "
                "result: give the old values to continue it, or another --workdir to start a new run"
                + self._way_to_train_longer(old, new)
            )
        if not self.checkpoint_steps() and (trace := self._trace_of_checkpoints()):
            raise UserError(
                f"{self.folder / 'checkpoints'} is missing: {trace}; put it back, move {self.folder} away to start "
                "this seed anew, or give another --workdir"
            )
        return before

    def _trace_of_checkpoints(self) -> str | None:
        """Returns why there must have been checkpoints; None where a run may have ended before its first one."""
        saved = self.status.saved_before()
        if saved:
            return f"{status.FILE} says that step {saved} was saved"
        metrics = self.folder / "metrics.jsonl"
        if (
            saved is None and metrics.exists() and metrics.stat().st_size
        ):  # a run writes its status before its first line
            return f"{metrics.name} has lines, and no {status.FILE} says that nothing was saved"
        return None

    def _way_to_train_longer(self, old, new):
        if not (self.checkpoint_steps() and old.get("epochs", 0) < new["epochs"]):
            return ""
        rate = "the cosine of its learning rate" if old.get("schedule") == "cosine" else "it"
        return (
            f"; {rate} ends with the epochs that it was started with, so to train its encoder longer, start a new run "
            f"from it, by --config.init_from={self.folder} and another --workdir"
        )

    def check_images(self, sha256: str) -> None:
        """Raises UserError if the run that is here was started on other images."""
        if self._before is not None and sha256 != self._before["data_sha256"]:
            key = "images" if "images" in self.config else "data_dir"
            raise UserError(
                f"--workdir={self.folder} holds a run on other images: {self.config.dataset} {self.config.train_split} "
                f"now has sha256 {sha256[:12]}, it had {self._before['data_sha256'][:12]}; give the --config.{key} "
                "it was started with, or another --workdir"
            )

    def write_config(self, data_sha256: str, init_from: dict[str, Any] | None = None) -> None:
        """Writes config.json: the resolved config, and what else the result depends on.

        init_from: the backbone that the run is started from, as WarmStart records it.

        A continued run keeps its file; a warning says what else may change its last bits now: `native`, or versions.
        """
        if self._before is None:
            content = {
                "format": FORMAT,
                "added": self.joined_late,
                "config": plain(self.config),
                "data_sha256": data_sha256,
                **({"init_from": init_from} if init_from else {}),
                "versions": versions(self.config),
                "git_revision": _git_revision(),
            }
            write_text(self.folder / "config.json", json.dumps(sums.sealed(content), indent=2) + "\n")
            return
        before, now = self._before.get("versions", {}), versions(self.config)
        native = self._before["config"].get("native", self.config.native), self.config.native
        if native[0] != native[1]:
            before, now = ({k: v for k, v in each.items() if k not in _ONEDNN} for each in (before, now))
        pairs = {"config.native": native}
        pairs |= {
            name: (before.get(name, "none"), now.get(name, "none")) for name in sorted(before.keys() | now.keys())
        }
        changed = [printable(f"{name} {was} -> {is_}") for name, (was, is_) in pairs.items() if was != is_]
        if changed:
            logging.warning("The run was started otherwise (%s): its last bits may differ.", ", ".join(changed))

    def open_metrics(self, step: int) -> IO[str]:
        """Opens metrics.jsonl for appending, after dropping the lines of steps after `step`, which are done again.

        A damaged file is kept beside it, with a warning. Raises UserError if it cannot be read.
        """
        path = self.folder / "metrics.jsonl"
        try:
            content = read_regular(path)
        except FileNotFoundError:
            content = b""
        except OSError as error:
            raise UserError(
                f"{path} cannot be read ({error.strerror}): move it away; the run then writes a new one"
            ) from error
        note = sums.metrics_note(self.folder)
        changed = sums.metrics_changed(note, content)
        if note is not None and changed is None:
            content = content[: note[1]["bytes"]]  # what follows is done again, whatever it is
        found, problems = metrics_file.parse(content)
        problems += [changed] if changed else []
        self.metrics_damage = problems[0] if problems else sums.metrics_once_damaged(self.folder)
        # checkpoints of older versions do not note what they were saved after
        self.metrics_certain = self.metrics_damage is None and (step == 0 or note is not None)
        if problems:
            aside = keep_aside(path.with_name(f".damaged-{step}-{path.name}"), content)
            logging.warning("%s: %s. The run goes on; the damaged file stays as %s.", path, problems[0], aside)
        with atomic_write(path) as file:
            file.writelines(line for record, line in found if record["step"] <= step)
        return path.open("a", buffering=1)


def _lock_at_once(file: IO[str]) -> None:
    """Locks the file until the end of the process, however it ends. Raises BlockingIOError if another one has it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        time.sleep(0.2)  # `runs` may just be testing it, for an instant
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def versions(config: ConfigDict) -> dict[str, str]:
    """Returns the versions of Python and of the packages on which the last bits of a result may depend.

    Those of oneDNN are among them if config.native is "on".
    """
    names = (*_PACKAGES, *_ONEDNN) if config.native == "on" else _PACKAGES
    packages = {package: importlib.metadata.version(package) for package in names}
    return {"python": platform.python_version(), **packages}


def _git_revision() -> str | None:
    """Returns the commit of this code, with "+changes" if files differ from it; None outside a git checkout."""
    source = pathlib.Path(__file__).parent.parent

    def git(*arguments):
        command = ["git", "-C", str(source), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        if not git("ls-files", "--", __file__):  # installed inside another project's checkout
            return None
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "--", str(source)) else "")
    except (OSError, subprocess.SubprocessError):
        return None
