"""Features of a data set's splits, computed once for a backbone and kept in the workdir."""

import hashlib
import io
import json
import pathlib

import numpy as np
from absl import logging
from jaxtyping import Float

from sidae_jax import data
from sidae_jax.evaluation.backbone import Backbone, features
from sidae_jax.runs.checkpoint import arrays_sha256
from sidae_jax.runs.files import write_bytes, write_text


def cached_features(
    folder: pathlib.Path, name: str, backbone: Backbone, images: data.Images
) -> Float[np.ndarray, "n features"]:
    """The features of `images`, read from `folder` where they were made from the same weights and images.

    `name` is for people; the file is named after it and the SHA-256 of what the features follow from. A corrupt
    file is made again, with a warning.
    """
    made_from = [arrays_sha256(backbone.arrays()), images.sha256(), repr(backbone.normalization)]
    key = hashlib.sha256("\n".join(made_from).encode()).hexdigest()[:16]
    path, sidecar = folder / f"{name}-{key}.npy", folder / f"{name}-{key}.json"
    if path.exists() and sidecar.exists():
        try:
            found = path.read_bytes()
            if hashlib.sha256(found).hexdigest() == json.loads(sidecar.read_text())["sha256"]:
                return np.load(io.BytesIO(found), allow_pickle=False)
            raise ValueError("its checksum does not match")
        except (OSError, ValueError, KeyError, TypeError) as error:
            logging.warning("The cached features %s are corrupt (%s) and are made again.", path, error)
    result = features(backbone, images.images)
    file = io.BytesIO()
    np.save(file, result, allow_pickle=False)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(sidecar, json.dumps({"sha256": hashlib.sha256(file.getbuffer()).hexdigest()}))
    write_bytes(path, file.getbuffer())
    return result
