"""Mean and standard deviation by which images are normalized before they enter a network."""

import dataclasses

import numpy as np
from jaxtyping import Float, UInt8, UInt64

from sidae_jax.data.encoded import EncodedImages

_PIXELS_AT_ONCE = 4096 * 32 * 32


@dataclasses.dataclass(frozen=True)
class Normalization:
    """Mean and standard deviation of each channel, of pixels in [0, 1]; part of an encoder, as its weights are."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def as_arrays(self) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
        """Returns both in float32, as images are normalized by them."""
        return np.array(self.mean, np.float32), np.array(self.std, np.float32)


def measure(images: UInt8[np.ndarray, "n h w 3"] | EncodedImages) -> Normalization:
    """Returns mean and standard deviation over all pixels of these images, from exact integer sums.

    A channel without variation gets standard deviation 1.
    """
    total, squares = images.sums.sum(0) if isinstance(images, EncodedImages) else _sums(images)
    count = int(np.prod(images.shape[:3], dtype=np.int64))
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    std = np.where(std > 0, std, 255)
    return Normalization(tuple((mean / 255).tolist()), tuple((std / 255).tolist()))


def pixels(x: Float[np.ndarray, "*shape 3"], normalization: Normalization) -> UInt8[np.ndarray, "*shape 3"]:
    """Returns the pixels of normalized images, clipped to 0..255."""
    mean, std = normalization.as_arrays()
    return np.clip(255 * (x * std + mean), 0, 255).round().astype(np.uint8)


def _sums(images: UInt8[np.ndarray, "n h w 3"]) -> tuple[UInt64[np.ndarray, "3"], UInt64[np.ndarray, "3"]]:
    """Returns the sums of the pixels and of their squares, by channel."""
    total, squares = np.zeros(3, np.uint64), np.zeros(3, np.uint64)
    at_once = max(1, _PIXELS_AT_ONCE // (images.shape[1] * images.shape[2]))
    for start in range(0, len(images), at_once):  # bounds the memory of the copies below
        pixels = images[start : start + at_once].astype(np.uint32)
        total += pixels.sum((0, 1, 2), dtype=np.uint64)
        squares += (pixels * pixels).sum((0, 1, 2), dtype=np.uint64)
    return total, squares
