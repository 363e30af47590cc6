"""The online probe: the accuracy of the classifier that a method trains beside the backbone.

The evaluation trains nothing. In a run on unlabelled images (stl10) the classifier keeps its initial values.
"""

import dataclasses

from flax import nnx
from ml_collections import ConfigDict

from sidae_jax.errors import UserError
from sidae_jax.evaluation.backbone import Backbone, normalization_of, restore_method
from sidae_jax.runs.checkpoint import Checkpoints
from sidae_jax.settings import METHOD_SETTINGS, method_keys


@dataclasses.dataclass(frozen=True)
class Classified(Backbone):
    """A backbone and the classifier that was trained on its features."""

    classifier: nnx.Module = dataclasses.field(kw_only=True)


def check(config: ConfigDict, pretraining: ConfigDict, only_step: int | None) -> None:
    """Raises UserError if the run has no such classifier, or none for what is asked."""
    if "num_classes" not in method_keys(pretraining.method):
        having = ", ".join(method for method in METHOD_SETTINGS if "num_classes" in method_keys(method))
        raise UserError(
            f"config.protocol=online needs a classifier trained on the way, which {pretraining.method} does not have: "
            f"give a run of {having}, or another config, such as --config=configs/linear_eval.py"
        )
    if config.dataset not in (None, pretraining.dataset):
        raise UserError(
            f"config.dataset={config.dataset} cannot be evaluated online by a classifier trained on "
            f"{pretraining.dataset}: leave --config.dataset out, or give another config, such as "
            "--config=configs/mlp_eval.py"
        )
    if pretraining.train_split.startswith("unlabelled") and "+" not in pretraining.train_split:
        raise UserError(
            f"config.protocol=online needs labels, and the run was on {pretraining.dataset} "
            f"{pretraining.train_split}, whose images have none: give another config, such as "
            "--config=configs/mlp_eval.py"
        )
    if only_step == 0:
        raise UserError(
            "--step=0, the untrained backbone, has no trained classifier: give the step of a checkpoint, or no --step"
        )


def restore(checkpoints: Checkpoints, step: int) -> Classified:
    """Returns the backbone of a checkpoint and its classifier. Raises CorruptCheckpoint."""
    method = restore_method(checkpoints, step)
    normalization = normalization_of(checkpoints.metadata(step))
    return Classified(method.encoder.backbone, normalization, classifier=method.classifier)
