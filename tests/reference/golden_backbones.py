"""What the values in golden_backbones.npz are of: weights by a formula, so that only results are stored. No PyTorch."""

import zlib

import numpy as np

WIDTH, IMAGES = 4, 6
BLOCKS = {"resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3), "resnet18_gn": (2, 2, 2, 2)}
_RANGES = {"scale": (0.5, 1.5), "bias": (0.2, 0.8), "mean": (-0.3, 0.3), "var": (0.5, 1.5)}
_KEPT = 48  # values of each gradient that are stored


def uniform(name: str, shape: tuple[int, ...], low: float, high: float) -> np.ndarray:
    """float32 values that depend on the name and the place alone, the same on every platform (SplitMix64)."""
    with np.errstate(over="ignore"):
        z = np.arange(1, np.prod(shape) + 1, dtype=np.uint64) + np.uint64(zlib.crc32(name.encode()) << 20)
        z *= np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (low + (high - low) * (z >> np.uint64(11)) / 2**53).reshape(shape).astype(np.float32)


def weight(backbone: str, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The value of a parameter or statistic, by this package's name and in its layout.

    The ranges keep the network well conditioned in float32, as in make_golden.py's `perturb`.
    """
    if len(shape) == 4:
        bound = (6 / (shape[0] * shape[1] * shape[3])) ** 0.5
        return uniform(name, shape, -bound, bound)
    last_of_block = "norm3.scale" if backbone == "resnet50" else "norm2.scale"
    small = name.endswith(last_of_block)
    return uniform(name, shape, *((0.1, 0.5) if small else _RANGES[name.rpartition(".")[2]]))


def images() -> np.ndarray:
    """[6, 3, 32, 32] normalized: blocks of 4 by 4 pixels of one color, with noise."""
    coarse = uniform("images", (IMAGES, 3, 8, 8), -2, 2).repeat(4, 2).repeat(4, 3)
    return coarse + uniform("noise", coarse.shape, -0.3, 0.3)


def pull(features: int) -> np.ndarray:
    """The gradient at the features: the loss is the sum of their products with this."""
    return uniform("pull", (IMAGES, features), -1, 1)


def kept(gradient: np.ndarray) -> np.ndarray:
    """Its norm, and values at places spread over it."""
    flat = np.asarray(gradient, np.float64).ravel()
    return np.append(np.linalg.norm(flat), flat[:: -(-flat.size // _KEPT)]).astype(np.float32)
