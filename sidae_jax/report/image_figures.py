"""Figures of what a run saw and learned, from its pictures.npz: views, reconstructions and t-SNE projections."""

import textwrap
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sidae_jax.evaluation import picture_file
from sidae_jax.evaluation.picture_file import Pictures
from sidae_jax.report import left_out
from sidae_jax.report.drawing import plain, to_svg
from sidae_jax.report.run_index import Run
from sidae_jax.runs.values import describe, printable

# Paul Tol's colors "muted", which color-blind readers can distinguish, with a marker each
_CLASSES = [
    *(("#332288", "o"), ("#CC6677", "s"), ("#117733", "^"), ("#88CCEE", "D"), ("#882255", "v")),
    *(("#DDCC77", "P"), ("#44AA99", "X"), ("#AA4499", "<"), ("#999933", ">"), ("#777777", "*")),
]
_MOST_CLASSES = 2000
_GAP = 2  # white pixels between two images


RunPictures = tuple[Run, Pictures]  # the pictures are of the run's last checkpoint


def read(runs: Iterable[Run]) -> list[RunPictures]:
    """Reads the pictures of each run's first seed that has a file; a corrupt file is skipped with a warning."""
    found = {}
    for run in sorted(runs, key=lambda run: run.seed):
        path = run.folder / "eval" / picture_file.NAME
        name = run.pretraining.label
        if name in found or not path.exists():
            continue
        try:
            found[name] = run, _checked(picture_file.read(path))
        except (OSError, ValueError, KeyError, TypeError) as error:
            left_out.warn("%s is corrupt and skipped: %s", path, describe(error))
    return [found[name] for name in sorted(found)]


def _checked(pictures: Pictures) -> Pictures:
    """Returns the pictures. Raises ValueError if an array cannot be drawn."""
    shown, points = len(pictures.images), len(pictures.labels)
    side = pictures.images.shape[1] if pictures.images.ndim == 4 else 0
    shapes = {
        "images": ((shown, side, side, 3), np.uint8),
        "views": ((shown, 2, side, side, 3), np.uint8),
        "reconstructions": ((shown if len(pictures.reconstructions) else 0, 2, side, side, 3), np.uint8),
        "tsne": ((points, 2), np.float32),
        "labels": ((points,), np.int32),
        "class_names": ((len(pictures.class_names),), np.str_),
    }
    if len(pictures.class_names) > _MOST_CLASSES:
        raise ValueError(f"class_names has {len(pictures.class_names)} names, more than {_MOST_CLASSES}")
    for name, (shape, dtype) in shapes.items():
        array = getattr(pictures, name)
        if array.shape != shape or not np.issubdtype(array.dtype, dtype) or not shown or not points:
            raise ValueError(f"{name} has dtype {array.dtype} and shape {array.shape}")
    return pictures


def augmentations(found: Sequence[RunPictures]) -> dict[str, str]:
    """Draws test images above two views of each, for each data set (paper, Figure 2); returns SVG by title."""
    figures = {}
    for dataset, first in _first_by_dataset(found).items():
        views = first.views
        rows = [("image", first.images), ("first view", views[:, 0]), ("second view", views[:, 1])]
        figures[f"Augmentations of {dataset}"] = _grid(rows)
    return figures


def reconstructions(found: Sequence[RunPictures]) -> dict[str, str]:
    """Draws test images and a view of each with the reconstructions of every decoder; returns SVG by title."""
    figures = {}
    for dataset, first in _first_by_dataset(found).items():
        of_images, of_views = [("image", first.images)], [("view", first.views[:, 0])]
        for run, pictures in found:
            same_images = np.array_equal(pictures.images, first.images)
            if len(pictures.reconstructions) and same_images and np.array_equal(pictures.views, first.views):
                name = f"{run.pretraining.label}, epoch {pictures.epoch:g}"
                of_images.append((f"{name}, of the image", pictures.reconstructions[:, 0]))
                of_views.append((f"{name}, of the view", pictures.reconstructions[:, 1]))
        if len(of_images) > 1:
            figures[f"Reconstructions of {dataset}"] = _grid(of_images + of_views)
    return figures


def projections(found: Sequence[RunPictures]) -> dict[str, str]:
    """Draws the features of test images by t-SNE, colored by class, with a panel for each run; returns SVG by title.

    These are Figures 1 and 2 of the report.
    """
    figures = {}
    for dataset in sorted({run.pretraining.dataset for run, _ in found}):
        panels = [(run, pictures) for run, pictures in found if run.pretraining.dataset == dataset]
        columns = min(len(panels), 3)
        rows = -(-len(panels) // columns)
        figure = Figure(figsize=(3 * columns + 1.4, 3 * rows), layout="constrained")
        axes = list(figure.subplots(rows, columns, squeeze=False).flat)
        for panel, (run, pictures) in zip(axes, panels, strict=False):
            _scatter(panel, pictures)
            title = textwrap.fill(f"{run.pretraining.label}, seed {run.seed}, epoch {pictures.epoch:g}", 40)
            panel.set_title(plain(title), fontsize=8)
        for panel in axes[len(panels) :]:
            panel.remove()
        entries = figure.axes[0].get_legend_handles_labels()
        figure.legend(*entries, loc="outside right upper", frameon=False, fontsize=8, markerscale=1.5)
        n = len(panels[0][1].labels)
        figures[f"t-SNE of the features of {n} test images of {dataset}"] = to_svg(figure)
    return figures


def _first_by_dataset(found: Sequence[RunPictures]) -> dict[str, Pictures]:
    """Returns the pictures of each data set's first run; other runs have the same views if their settings agree."""
    first: dict[str, Pictures] = {}
    for run, pictures in found:
        first.setdefault(run.pretraining.dataset, pictures)
    return {dataset: first[dataset] for dataset in sorted(first)}


def _grid(rows: Sequence[tuple[str, UInt8[np.ndarray, "n size size 3"]]]) -> str:
    """Draws the images of a row side by side, and the rows below each other with their labels; returns SVG."""
    padded = [np.pad(images, ((0, 0), (0, _GAP), (0, _GAP), (0, 0)), constant_values=255) for _, images in rows]
    side = rows[0][1].shape[1]
    mosaic = np.concatenate([np.concatenate(images, axis=1) for images in padded])[:-_GAP, :-_GAP]
    height, width, _ = mosaic.shape
    labels = [textwrap.fill(label, 36) for label, _ in rows]
    longest = max(len(line) for label in labels for line in label.splitlines())
    inch = 48 * side / 32  # in pixels: images of all sizes are drawn as large
    figure = Figure(figsize=(width / inch + 0.08 * longest + 0.2, height / inch + 0.1), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.15)  # type: ignore[union-attr, call-arg]  # letters in a browser may be wider than measured here
    axes = figure.subplots()
    axes.imshow(mosaic, interpolation="nearest")
    pitch = height + _GAP
    axes.set_yticks([pitch / len(rows) * (i + 0.5) - _GAP for i in range(len(rows))], list(map(plain, labels)))
    axes.set_xticks([])
    axes.tick_params(length=0, labelsize=8)
    axes.spines[:].set_visible(False)
    return to_svg(figure)


def _scatter(axes: Axes, pictures: Pictures) -> None:
    for i, name in enumerate(pictures.class_names):
        color, marker = _CLASSES[i % len(_CLASSES)]
        x, y = pictures.tsne[pictures.labels == i].T
        axes.scatter(x, y, s=14, color=color, marker=marker, linewidths=0, label=plain(printable(str(name))))
    axes.set_xticks([])
    axes.set_yticks([])
