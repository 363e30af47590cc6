"""The losses as explicit loops in NumPy float64: slow and obvious, to compare the package's with.

Latents are [n, d], images [n, ...]; every function returns a float, the mean over the batch.
"""

import math

import numpy as np


def _dot(a, b) -> float:
    return math.fsum(float(x) * float(y) for x, y in zip(a, b, strict=True))


def ncs(a, b) -> float:
    """Negative cosine similarity -a.b / max(|a| |b|, 1e-8): ncs(x, x) = -1, ncs(x, -x) = 1, ncs(x, 0) = 0.

    ncs([[3, 4]], [[1, 0]]) = -0.6.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    total = 0.0
    for u, v in zip(a, b, strict=True):
        norms = math.sqrt(_dot(u, u)) * math.sqrt(_dot(v, v))
        total += -_dot(u, v) / max(norms, 1e-8)
    return total / len(a)


def mse(a, b) -> float:
    """Mean squared error: mse(x, x) = 0, mse(x, x + 2) = 4, mse([[0, 0]], [[1, 3]]) = 5."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    total = 0.0
    for u, v in zip(a, b, strict=True):
        difference = (u - v).ravel()
        total += _dot(difference, difference) / len(difference)
    return total / len(a)


def simsiam(p1, p2, z1, z2) -> float:
    """Paper's L_si: p1 against z2 and p2 against z1; -1 if all four are equal."""
    return (ncs(p1, z2) + ncs(p2, z1)) / 2


def dae(x, r1, r2) -> float:
    """Paper's L_dae: dae(x, x, x) = 0, dae(x, x + 1, x - 3) = 5."""
    return (mse(x, r1) + mse(x, r2)) / 2


def sidae(x, r1, r2, p1, p2, z1, z2, w: float = 0.5) -> float:
    """Paper's L_sidae = w L_dae + (1 - w) L_si: w - 1 if everything agrees."""
    return w * dae(x, r1, r2) + (1 - w) * simsiam(p1, p2, z1, z2)


def feature_std(z) -> float:
    """sqrt(d) times the mean over dimensions of the (biased) std over the batch of z / |z|.

    0 if all rows point the same way (collapse), about 1 for isotropic rows (SimSiam, Fig. 2);
    feature_std([[1, 0], [0, 1]]) = sqrt(1/2), feature_std of all 2d vectors +-e_i = 1.
    """
    z = np.asarray(z, np.float64)
    n, d = z.shape
    unit = [[float(value) / math.sqrt(_dot(row, row)) for value in row] for row in z]
    total = 0.0
    for j in range(d):
        column = [unit[i][j] for i in range(n)]
        mean = math.fsum(column) / n
        total += math.sqrt(math.fsum((value - mean) ** 2 for value in column) / n)
    return total / d * math.sqrt(d)


def info_nce(z1, z2, t: float) -> float:
    """Each row of z1 against all rows of z2, its own being right; 0 for n = 1, log(n) if all embeddings are equal.

    Two pairs of equal unit vectors, orthogonal to each other, t = 1: log(1 + 1 / e).
    """
    z1, z2 = np.asarray(z1, np.float64), np.asarray(z2, np.float64)
    total = 0.0
    for i, a in enumerate(z1):
        cosines = [_dot(a, b) / (math.sqrt(_dot(a, a)) * math.sqrt(_dot(b, b))) for b in z2]
        terms = [math.exp(cosine / t) for cosine in cosines]
        total += -math.log(terms[i] / math.fsum(terms))
    return total / len(z1)
