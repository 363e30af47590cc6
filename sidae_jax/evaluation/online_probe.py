"""The online probe: the accuracy of the classifier that a method trains beside the backbone.

The evaluation trains nothing. In a run on unlabelled images (stl10) the classifier keeps its initial values.
"""

import dataclasses

from flax import nnx

from sidae_jax.evaluation.backbone import Backbone, normalization_of, restore_method
from sidae_jax.runs.checkpoint import Checkpoints


@dataclasses.dataclass(frozen=True)
class Classified(Backbone):
    """A backbone and the classifier that was trained on its features."""

    classifier: nnx.Module = dataclasses.field(kw_only=True)


def restore(checkpoints: Checkpoints, step: int, precision: str | None = None) -> Classified:
    """Returns the backbone of a checkpoint and its classifier. Raises CorruptCheckpoint."""
    method = restore_method(checkpoints, step, precision)
    normalization = normalization_of(checkpoints.metadata(step))
    return Classified(method.encoder.backbone, normalization, classifier=method.classifier)
