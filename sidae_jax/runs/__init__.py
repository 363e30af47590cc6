"""The files of a run: its config, metrics and checkpoints. Without --workdir, runs go to ROOT and are sought there."""

import pathlib

ROOT = pathlib.Path("runs")
WEIGHTS = ".safetensors"  # how the names of files with weights for other programs end
ONNX = ".onnx"  # how those of ONNX models do
