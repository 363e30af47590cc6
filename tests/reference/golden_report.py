"""Reads and writes golden_report.npz; its keys are told in make_golden_report.py. NumPy alone.

A thousand small arrays would be half zip headers: those of a dtype lie end to end in one array of that name, with
`<dtype>.names` [k] and `<dtype>.shapes` [k, 4], filled up with -1.
"""

from pathlib import Path

import numpy as np

PATH = Path(__file__).with_name("golden_report.npz")


def write(arrays: dict[str, np.ndarray]) -> None:
    packed = {}
    for dtype in sorted({array.dtype.name for array in arrays.values()}):
        group = {name: array for name, array in arrays.items() if array.dtype.name == dtype}
        packed[dtype] = np.concatenate([array.ravel() for array in group.values()])
        packed[f"{dtype}.names"] = np.array(list(group))
        packed[f"{dtype}.shapes"] = np.array([(*a.shape, *[-1] * (4 - a.ndim)) for a in group.values()])
    np.savez_compressed(PATH, **packed)


def read() -> dict[str, np.ndarray]:
    """{"ae/grad/backbone.conv1.weight": ...}"""
    arrays = {}
    with np.load(PATH) as packed:
        for dtype in (key for key in packed.files if "." not in key):
            shapes = [tuple(shape[shape >= 0]) for shape in packed[f"{dtype}.shapes"]]
            ends = np.cumsum([np.prod(shape, dtype=int) for shape in shapes])
            pieces = np.split(packed[dtype], ends[:-1])
            for name, shape, piece in zip(packed[f"{dtype}.names"], shapes, pieces, strict=True):
                arrays[str(name)] = piece.reshape(shape)
    return arrays


def initial_state(golden: dict[str, np.ndarray], method: str) -> dict[str, np.ndarray]:
    """The method's parameters and running statistics before the first step in float64, by the reference's names."""
    state = {}
    for key, array in golden.items():
        prefix, found, name = key.rpartition("init/")
        if found and prefix in ("", f"{method}/") and f"{method}/after/{name}" in golden:
            state[name] = array.astype(np.float64)
    return state
