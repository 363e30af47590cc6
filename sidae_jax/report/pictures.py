"""Pictures of what was seen and learned, from the pictures.npz of runs: views, reconstructions, t-SNE projections."""

import textwrap
from collections.abc import Iterable, Sequence

import numpy as np
from absl import logging
from jaxtyping import UInt8
from matplotlib.figure import Figure

from sidae_jax.evaluation import picture_file
from sidae_jax.evaluation.picture_file import Pictures
from sidae_jax.report.figures import plain, to_svg
from sidae_jax.report.reference import printable
from sidae_jax.report.runs import Run, short

# Paul Tol's colors "muted", which color-blind readers tell apart, and a marker each
_CLASSES = [
    *(("#332288", "o"), ("#CC6677", "s"), ("#117733", "^"), ("#88CCEE", "D"), ("#882255", "v")),
    *(("#DDCC77", "P"), ("#44AA99", "X"), ("#AA4499", "<"), ("#999933", ">"), ("#777777", "*")),
]
_GAP = 2  # white pixels between two images


def read(runs: Iterable[Run]) -> list[tuple[Run, Pictures]]:
    """Those of the first seed of each run that has some; a corrupt file is left out, with a warning."""
    found = {}
    for run in sorted(runs, key=lambda run: run.seed):
        path = run.folder / "eval" / picture_file.NAME
        if run.name in found or not path.exists():
            continue
        try:
            found[run.name] = (run, _checked(picture_file.read(path)))
        except (OSError, ValueError, KeyError, TypeError) as error:
            logging.warning("%s is corrupt and left out: %s", path, short(error))
    return [found[name] for name in sorted(found)]


def _checked(seen: Pictures) -> Pictures:
    """Raises ValueError where an array can not be drawn."""
    shown, points = len(seen.images), len(seen.labels)
    shapes = {
        "images": ((shown, 32, 32, 3), np.uint8),
        "views": ((shown, 2, 32, 32, 3), np.uint8),
        "reconstructions": ((min(len(seen.reconstructions), shown), 2, 32, 32, 3), np.uint8),
        "tsne": ((points, 2), np.float32),
        "labels": ((points,), np.int32),
        "class_names": ((len(seen.class_names),), np.str_),
    }
    for name, (shape, dtype) in shapes.items():
        array = getattr(seen, name)
        if array.shape != shape or not np.issubdtype(array.dtype, dtype) or not shown or not points:
            raise ValueError(f"{name} is of {array.dtype} with shape {array.shape}")
    if seen.reconstructions.shape[0] not in (0, shown):
        raise ValueError(f"{len(seen.reconstructions)} reconstructions of {shown} images")
    return seen


def augmentations(found: Sequence[tuple[Run, Pictures]]) -> dict[str, str]:
    """Title -> SVG: test images, each over two views of it, one figure a data set (paper, Figure 2)."""
    figures = {}
    for dataset, seen in _of_a_dataset(found).items():
        rows = [("image", seen.images), ("first view", seen.views[:, 0]), ("second view", seen.views[:, 1])]
        figures[f"Augmentations of {dataset}"] = _grid(rows)
    return figures


def reconstructions(found: Sequence[tuple[Run, Pictures]]) -> dict[str, str]:
    """Title -> SVG: test images and a view of each, and what each run with a decoder makes of them."""
    figures = {}
    for dataset, seen in _of_a_dataset(found).items():
        rows = [("image", seen.images)]
        of_views = [("view", seen.views[:, 0])]
        for other, theirs in found:
            if len(theirs.reconstructions) and _same_input(seen, theirs):
                name = f"{other.name}, epoch {theirs.epoch:g}"
                rows.append((f"{name}, of the image", theirs.reconstructions[:, 0]))
                of_views.append((f"{name}, of the view", theirs.reconstructions[:, 1]))
        if len(rows) > 1:
            figures[f"Reconstructions of {dataset}"] = _grid(rows + of_views)
    return figures


def projections(found: Sequence[tuple[Run, Pictures]]) -> dict[str, str]:
    """Title -> SVG: the features of test images by t-SNE, colored by class, a panel a run (report, Figures 1, 2)."""
    figures = {}
    for dataset in sorted({run.dataset for run, _ in found}):
        panels = [(run, seen) for run, seen in found if run.dataset == dataset]
        columns = min(len(panels), 3)
        rows = -(-len(panels) // columns)
        figure = Figure(figsize=(3 * columns + 1.4, 3 * rows), layout="constrained")
        axes = list(figure.subplots(rows, columns, squeeze=False).flat)
        for panel, (run, seen) in zip(axes, panels, strict=False):
            _scatter(panel, seen)
            title = textwrap.fill(f"{run.name}, seed {run.seed}, epoch {seen.epoch:g}", 40)
            panel.set_title(plain(title), fontsize=8)
        for panel in axes[len(panels) :]:
            panel.remove()
        entries = figure.axes[0].get_legend_handles_labels()
        figure.legend(*entries, loc="outside right upper", frameon=False, fontsize=8, markerscale=1.5)
        n = len(panels[0][1].labels)
        figures[f"t-SNE of the features of {n} test images of {dataset}"] = to_svg(figure)
    return figures


def _of_a_dataset(found: Sequence[tuple[Run, Pictures]]) -> dict[str, Pictures]:
    """Those of the first run of each: the views of its other runs are the same unless their settings differ."""
    first = {}
    for run, seen in found:
        first.setdefault(run.dataset, seen)
    return {dataset: first[dataset] for dataset in sorted(first)}


def _same_input(one: Pictures, other: Pictures) -> bool:
    return np.array_equal(one.images, other.images) and np.array_equal(one.views, other.views)


def _grid(rows: list[tuple[str, UInt8[np.ndarray, "n 32 32 3"]]]) -> str:
    """Images side by side, rows below each other with their labels."""
    padded = [np.pad(images, ((0, 0), (0, _GAP), (0, _GAP), (0, 0)), constant_values=255) for _, images in rows]
    mosaic = np.concatenate([np.concatenate(images, axis=1) for images in padded])[:-_GAP, :-_GAP]
    height, width, _ = mosaic.shape
    labels = [textwrap.fill(label, 36) for label, _ in rows]
    longest = max(len(line) for label in labels for line in label.splitlines())
    figure = Figure(figsize=(width / 48 + 0.08 * longest + 0.2, height / 48 + 0.1), layout="constrained")  # inches
    figure.get_layout_engine().set(w_pad=0.15)  # a browser's letters may be wider than those measured here
    axes = figure.subplots()
    axes.imshow(mosaic, interpolation="nearest")
    pitch = height + _GAP
    axes.set_yticks(
        [pitch / len(rows) * (i + 0.5) - _GAP for i in range(len(rows))], [plain(label) for label in labels]
    )
    axes.set_xticks([])
    axes.tick_params(length=0, labelsize=8)
    axes.spines[:].set_visible(False)
    return to_svg(figure)


def _scatter(axes, seen: Pictures) -> None:
    for i, name in enumerate(seen.class_names):
        color, marker = _CLASSES[i % len(_CLASSES)]
        points = seen.tsne[seen.labels == i]
        axes.scatter(*points.T, s=14, color=color, marker=marker, linewidths=0, label=plain(printable(str(name))))
    axes.set_xticks([])
    axes.set_yticks([])
