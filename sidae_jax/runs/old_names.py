"""Files of older versions of this package: other names of keys, and keys that they did not have yet."""

from typing import Any

_NEW_NAMES = {
    "classes": "num_classes",
    "normalisation": "normalization",
    "labelled_rows_sha256": "labeled_rows_sha256",
}
# The settings of a run have the first of these keys, the record of an evaluation the second.
_WITH_PRECISION = {"zero_init_residual", "labeled_rows_sha256"}


def modern(value: Any) -> Any:
    """Returns a JSON value with today's names of keys, at any depth of its objects, and with the key "precision".

    Before that key, products had XLA's default precision.
    """
    if not isinstance(value, dict):
        return value
    value = {_NEW_NAMES.get(key, key): modern(inner) for key, inner in value.items()}
    if value.keys() & _WITH_PRECISION:
        value.setdefault("precision", "tensorfloat32")
    return value
