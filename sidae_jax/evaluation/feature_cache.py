"""Features of a data set's splits, computed once for a backbone and kept in the workdir."""

import pathlib
from typing import Any

import numpy as np
from jaxtyping import Float

from sidae_jax import array_cache, data
from sidae_jax.errors import UserError
from sidae_jax.evaluation.backbone import Backbone, compute_features
from sidae_jax.networks import conv_onednn
from sidae_jax.runs.checkpoint import arrays_sha256


def cached_features(
    folder: pathlib.Path, name: str, backbone: Backbone, images: data.Images
) -> Float[np.ndarray, "n features"]:
    """Returns the features of `images`, read from `folder` if they were computed from the same weights and images.

    `name` is for people; the file has it in its name.
    """
    made_from = {
        "backbone": arrays_sha256(backbone.arrays()),
        "images": images.sha256(),
        "normalization": repr(backbone.normalization),
        "precision": backbone.network.precision,
        "onednn": conv_onednn.in_use(),
    }

    decoded: Any = images.images  # as is all that an evaluation loads

    def build() -> array_cache.Arrays:
        return {"features": compute_features(backbone, decoded)}

    found = array_cache.load_or_build(folder, name, ("features",), made_from, build)["features"]
    if found.ndim != 2 or len(found) != len(decoded) or found.dtype != np.float32:  # its checksum is right
        raise UserError(
            f"{folder} has features {name} of dtype {found.dtype} and shape {found.shape}, and float32 of "
            f"{len(decoded)} images are wanted: delete that folder"
        )
    return found
