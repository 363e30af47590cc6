"""Files of weights for other programs, by safetensors; only this file imports it.

Such a file has named arrays and strings beside them, and no code that reading would run.
"""

import json
import os
import pathlib

import numpy as np
import safetensors
import safetensors.numpy

from sidae_jax.errors import UserError
from sidae_jax.files import atomic_write, open_regular
from sidae_jax.runs import sums
from sidae_jax.runs.checkpoint import Arrays, arrays_sha256

_VERSION, _SUM = "sidae_jax", "sha256"  # a file with the first is one that `write` wrote


def write(path: pathlib.Path, arrays: Arrays, metadata: dict[str, str]) -> None:
    """Writes the file atomically, with the same bytes for the same content.

    metadata: must have "sidae_jax", the version; the SHA-256 of the arrays is added, and that of the metadata.
    """
    metadata = sums.sealed({**metadata, _SUM: arrays_sha256(arrays)}, sums.OF_METADATA)
    # safetensors writes an array's memory as it lies there, whatever its strides are
    content = safetensors.numpy.save({name: np.ascontiguousarray(value) for name, value in arrays.items()}, metadata)
    with atomic_write(path) as file:
        file.write(_with_sorted_metadata(content))


def _with_sorted_metadata(content: bytes) -> bytes:
    """Sorts what safetensors writes in an order that differs from process to process."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that the arrays are aligned
    return len(text).to_bytes(8, "little") + text + content[end:]


def read(path: str | os.PathLike, name: str) -> tuple[Arrays, dict[str, str]]:
    """Returns the float32 arrays of a file, and the metadata if `write` wrote it, or else {}.

    PyTorch's counters `num_batches_tracked` are left out. Raises UserError, which begins with `name`, if the file
    cannot be read, has arrays of another dtype, or is not what was written.
    """
    try:
        open_regular(path).close()  # a pipe might never end
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            wanted = [key for key in file.keys() if not key.endswith("num_batches_tracked")]  # noqa: SIM118 (no dict)
            for key in wanted:
                if (dtype := file.get_slice(key).get_dtype()) != "F32":
                    raise UserError(f"{name} holds {key!r:.80} as {dtype}: give a file of float32 arrays, F32")
            arrays = {key: file.get_tensor(key) for key in wanted}
    except (OSError, safetensors.SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{name} cannot be read as safetensors ({reason:.120}): give a whole file that sidae_jax.export wrote"
        ) from error
    if _VERSION not in metadata:
        return arrays, {}
    if metadata.get(_SUM) != arrays_sha256(arrays):
        raise UserError(f"{name} does not have the arrays that were written to it, by its sha256: export it again")
    try:
        return arrays, sums.unsealed(metadata, sums.OF_METADATA)
    except ValueError as error:
        raise UserError(f"{name} does not say of its arrays what was written to it: export it again") from error
