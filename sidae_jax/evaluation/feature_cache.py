"""Features of a data set's splits, computed once for a backbone and kept in the workdir."""

import hashlib
import json
import pathlib

import numpy as np
from absl import logging
from jaxtyping import Float

from sidae_jax import data
from sidae_jax.checkpoint import array_sha256, arrays_sha256
from sidae_jax.evaluation.backbone import Backbone, features


def cached_features(
    folder: pathlib.Path, name: str, backbone: Backbone, images: data.Images
) -> Float[np.ndarray, "n features"]:
    """The features of `images`, read from `folder` where they were made from the same weights and images.

    `name` is for people; the file is named after it and the SHA-256 of what the features follow from. A damaged
    file is made again, with a warning.
    """
    made_from = [arrays_sha256(backbone.arrays()), images.sha256(), repr(backbone.normalisation)]
    key = hashlib.sha256("\n".join(made_from).encode()).hexdigest()[:16]
    path, sidecar = folder / f"{name}-{key}.npy", folder / f"{name}-{key}.json"
    if path.exists() and sidecar.exists():
        try:
            found = np.load(path, allow_pickle=False)
            if array_sha256(found) == json.loads(sidecar.read_text())["sha256"]:
                return found
            raise ValueError("its checksum does not match")
        except (OSError, ValueError, KeyError, TypeError) as error:
            logging.warning("The cached features %s are damaged (%s) and are made again.", path, error)
    result = features(backbone, images.images)
    folder.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp.npy")
    np.save(temporary, result, allow_pickle=False)
    sidecar.write_text(json.dumps({"sha256": array_sha256(result)}))
    temporary.replace(path)
    return result
