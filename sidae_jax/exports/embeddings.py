"""Features of a data set or a folder of images, written to a file."""

import dataclasses
import itertools
import os
import pathlib
from collections.abc import Iterator, Sequence

import jax
import numpy as np
import rich.console
import rich.progress
from jaxtyping import Float, UInt8

import sidae_jax
from sidae_jax import data
from sidae_jax.data.source import Slice
from sidae_jax.errors import UserError
from sidae_jax.evaluation.backbone import Backbone, compute_features, restore_backbone
from sidae_jax.exports.feature_files import WRITERS, Rows
from sidae_jax.exports.out_path import write_errors
from sidae_jax.files import atomic_write
from sidae_jax.runs import pretrained
from sidae_jax.runs.checkpoint import Checkpoints, arrays_sha256
from sidae_jax.settings import FOLDER, FolderSettings

_AT_ONCE = 512  # images; compute_features takes as many, so that the features are its own to the last bit
# how messages about data name the options of this program, which has no config
_OPTIONS = (
    ("--config.train_split or --config.test_split", "--split"),
    ("--config.", "--"),
    ("config.images=", "--images="),
    ("config.on_damage=", "--on_damage="),
)


@dataclasses.dataclass(frozen=True)
class Images:
    """Which images: of a folder, or else of the data set `dataset`, which is sought in `data_dir` or the run's own."""

    dataset: str | None
    folder: FolderSettings | None
    data_dir: str | None
    split: str


def write(
    workdir: str | os.PathLike, out: pathlib.Path, of: Images, kind: str = "backbone", step: int | str | None = None
) -> str:
    """Writes the features of images by a checkpoint of a run, by default the last, and returns a sentence on them.

    kind: "backbone" or "projector", as `restore_backbone` takes it.

    Raises UserError if there is no such run, checkpoint or data, images are damaged, the method has no such features,
    or `out` cannot be written.
    """
    folder = pretrained.run_folder(workdir)
    with Checkpoints(folder, read_only=True) as checkpoints:
        step = pretrained.one_step(checkpoints, step, name="--step", last="no --step for the last")
        config = checkpoints.metadata(step)["config"]
        try:
            backbone = restore_backbone(checkpoints, step, kind)
            slices, class_names = data.load_slices(
                of.dataset or FOLDER,
                of.split,
                of.data_dir or config["data_dir"],
                folder=of.folder,
                size=config["size"],
            )
        except UserError as error:
            raise _by_options(error) from error
    rows = _rows(slices, class_names, _metadata(folder, step, config, backbone, of))
    blocks = _features(backbone, slices)
    first = next(blocks)  # of a shape that the file's header needs
    shown = _with_progress(itertools.chain([first], blocks), len(rows))
    with write_errors(out), atomic_write(out) as file:
        WRITERS[out.suffix](file, rows, first.shape[1], shown)
    labels = f"labels of {len(class_names)} classes" if class_names else "no labels"
    return f"{out}: features {len(rows)} x {first.shape[1]} of the {kind} after step {step}, {labels}"


def _by_options(error: UserError) -> UserError:
    text = str(error)
    for key, option in _OPTIONS:
        text = text.replace(key, option)
    return UserError(text)


def _rows(slices: Sequence[Slice], class_names: tuple[str, ...], metadata: dict[str, str]) -> Rows:
    names = None if slices[0].names is None else [name for each in slices for name in each.names or ()]
    return Rows(names, np.concatenate([each.labels for each in slices]), class_names, metadata)


def _metadata(folder: pathlib.Path, step: int, config: dict, backbone: Backbone, of: Images) -> dict[str, str]:
    return {
        "run": str(folder),
        "step": str(step),
        "sha256": arrays_sha256(backbone.arrays()),  # of the weights that made the features
        "method": config["method"],
        "features": backbone.kind,
        "size": str(config["size"]),
        "precision": config["precision"],
        "images": str(of.dataset) if of.folder is None else os.path.abspath(os.path.expanduser(str(of.folder.images))),
        "split": of.split,
        "sidae_jax": sidae_jax.__version__,
        "jax": jax.__version__,
        "numpy": np.__version__,
    }


def _features(backbone: Backbone, slices: Sequence[Slice]) -> Iterator[Float[np.ndarray, "rows d"]]:
    starts = np.cumsum([0, *(len(each.images) for each in slices)])
    for start in range(0, int(starts[-1]), _AT_ONCE):
        yield compute_features(backbone, _between(slices, starts, start, start + _AT_ONCE))


def _between(slices, starts, start: int, stop: int) -> UInt8[np.ndarray, "rows size size 3"]:
    """Returns the images from `start` to `stop` of all slices together, read from the disk only now."""
    parts = [
        each.images[max(start - first, 0) : max(stop - first, 0)]
        for each, first in zip(slices, starts[:-1].tolist(), strict=True)
    ]
    return np.concatenate(parts)


def _with_progress(blocks: Iterator[np.ndarray], total: int) -> Iterator[Float[np.ndarray, "rows d"]]:
    """Yields the blocks, with a bar and the time left on a terminal."""
    console = rich.console.Console(stderr=True)
    columns = (*rich.progress.Progress.get_default_columns(), rich.progress.MofNCompleteColumn())
    with rich.progress.Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("Features", total=total)
        for block in blocks:
            bar.advance(task, len(block))
            yield block
