"""The results of a run's evaluations for its model card, averaged over seeds as the report averages them."""

import dataclasses
import os
from typing import Any

from sidae_jax.exports.encoder import Exported
from sidae_jax.report import run_index, summaries
from sidae_jax.report.summaries import Summary, Task


@dataclasses.dataclass(frozen=True)
class Result:
    """What an evaluation measured of this encoder, in percent, and of those of the other seeds of its run.

    accuracy: of this encoder; untrained: of the backbone before its first step, None if that was not measured.
    mean, standard_error: of `seeds` pre-trainings at the same step; the error is None for a single one.
    """

    task: Task
    accuracy: float
    untrained: float | None
    mean: float
    standard_error: float | None
    seeds: int

    @property
    def data(self) -> str:
        """The data set; of a folder of images its name alone, since others need not know where it lay."""
        name, _, rest = self.task.evaluated_on.partition(" ")
        path, share, more = rest.rpartition(", test_share = ")  # the path may have commas
        path, more = (path, more) if share else (more, "")
        return f"{name} {os.path.basename(path)}{share}{more}".strip()

    @property
    def title(self) -> str:
        """Such as "linear probe, 1% of the labels"."""
        task = self.task
        name = summaries.PROTOCOLS[task.protocol].title
        labels = f", {100 * task.label_fraction:g}% of the labels" if task.label_fraction < 1 else ""
        return f"{name}{labels}{''.join(f', {text}' for text in task.settings)}"


def of_run(exported: Exported) -> list[Result]:
    """Returns the results of the exported checkpoint in the files of its run, in a fixed order; others are none.

    Where the run is one of several seeds, in folders seed0, seed1, ... beside it, theirs are taken for the mean.
    """
    run = exported.run
    of_seeds = run.name == f"seed{exported.config['seed']}"
    found = run_index.find_runs(run.parent if of_seeds else run)
    own = next((each for each in found if each.folder == run), None)
    if own is None:
        return []
    rows = summaries.read(each for each in found if each.pretraining == own.pretraining)
    mine, all_seeds = (
        {(each.task, each.step): each for each in summaries.summarize(some)}
        for some in ([row for row in rows if row.seed == own.seed], rows)
    )
    return [_result(task, mine, all_seeds, step) for task, step in sorted(mine) if step == exported.step]


def _result(task: Task, mine: dict[Any, Summary], all_seeds: dict[Any, Summary], step: int) -> Result:
    untrained, everyone = mine.get((task, 0)), all_seeds[task, step]
    return Result(
        task,
        accuracy=mine[task, step].mean,
        untrained=None if untrained is None else untrained.mean,
        mean=everyone.mean,
        standard_error=everyone.standard_error,
        seeds=everyone.seeds,
    )
