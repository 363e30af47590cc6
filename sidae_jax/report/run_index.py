"""Finds the runs under a folder. Whatever is not a run of this package, or is corrupt, is skipped with a warning."""

import dataclasses
import pathlib

from sidae_jax import settings
from sidae_jax.report import left_out
from sidae_jax.report.reference import other_settings
from sidae_jax.runs import sums
from sidae_jax.runs.old_names import modern
from sidae_jax.runs.values import describe, integer, number, printable, text

MOST_EPOCHS = 1e9  # no run has more, and no axis can show more


@dataclasses.dataclass(frozen=True, order=True)
class Pretraining:
    """A pre-training without its seed.

    `label` is the path of the run under the folder of the report, without the folder of its seed. `images` is the
    training split, `epochs` the number of epochs that the run was started with, `width` the channels of the backbone's
    first stage. `settings` are the other settings that differ from the published ones, each as text such as "lr = 1". A
    method without w or d_hid has None.
    """

    label: str
    dataset: str
    method: str
    w: float | None
    d_hid: int | None
    images: str
    epochs: int
    batch_size: int
    width: int
    settings: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Run:
    """A folder with the config.json of a run.

    `data_sha256` is the SHA-256 of its training images; None where config.json has none.
    """

    pretraining: Pretraining
    seed: int
    folder: pathlib.Path
    data_sha256: str | None


def find_runs(folder: pathlib.Path) -> list[Run]:
    """Returns the runs under the folder in a fixed order.

    If several have the same name, seed and settings, only the first one counts; of seeds that were not trained on the
    same images, only those with the images of the first one.
    """
    found: dict[tuple[Pretraining, int], Run] = {}
    of_images: dict[Pretraining, Run] = {}
    for run_folder in sorted(_folders_of_runs(folder)):
        if not (run_folder / "config.json").exists():
            left_out.warn("%s is missing; the run is skipped", run_folder / "config.json")
    for path in sorted(folder.rglob("config.json")):
        try:
            run = _read_run(path, folder)
        # RecursionError: thousands of nested brackets
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            left_out.warn("%s is not the config.json of a run, or corrupt; it is skipped: %s", path, describe(error))
            continue
        same = of_images.setdefault(run.pretraining, run) if run.data_sha256 else run
        if run.data_sha256 != same.data_sha256:
            left_out.warn(
                "%s was trained on other images than %s (the data_sha256 of their config.json differ) and is skipped: "
                "rename its folder to include both",
                *(run.folder, same.folder),
            )
            continue
        first = found.setdefault((run.pretraining, run.seed), run)
        if first is not run:
            left_out.warn(
                "%s has the same name, seed and settings as %s and is skipped: rename its folder to include both",
                *(run.folder, first.folder),
            )
    return list(found.values())


def _folders_of_runs(folder: pathlib.Path) -> set[pathlib.Path]:
    """Returns the folders that have what a run leaves, whether or not they have a config.json."""
    of_runs = {path.parent for name in ("checkpoints", "metrics.jsonl") for path in folder.rglob(name)}
    return of_runs | {path.parent.parent for path in folder.rglob("eval/*.jsonl")}


def _read_run(path: pathlib.Path, folder: pathlib.Path) -> Run:
    content = sums.read_json(path)
    config, sha256 = modern(content["config"]), content.get("data_sha256")
    method_keys = settings.method_keys(config["method"])
    seed = integer(config, "seed", 0)
    without_seed = path.parent.parent if path.parent.name == f"seed{seed}" else path.parent
    name = without_seed.relative_to(folder).as_posix() if folder in without_seed.parents else without_seed.name
    pretraining = Pretraining(
        label=printable(name),
        dataset=printable(text(config, "dataset")),
        method=config["method"],
        w=number(config, "w", 0.0, 1.0) if "w" in method_keys else None,
        d_hid=integer(config, "d_hid", 1) if "d_hid" in method_keys else None,
        images=printable(text(config, "train_split")),
        epochs=integer(config, "epochs", 1, int(MOST_EPOCHS)),
        batch_size=integer(config, "batch_size", 1),
        width=integer(config, "width", 1),
        settings=other_settings(config),
    )
    return Run(pretraining, seed, path.parent, None if sha256 is None else text(content, "data_sha256"))
