"""Write the features of images by the encoder of a run's last checkpoint to a file.

python -m sidae_jax.embed [--workdir=RUN] [--step=N] --images=DIR|--dataset=NAME --out=FILE.parquet|FILE.npz
"""

from sidae_jax import interrupt  # noqa: F401, I001 (first: what follows takes a while to import)

import os
import pathlib

from absl import flags

from sidae_jax import cli
from sidae_jax.errors import UserError
from sidae_jax.evaluation.protocols import FEATURES
from sidae_jax.exports import out_path
from sidae_jax.exports.feature_files import NPZ, PARQUET
from sidae_jax.runs import measured, newest
from sidae_jax.settings import FOLDER, ON_DAMAGE, FolderSettings

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the pre-training run; by default the newest in runs/.")
_STEP = flags.DEFINE_string(
    "step", None, "Step of the checkpoint, or best: that with the highest kNN in training; by default the last."
)
_IMAGES = flags.DEFINE_string("images", None, "Folder of images, with a folder for each class or without.")
_DATASET = flags.DEFINE_string("dataset", None, "Data set, by its TFDS name, such as cifar10.")
_SPLIT = flags.DEFINE_string("split", "train", "Split or slice, such as test or train[:10%]+test.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "TFDS folder of the data set; by default the run's.")
_TEST_SHARE = flags.DEFINE_float(
    "test_share", 0.0, "How much of a folder without test/ is the split test; by default all images are in train."
)
_ON_DAMAGE = flags.DEFINE_enum("on_damage", "refuse", list(ON_DAMAGE), "What is done with files that are no images.")
_FEATURES = flags.DEFINE_enum("features", "backbone", list(FEATURES), "The pooled features, or the projector's z.")
_OUT = flags.DEFINE_string("out", None, f"File to write, which ends in {PARQUET} or {NPZ}.")
_OVERWRITE = flags.DEFINE_boolean("overwrite", False, "Replace a file that is already there.")


def main() -> None:
    """Writes the file. Raises UserError."""
    out, folder = _checked_out(), _checked_folder()
    step = measured.parse_step(_STEP.value)
    workdir = _WORKDIR.value or newest.announce(newest.newest_run())

    # Only now what takes seconds to import.
    from sidae_jax import runtime
    from sidae_jax.exports import embeddings

    runtime.require_single_process("embed")
    runtime.start()
    of = embeddings.Images(_DATASET.value, folder, _DATA_DIR.value, _SPLIT.value)
    print(embeddings.write(workdir, out, of, _FEATURES.value, step))


def _checked_out() -> pathlib.Path:
    if not _OUT.value:
        raise UserError("--out is missing: give the file to write, such as --out=features.parquet")
    out = pathlib.Path(_OUT.value).expanduser()
    out_path.check_file(out, _OUT.value, (PARQUET, NPZ), "features", _OVERWRITE.value)
    if out.suffix == PARQUET:
        out_path.require("pyarrow", "parquet", _OUT.value)
    return out


def _checked_folder() -> FolderSettings | None:
    images, dataset = _IMAGES.value, _DATASET.value
    if (images is None) == (dataset is None):
        problem = "are missing" if images is None else "are both given"
        raise UserError(f"--images and --dataset {problem}: give --images=DIR, a folder, or --dataset=NAME, a data set")
    if dataset == FOLDER:
        raise UserError(f"--dataset={FOLDER} is no data set of its own: give the folder, by --images=DIR")
    if images is None:
        return None
    if not os.path.isdir(os.path.expanduser(images)):
        raise UserError(f"--images={images} is not a folder: give the folder of your images, --images=DIR")
    if not 0 <= _TEST_SHARE.value < 1:
        raise UserError(f"--test_share={_TEST_SHARE.value:g} is out of range: give one at least 0 and below 1")
    return FolderSettings(os.path.abspath(os.path.expanduser(images)), _TEST_SHARE.value, _ON_DAMAGE.value)


if __name__ == "__main__":
    cli.run_without_config(main)
