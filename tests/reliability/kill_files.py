"""What a program has left in its folders: everything that counts as said to be there, and what a kill cut short."""

import contextlib
import hashlib
import json
import os
import pathlib
import re
import zipfile

import numpy as np

from sidae_jax.runs.checkpoint import Checkpoints, CorruptCheckpoint, array_sha256

Found = dict[str, str]  # what is there, by a name of it: its SHA-256, or its content
# of a record, what another run has otherwise: what a clock has measured, and the sum of all of it
_OWN = ("images_per_second", "eta_seconds", "seconds", "sha256", "records")
_TEMPORARY = re.compile(r"\..*\.[0-9a-f]{16}")  # a file, or a folder, that `files.atomic_write` had not finished


def records(path: pathlib.Path) -> Found:
    """The whole lines of a file of JSON lines, by their steps, without what another run has otherwise."""
    found = {}
    for number, line in enumerate(path.read_text().split("\n")[:-1] if path.exists() else [], start=1):
        try:
            kept = {name: value for name, value in json.loads(line).items() if name not in _OWN}
            name = f"{path.name}: {kept['step']}"
            found[f"{name} again" if name in found else name] = json.dumps(kept, sort_keys=True)
        except (ValueError, KeyError, AttributeError) as error:
            found[f"{path.name}: line {number}"] = f"{type(error).__name__}: {error}"
    return found


def content(folder: pathlib.Path, *patterns: str) -> Found:
    """The SHA-256 of the files in a folder. A report's date is left out: a case may run past midnight."""
    found = [path for pattern in patterns for path in folder.glob(pattern)]
    paths = sorted(path for path in found if path.is_file() and not path.name.startswith("."))
    dated = re.compile(rb"Made on \d{4}-\d\d-\d\d")
    return {path.name: hashlib.sha256(dated.sub(b"", path.read_bytes())).hexdigest() for path in paths}


def features(folder: pathlib.Path) -> Found:
    """The names and values of the arrays of .npz files, whose metadata are another run's."""
    found = {}
    for path in folder.glob("[!.]*.npz"):
        try:
            with np.load(path, allow_pickle=False) as arrays:
                found |= {f"{path.name} {name}": array_sha256(arrays[name]) for name in arrays if name != "metadata"}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            found[path.name] = f"{type(error).__name__}: {error}"
    return found


def steps(run: pathlib.Path) -> list[int]:
    """The checkpoints that are there by their names, ascending."""
    return sorted(int(path.name) for path in (run / "checkpoints").glob("[0-9]*") if path.name.isdigit())


def checkpoint(run: pathlib.Path, step: int) -> str:
    """The SHA-256 of a checkpoint's arrays, all of which are read; or what is wrong with it."""
    try:
        with Checkpoints(run, read_only=True) as checkpoints:
            checkpoints.check(step)
            return json.dumps(checkpoints.metadata(step)["array_sha256"], sort_keys=True)
    except CorruptCheckpoint as error:
        return error.problem


def trained(run: pathlib.Path, every: int) -> Found:
    """The scheduled checkpoints of a run, and its lines up to the newest checkpoint: later ones are done again."""
    saved = steps(run)
    lines = records(run / "metrics.jsonl")
    later = {f"metrics.jsonl: {step}" for step in range(saved[-1] + 1 if saved else 0, 1000)}
    upto = {name: line for name, line in lines.items() if name not in later}
    return upto | {f"checkpoint {step}": checkpoint(run, step) for step in saved if step % every == 0}


def ended(run: pathlib.Path) -> Found:
    """What only the end of a run settles: the checkpoints that stay, nothing else beside them, and its status."""
    beside = [path.name for path in (run / "checkpoints").iterdir() if not path.name.isdigit()]
    state = json.loads((run / "status.json").read_text())["state"]
    best = {f"checkpoint {step}": checkpoint(run, step) for step in steps(run)}
    return best | {"in checkpoints/": str(sorted(beside)), "state": state}


def unfinished(folder: pathlib.Path) -> set[tuple[str, int]]:
    """What is being written in a folder: temporary files, and folders of checkpoints; with their numbers."""
    found = set()
    for parent, folders, files in os.walk(folder):  # which passes over what is removed meanwhile, unlike rglob
        for name in (*folders, *files):
            path = pathlib.Path(parent, name)
            if "orbax-checkpoint-tmp" in name or _TEMPORARY.fullmatch(name) or path.parent.name == ".trash":
                with contextlib.suppress(FileNotFoundError):
                    found.add((str(path.relative_to(folder)), path.stat().st_ino))
    return found
