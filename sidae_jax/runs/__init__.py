"""The files of a run: its config, metrics and checkpoints. Without --workdir, runs go to ROOT and are sought there."""

import pathlib

ROOT = pathlib.Path("runs")
WEIGHTS = ".safetensors"  # how the names of files with weights for other programs end
ONNX = ".onnx"  # how those of ONNX models do


def checkpoint_steps(folder: pathlib.Path) -> list[int]:
    """Returns the steps that are saved in a run, ascending, from the names of their folders."""
    return sorted(int(path.name) for path in folder.glob("checkpoints/*") if path.name.isdigit())
