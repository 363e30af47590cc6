"""The files of a run beside its checkpoints: config.json and metrics.jsonl."""

import contextlib
import fcntl
import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess
import tempfile
from collections.abc import Iterator
from typing import Any

from absl import logging
from ml_collections import ConfigDict

from sidae_jax.config import FREE_KEYS
from sidae_jax.errors import UserError

_PACKAGES = ("sidae-jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy", "pillow")


def open_workdir(workdir: str) -> pathlib.Path:
    """The folder, made if need be. Raises UserError where nothing can be written there."""
    folder = pathlib.Path(workdir).expanduser().absolute()
    if special := sorted(set("[]*?") & set(str(folder))):
        # orbax looks for the parts of a checkpoint by a pattern that has the path in it, and would save none of them
        raise UserError(f"--workdir={workdir} has {' '.join(special)} in its path: give a folder without [ ] * ?")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            f"--workdir={workdir} cannot be written ({error.strerror}: {error.filename or folder}): "
            "give a folder of yours, such as --workdir=runs/cifar10"
        ) from error
    return folder


@contextlib.contextmanager
def opened(workdir: str) -> Iterator[pathlib.Path]:
    """As `open_workdir`; where a UserError leaves it empty, a folder that was made for it is taken away again."""
    made = not pathlib.Path(workdir).expanduser().exists()
    folder = open_workdir(workdir)
    try:
        yield folder
    except UserError:
        if made:
            with contextlib.suppress(OSError):  # not empty
                folder.rmdir()
        raise


@contextlib.contextmanager
def locked(folder: pathlib.Path) -> Iterator[None]:
    """Keep the folder for this process. Raises UserError where another one has it.

    Where the file system has no locks, nothing is kept.
    """
    path = folder / ".lock"
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # it ends with the process, however that ends
        except BlockingIOError as error:
            file.seek(0)
            raise UserError(
                f"--workdir={folder} is in use by process {file.read()}: wait for its end, stop it, or give another "
                "--workdir"
            ) from error
        except OSError:
            pass  # a file system without locks
        file.truncate(0)
        file.write(f"{os.getpid()} on {platform.node()}")
        file.flush()
        try:
            yield
        except UserError:
            path.unlink(missing_ok=True)  # so that a new folder is empty again
            raise


def check_same_run(folder: pathlib.Path, config: ConfigDict, data_sha256: str | None = None) -> None:
    """Raises UserError where the run in `folder` was started with settings that give another result."""
    path = folder / "config.json"
    if not path.exists():
        return
    try:
        before = json.loads(path.read_text())
        old = _flat(before["config"])
        old_sha256 = before["data_sha256"]
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise UserError(
            f"{path} is not the config.json of a run ({error}): give another --workdir, or put the file back"
        ) from error
    new = _flat(_plain(config))
    differing = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key) and key not in FREE_KEYS)
    if differing:
        changes = ", ".join(f"{key}: {old.get(key, 'none')} -> {new.get(key, 'none')}" for key in differing)
        raise UserError(
            f"--workdir={folder} holds a run with other settings ({changes}), which would give another result: "
            "give the old values to continue it, or another --workdir to start a new run"
        )
    if data_sha256 is not None and data_sha256 != old_sha256:
        raise UserError(
            f"--workdir={folder} holds a run on other images: {config.dataset} {config.train_split} now has sha256 "
            f"{data_sha256[:12]}, it had {old_sha256[:12]}; give the --config.data_dir it was started with, "
            "or another --workdir"
        )


def write_config(folder: pathlib.Path, config: ConfigDict, data_sha256: str) -> None:
    """config.json: the resolved config, and what the result depends on beside it.

    Of a run that is continued it stays as it is; a warning names packages that have another version now.
    """
    path = folder / "config.json"
    if path.exists():
        before = json.loads(path.read_text()).get("versions", {})
        changed = [
            f"{name} {before.get(name)} -> {now}" for name, now in _versions().items() if before.get(name) != now
        ]
        if changed:
            logging.warning(
                "The run was started with other versions (%s): its last bits may differ.", ", ".join(changed)
            )
        return
    content = {
        "config": _plain(config),
        "data_sha256": data_sha256,
        "versions": _versions(),
        "git_revision": _git_revision(),
    }
    write_text(path, json.dumps(content, indent=2) + "\n")


def _versions() -> dict[str, str]:
    packages = {package: importlib.metadata.version(package) for package in _PACKAGES}
    return {"python": platform.python_version(), **packages}


def write_text(path: pathlib.Path, text: str) -> None:
    """Write the file whole or not at all."""
    write_bytes(path, text.encode())


def write_bytes(path: pathlib.Path, content: bytes | memoryview) -> None:
    """Write the file whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    temporary.replace(path)


def open_metrics(folder: pathlib.Path, step: int) -> Any:
    """metrics.jsonl, open for appending after the lines up to `step`; later ones are of steps to be done again."""
    path = folder / "metrics.jsonl"
    kept = []
    if path.exists():
        for line in path.read_text().splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line + "\n")
            except (ValueError, KeyError, TypeError):
                continue  # a line cut short when the process was killed
    write_text(path, "".join(kept))
    return path.open("a", buffering=1)


def _plain(config: ConfigDict) -> dict[str, Any]:
    """As it comes back from JSON: tuples are lists."""
    return json.loads(json.dumps(config.to_dict()))


def _flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in config.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _git_revision() -> str | None:
    """The commit of this code, with "+changes" when files differ from it; None outside a git checkout."""
    source = pathlib.Path(__file__).parent

    def git(*arguments):
        command = ["git", "-C", str(source), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        if not git("ls-files", "--", __file__):  # installed inside some other project's checkout
            return None
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "--", str(source)) else "")
    except (OSError, subprocess.SubprocessError):
        return None
