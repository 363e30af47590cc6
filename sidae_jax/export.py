"""Write the encoder of a run's last checkpoint to a file that PyTorch, or --config.init_from, loads.

python -m sidae_jax.export [--workdir=DIR] [--step=N] [--part=encoder|method] --out=FILE.safetensors
"""

from sidae_jax import interrupt  # noqa: F401, I001 (first: what follows takes a while to import)

import pathlib

from absl import flags

from sidae_jax import cli
from sidae_jax.errors import UserError
from sidae_jax.runs import WEIGHTS, newest

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the pre-training run; by default the newest in runs/.")
_STEP = flags.DEFINE_integer("step", None, "Step of the checkpoint; by default the last.")
_OUT = flags.DEFINE_string("out", None, "File to write, which ends in .safetensors.")
_PART = flags.DEFINE_enum(
    "part",
    "encoder",
    ["encoder", "method"],
    "The encoder by torchvision's names, or the whole method, with the encoder's under 'backbone.'.",
)
_OVERWRITE = flags.DEFINE_boolean("overwrite", False, "Replace a file that is already there.")


def main() -> None:
    """Writes the file. Raises UserError."""
    out = _checked_out()
    workdir = _WORKDIR.value or newest.announce(newest.newest_run())

    # Only now what takes seconds to import.
    from sidae_jax import runtime
    from sidae_jax.evaluation import make_export

    runtime.require_single_process("export")
    runtime.start()
    print(make_export.write(workdir, out, _PART.value, _STEP.value))


def _checked_out() -> pathlib.Path:
    if not _OUT.value:
        raise UserError("--out is missing: give the file to write, such as --out=encoder.safetensors")
    out = pathlib.Path(_OUT.value).expanduser()
    if out.suffix != WEIGHTS:
        raise UserError(f"--out={_OUT.value} does not end in {WEIGHTS}: give a name such as encoder{WEIGHTS}")
    if not out.parent.is_dir():
        raise UserError(f"--out={_OUT.value} is in no folder that is there: make {out.parent}, or give another --out")
    if out.is_dir():
        raise UserError(f"--out={_OUT.value} is a folder: give a file, such as {_OUT.value}/encoder.safetensors")
    if out.exists() and not _OVERWRITE.value:
        raise UserError(f"--out={_OUT.value} is already there: give another name, or --overwrite to replace it")
    return out


if __name__ == "__main__":
    cli.run_without_config(main)
