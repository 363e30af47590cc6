"""The online probe: the accuracy of the classifier that a method of the report trains on the way. Nothing is trained.

Of a run on unlabelled images (stl10) that classifier is as it was drawn.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float, Int
from ml_collections import ConfigDict

from sidae_jax.errors import UserError
from sidae_jax.evaluation.backbone import Backbone, normalization, restore_method
from sidae_jax.evaluation.linear_probe import accuracy_of
from sidae_jax.methods import METHOD_KEYS
from sidae_jax.runs.checkpoint import Checkpoints


@dataclasses.dataclass(frozen=True)
class Classified(Backbone):
    """A backbone with the classifier that was trained on its features."""

    classifier: nnx.Module = dataclasses.field(kw_only=True)


def check(config: ConfigDict, pretraining: ConfigDict, only_step: int | None) -> None:
    """Raises UserError where the run has no such classifier, or not for what is asked."""
    trained = [name for name, keys in METHOD_KEYS.items() if "classes" in keys]
    if pretraining.method not in trained:
        raise UserError(
            f"config.protocol=online needs a classifier trained on the way, which {pretraining.method} has not: "
            f"give a run of {', '.join(trained)}, or another config, such as --config=configs/linear_eval.py"
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
    """The backbone of a checkpoint and its classifier. Raises checkpoint.CorruptCheckpoint."""
    method, by = restore_method(checkpoints, step), normalization(checkpoints.metadata(step))
    return Classified(network=method.encoder.backbone, normalization=by, classifier=method.classifier)


def accuracy(backbone: Classified, features: Float[np.ndarray, "n d"], labels: Int[np.ndarray, " n"]) -> float:
    """The share of examples whose largest logit, in evaluation mode, is their label's."""
    return accuracy_of(backbone.classifier(jnp.asarray(features), views=0), labels)
