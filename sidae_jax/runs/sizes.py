"""Whether a checkpoint's settings can be those of its arrays: a network of absurd size would fill the memory."""

import pathlib
from typing import Any

_KEYS = ("width", "d_hid", "size")
_MOST = 1 << 20  # of each
_BEST_RATIO = 1000  # that arrays are compressed by


def problem(arrays: pathlib.Path, config: Any) -> str | None:
    """Returns a sentence if a config asks for a network that is larger than the arrays in a folder can be."""
    given = {key: config[key] for key in _KEYS if isinstance(config, dict) and key in config}
    if all(type(size) is int and 0 < size <= _MOST for size in given.values()):
        width, d_hid = given.get("width", 1), given.get("d_hid", 1)
        on_disk = sum(path.stat().st_size for path in arrays.rglob("*") if path.is_file())
        # of its largest convolution, and of its projector's last product
        needed = max(4 * 9 * (8 * width) ** 2, 4 * 8 * width * d_hid)
        if needed <= _BEST_RATIO * on_disk:
            return None
    said = ", ".join(f"{key} = {size!s:.40}" for key, size in given.items())
    return f"its metadata do not fit its arrays ({said})"
