"""The runs under a folder. What is not a run of this program, or is corrupt, is left out with a warning."""

import dataclasses
import json
import pathlib
from typing import Any

from absl import logging

from sidae_jax.report.reference import other_settings, printable
from sidae_jax.settings import method_keys

# More than these no run has, and no axis can show.
MOST_EPOCHS = 1e9
_LARGEST = 2**53
_LONGEST = 200


@dataclasses.dataclass(frozen=True, order=True)
class Pretraining:
    """What was pre-trained, all of it but the seed. `label` is the name of the run.

    images: the split; epochs: those the run was started with; settings: those that are not the published ones, as text.
    """

    label: str
    dataset: str
    method: str
    w: float | None
    d_hid: int | None
    images: str
    epochs: int
    batch_size: int
    settings: str


@dataclasses.dataclass(frozen=True)
class Run:
    """A folder with the config.json of a run; `name` is that of its folder under the report's, without its seed's."""

    pretraining: Pretraining
    seed: int
    folder: pathlib.Path

    @property
    def name(self) -> str:
        return self.pretraining.label

    @property
    def dataset(self) -> str:
        return self.pretraining.dataset


def runs(folder: pathlib.Path) -> list[Run]:
    """Those under the folder, in a fixed order. Of two with one name, seed and settings the first alone counts."""
    found = {}
    for path in sorted(folder.rglob("config.json")):
        try:
            run = _run(path, folder)
        # RecursionError: brackets in brackets, thousands of them
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            logging.warning("%s is not the config.json of a run, or corrupt; it is left out: %s", path, short(error))
            continue
        first = found.setdefault((run.pretraining, run.seed), run)
        if first is not run:
            logging.warning(
                "%s has the name, seed and settings of %s: it is left out; rename its folder to have both",
                *(run.folder, first.folder),
            )
    return list(found.values())


def _run(path: pathlib.Path, folder: pathlib.Path) -> Run:
    config = json.loads(path.read_text())["config"]
    own = method_keys(config["method"])
    seed = integer(config, "seed", 0)
    of_all_seeds = path.parent.parent if path.parent.name == f"seed{seed}" else path.parent
    name = of_all_seeds.relative_to(folder).as_posix() if folder in of_all_seeds.parents else of_all_seeds.name
    pretraining = Pretraining(
        label=printable(name),
        dataset=printable(text(config, "dataset")),
        method=config["method"],
        w=number(config, "w", 0.0, 1.0) if "w" in own else None,
        d_hid=integer(config, "d_hid", 1) if "d_hid" in own else None,
        images=printable(text(config, "train_split")),
        epochs=integer(config, "epochs", 1, int(MOST_EPOCHS)),
        batch_size=integer(config, "batch_size", 1),
        settings=other_settings(config),
    )
    return Run(pretraining, seed, path.parent)


def text(record: dict[str, Any], key: str) -> str:
    """The text record[key], not a long one. Raises ValueError, or KeyError, or TypeError where record is none."""
    if not isinstance(record[key], str) or len(record[key]) > _LONGEST:
        raise ValueError(f"{key} is {record[key]!r}, no text of at most {_LONGEST} characters")
    return record[key]


def number(record: dict[str, Any], key: str, low: float, high: float) -> float:
    """The number record[key], in [low, high]. Raises as `text`."""
    value = record[key]
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{key} is {value!r}, no number in [{low:g}, {high:g}]")
    return float(value)


def integer(record: dict[str, Any], key: str, low: int, high: int = _LARGEST) -> int:
    """The whole number record[key], in [low, high]. Raises as `text`."""
    value = record[key]
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{key} is {value!r}, no whole number in [{low}, {high}]")
    return value


def short(error: Exception) -> str:
    """One line of a warning."""
    message = printable(f"{type(error).__name__}: {error}")
    return message if len(message) <= 200 else message[:197] + "..."
