"""Renames keys of files written by earlier versions (stand-in for the file of this name in another branch)."""

from typing import Any

# Here config.py still says `classes`, which the other branch renames together with its readers.
_RENAMED = {"normalisation": "normalization", "labelled_rows_sha256": "labeled_rows_sha256"}


def renamed(value: Any) -> Any:
    """Returns the value with old keys renamed at every depth."""
    if isinstance(value, dict):
        return {_RENAMED.get(key, key): renamed(item) for key, item in value.items()}
    return [renamed(item) for item in value] if isinstance(value, list) else value
