"""Siamese denoising autoencoders (SidAE) and the methods they are compared with, in JAX."""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sidae_jax.evaluation.backbone import Backbone

__version__ = "0.1.0"


def load_encoder(run: str | os.PathLike, step: int | str | None = None) -> "Backbone":
    """Loads the backbone of a run's last checkpoint, of the one at `step`, or the one that a run was exported as.

    step: "best" is the one with the highest kNN.

    encoder = sidae_jax.load_encoder("runs/cifar10-sidae"), for example. encoder(images) takes the run's size of images,
    uint8 [n, size, size, 3], 0..255, which it normalizes as the pre-training did, and returns float32 features [n, d],
    d = 512 for ResNet-18. The Flax module is `encoder.network`.

    run: the folder of a run, or what sidae_jax.export wrote: FILE.safetensors, or a folder for the Hugging Face hub.

    Raises:
      UserError: there is no such run, checkpoint or file, it is corrupt, or the images are of another shape or dtype.
    """
    from sidae_jax.errors import UserError
    from sidae_jax.evaluation.backbone import restore_backbone  # imports JAX
    from sidae_jax.exports import encoder
    from sidae_jax.runs import pretrained
    from sidae_jax.runs.checkpoint import Checkpoints

    if (file := encoder.exported_file(run)) is not None:
        if step is not None:
            raise UserError(f"step={step!r} has no meaning for {run}, which holds one encoder: leave it out")
        return encoder.load(file)
    with Checkpoints(pretrained.run_folder(run, "run"), read_only=True) as checkpoints:
        return restore_backbone(checkpoints, pretrained.one_step(checkpoints, step))
