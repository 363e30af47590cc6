"""The names that older versions of this package gave to keys of a run's files."""

from typing import Any

_NEW_NAMES = {
    "classes": "num_classes",
    "normalisation": "normalization",
    "labelled_rows_sha256": "labeled_rows_sha256",
}


def renamed(value: Any) -> Any:
    """Returns a JSON value with the old names of keys, at any depth of its objects, replaced by today's."""
    if not isinstance(value, dict):
        return value
    return {_NEW_NAMES.get(key, key): renamed(inner) for key, inner in value.items()}
