"""Mean and standard deviation by which images are normalized before they enter a network."""

import dataclasses

import numpy as np
from jaxtyping import UInt8

_PIXELS_AT_ONCE = 4096 * 32 * 32


@dataclasses.dataclass(frozen=True)
class Normalization:
    """Mean and standard deviation of each channel, of pixels in [0, 1]; part of an encoder, as its weights are."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def measure(images: UInt8[np.ndarray, "n h w 3"]) -> Normalization:
    """Returns mean and standard deviation over all pixels of these images, from exact integer sums.

    A channel without variation gets standard deviation 1.
    """
    total, squares = np.zeros(3, np.uint64), np.zeros(3, np.uint64)
    at_once = max(1, _PIXELS_AT_ONCE // (images.shape[1] * images.shape[2]))
    for start in range(0, len(images), at_once):  # bounds the memory of the copies below
        pixels = images[start : start + at_once].astype(np.uint32)
        total += pixels.sum((0, 1, 2), dtype=np.uint64)
        squares += (pixels * pixels).sum((0, 1, 2), dtype=np.uint64)
    count = images[..., 0].size
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    std = np.where(std > 0, std, 255)
    return Normalization(tuple((mean / 255).tolist()), tuple((std / 255).tolist()))
