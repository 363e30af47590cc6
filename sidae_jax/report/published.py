"""The accuracies that the paper and the report published, and the runs that they compare with."""

import importlib.resources
import json
from typing import NamedTuple

from sidae_jax.report.reference import published_settings
from sidae_jax.report.run_index import Pretraining
from sidae_jax.report.summaries import Summary, Task
from sidae_jax.settings import REPORT_METHODS

# Training and test images (paper, 4.1).
_SIZES = {
    "cifar10": (50_000, 10_000),
    "mnist": (60_000, 10_000),
    "fashion_mnist": (60_000, 10_000),
    "stl10": (5_000, 8_000),
}
_REPORT_NOTE = (
    "the report says that it trains a two-layer MLP on frozen representations, so its AE, VAE and SimCLR stand beside "
    "the MLP probe and its supervised network beside the online probe; but its released code, from which the settings "
    "are taken, measures only the classifier trained on the way, on 1,000 held-out training images: see 'What differs "
    "from the code of the latent-representations report' in docs/experiments.md"
)


class PublishedAccuracy(NamedTuple):
    """A published accuracy in percent. The standard error is None if the source gives none."""

    source: str
    pretrained_on: str
    method: str
    w: float | None
    protocol: str
    evaluated_on: str
    label_fraction: float
    accuracy: float
    standard_error: float | None
    note: str = ""

    def is_of(self, task: Task) -> bool:
        """Returns whether the task is the published one, which has the protocol's default settings."""
        theirs = (self.protocol, self.evaluated_on, self.label_fraction, ())
        return theirs == (task.protocol, task.evaluated_on, task.label_fraction, task.settings)

    def has_settings_of(self, run: Pretraining) -> bool:
        """Returns whether the run has the published settings, except for images, epochs, batch size and width."""
        if run.settings or not has_published_d(run):
            return False
        # w is None in both for a method without a weight
        return (self.pretrained_on, self.method, self.w) == (run.dataset, run.method, run.w)

    @property
    def notes(self) -> list[str]:
        """What a reader has to know about the source and about this accuracy."""
        of_source = _REPORT_NOTE if self.source.startswith("report") else ""
        return [note for note in (of_source, self.note) if note]


def published_accuracies() -> list[PublishedAccuracy]:
    """Returns the contents of published.json."""
    rows = json.loads(importlib.resources.files("sidae_jax.report").joinpath("published.json").read_text())
    return [PublishedAccuracy(**row) for row in rows]


def has_published_d(run: Pretraining) -> bool:
    """Returns whether d_hid is that of the published accuracies; the SidAE paper's goes with the backbone's width."""
    theirs = published_settings(run.method, run.dataset)
    d = theirs.get("d_hid")
    if d is not None and run.method not in REPORT_METHODS:
        d *= run.width / theirs["width"]
    return run.d_hid == d


def has_published_scale(last: Summary) -> bool:
    """Returns whether images, epochs, batch size and width are the published ones, also those of the evaluation."""
    task, run = last.task, last.pretraining
    theirs = published_settings(run.method, run.dataset)
    all_train, all_test = _SIZES.get(task.evaluated_on, (0, 0))
    return (
        (run.images, run.batch_size, run.width) == (theirs["train_split"], theirs["batch_size"], theirs["width"])
        and run.epochs == last.epoch == theirs["epochs"]
        and (task.train_split, task.test_split, task.n_test) == ("train", "test", all_test)
        and task.n_train == round(task.label_fraction * all_train)
    )
