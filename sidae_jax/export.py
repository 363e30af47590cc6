"""Write the encoder of a run's last checkpoint for other programs; --out says for which.

python -m sidae_jax.export [--workdir=DIR] [--step=N] [--part=encoder|method] --out=FILE.safetensors|FILE.onnx|FOLDER

FILE.safetensors is for PyTorch and --config.init_from, FILE.onnx for ONNX runtimes, FOLDER for the Hugging Face hub.
"""

from sidae_jax import interrupt  # noqa: F401, I001 (first: what follows takes a while to import)

import pathlib

from absl import flags

from sidae_jax import cli
from sidae_jax.errors import UserError
from sidae_jax.exports import out_path
from sidae_jax.runs import ONNX, WEIGHTS, measured, newest

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the pre-training run; by default the newest in runs/.")
_STEP = flags.DEFINE_string(
    "step", None, "Step of the checkpoint, or best: that with the highest kNN in training; by default the last."
)
_OUT = flags.DEFINE_string("out", None, f"File to write, which ends in {WEIGHTS} or {ONNX}, or folder for the hub.")
_PART = flags.DEFINE_enum(
    "part",
    "encoder",
    ["encoder", "method"],
    "The encoder by torchvision's names, or the whole method, with the encoder's under 'backbone.'.",
)
_OVERWRITE = flags.DEFINE_boolean("overwrite", False, "Replace a file that is already there.")


def main() -> None:
    """Writes the file or folder. Raises UserError."""
    out = _checked_out()
    step = measured.parse_step(_STEP.value)
    workdir = _WORKDIR.value or newest.announce(newest.newest_run())

    # Only now what takes seconds to import.
    from sidae_jax import runtime
    from sidae_jax.exports import make_export

    runtime.require_single_process("export")
    runtime.start()
    print(make_export.write(workdir, out, _PART.value, step))


def _checked_out() -> pathlib.Path:
    if not _OUT.value:
        raise UserError("--out is missing: give the file to write, such as --out=encoder.safetensors")
    out = pathlib.Path(_OUT.value).expanduser().absolute()
    is_folder = out.suffix not in (WEIGHTS, ONNX) and (not out.suffix or out.is_dir() or _OUT.value.endswith("/"))
    if is_folder:
        out_path.check_folder(out, _OUT.value, _OVERWRITE.value)
    else:
        out_path.check_file(out, _OUT.value, (WEIGHTS, ONNX), "encoder", _OVERWRITE.value)
    if _PART.value != "encoder" and out.suffix != WEIGHTS:
        raise UserError(f"--part=method is for files of weights, and --out={_OUT.value} is none: give FILE{WEIGHTS}")
    if out.suffix == ONNX:
        out_path.require("onnx", "onnx", _OUT.value)
    return out


if __name__ == "__main__":
    cli.run_without_config(main)
