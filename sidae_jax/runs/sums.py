"""Checksums of a run's files: what a JSON object says of itself, and what a checkpoint says of metrics.jsonl."""

import hashlib
import json
import pathlib
from typing import Any

from sidae_jax.files import read_regular

Note = tuple[str, dict[str, Any]]  # the step of a checkpoint, and what it notes of metrics.jsonl
_SUM = "sha256"  # of the object without it
METRICS = "metrics"  # the key in a checkpoint's metadata
OF_METADATA = "metadata_sha256"  # the key of the metadata's own sum


def json_sha256(value: dict[str, Any]) -> str:
    """Returns the SHA-256 of a JSON object; not of its text, in which keys may have any order."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def sealed(content: dict[str, Any], key: str = _SUM) -> dict[str, Any]:
    """Returns an object with its checksum as the last key."""
    return {**content, key: json_sha256(content)}


def unsealed(content: Any, key: str = _SUM) -> Any:
    """Returns what `sealed` was given; a value without a checksum, as older files have it, as it is.

    Raises ValueError if the checksum is not that of the content.
    """
    if not isinstance(content, dict) or key not in content:
        return content
    rest = {name: value for name, value in content.items() if name != key}
    if content[key] != json_sha256(rest):
        raise ValueError(f"its checksum does not match: if you changed it on purpose, delete its key {key}")
    return rest


def read_json(path: pathlib.Path) -> Any:
    """Returns the content of a JSON file, without its checksum if it has one. Raises OSError, or ValueError."""
    try:
        return unsealed(json.loads(read_regular(path)))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def of_metrics(content: bytes) -> dict[str, Any]:
    """Returns what a checkpoint notes of the lines of metrics.jsonl that were there when it was saved."""
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def metrics_problem(folder: pathlib.Path, content: bytes) -> str | None:
    """Returns a sentence if a run's metrics.jsonl, with this content, is damaged, or was when a start found it."""
    return metrics_changed(metrics_note(folder), content) or metrics_once_damaged(folder)


def metrics_changed(note: Note | None, content: bytes) -> str | None:
    """Returns a sentence if the content of a metrics.jsonl is not what its checkpoint notes."""
    if note is None or of_metrics(content[: note[1]["bytes"]]) == note[1]:
        return None
    return f"metrics.jsonl is not as it was when checkpoint {note[0]} was saved: figures in it may be wrong"


def metrics_once_damaged(folder: pathlib.Path) -> str | None:
    """Returns a sentence if a start has kept a damaged metrics.jsonl: what it could not mend is in today's, too."""
    for aside in sorted(folder.glob(".damaged-*-metrics.jsonl*")):
        return (
            f"metrics.jsonl was damaged, as {aside.name} still is: figures of the steps up to there may be wrong or "
            f"missing; put back a copy, or see to them, and delete {aside.name}"
        )
    return None


def metrics_note(folder: pathlib.Path) -> Note | None:
    """Returns the step of the newest readable checkpoint and what it notes of metrics.jsonl; None without a note."""
    steps = (path.name for path in (folder / "checkpoints").glob("*") if path.name.isascii() and path.name.isdigit())
    for step in sorted(steps, key=int, reverse=True):
        try:
            path = folder / "checkpoints" / step / "metadata" / "metadata"
            noted = unsealed(json.loads(read_regular(path)), OF_METADATA).get(METRICS)
            return None if noted is None else (step, {"bytes": int(noted["bytes"]), "sha256": noted["sha256"]})
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue  # damaged, which is told elsewhere
    return None
