"""Measures of what features are worth while the encoder trains, as pure functions: no layer is fitted.

All take the features of a backbone in evaluation mode, in float32, and compute in full float32.
"""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

_EXACT = lax.Precision.HIGHEST


def unit(features: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """Returns f / |f|; a norm below 1e-8 counts as 1e-8."""
    return features / jnp.maximum(jnp.linalg.norm(features, axis=-1, keepdims=True), 1e-8)


def rankme(features: Float[np.ndarray, "n d"]) -> float:
    """RankMe, the effective rank of the features (Garrido et al., 2023, eq. 1 and 2): in [1, min(n, d)].

    It is exp(-sum p log p) of p = sigma / |sigma|_1 + 1e-7, with the singular values sigma. 1: all features lie on one
    line through 0, that is, dimensional collapse. Features that are all 0 have 1 too; NaN if one is not finite.

    By LAPACK on the host: an SVD takes a TPU's compiler a minute, and the squares of a Gram matrix would lose the small
    singular values.
    """
    if not np.isfinite(features).all():
        return float("nan")
    sigma = np.linalg.svd(features, compute_uv=False).astype(np.float64)
    p = sigma / max(sigma.sum(), 1e-30) + 1e-7
    return max(1.0, float(np.exp(-(p * np.log(p)).sum())))


def alignment(f1: Float[Array, "n d"], f2: Float[Array, "n d"]) -> Float[Array, ""]:
    """The mean of |u1 - u2|^2 over pairs of views, u = f/|f| (Wang and Isola, 2020, 4.1.1, alpha = 2): in [0, 4].

    0: the features do not depend on the augmentation.
    """
    return jnp.square(unit(f1) - unit(f2)).sum(-1).mean()


def uniformity(features: Float[Array, "n d"]) -> Float[Array, ""]:
    """log of the mean of exp(-2 |u - v|^2) over pairs of images, u = f/|f| (Wang and Isola, 2020, 4.1.2, t = 2).

    It is in (-8, 0]; 0: all features are the same, about -4: they are spread evenly over the sphere.
    """
    n = features.shape[0]
    u = unit(features)
    distances = 2 - 2 * jnp.matmul(u, u.T, precision=_EXACT)  # squared
    others = ~jnp.eye(n, dtype=bool)
    return jnp.log(jnp.where(others, jnp.exp(-2 * distances), 0).sum() / (n * (n - 1)))


def knn_accuracy(
    features: Float[Array, "n d"],
    labels: Int[Array, " n"],
    *,
    num_asked: int,
    k: int,
    temperature: float,
) -> Float[Array, ""]:
    """The fraction of the first `num_asked` images whose label has the greatest weight among their k nearest neighbors.

    The neighbors are among all other images; a neighbor's weight is exp(cosine / temperature) (Wu et al., 2018, 3.4).
    Images without a label, -1, neither vote nor are asked; of labels with the same weight, the nearest counts. NaN if
    no image that is asked has a label.
    """
    u = unit(features)
    cosines = jnp.matmul(u[:num_asked], u.T, precision=_EXACT)
    itself = jnp.arange(num_asked)[:, None] == jnp.arange(len(u))
    cosines = jnp.where(itself | (labels < 0), -jnp.inf, cosines)
    nearest, rows = lax.top_k(cosines, k)
    weights = jnp.exp(nearest / temperature)  # at most exp(1 / T), which float32 holds for T > 0.012

    def winner(asked: tuple[Float[Array, " k"], Int[Array, " k"]]) -> Int[Array, ""]:
        """The label of most weight, all of which are labels of neighbors: a vote per class would take more memory."""
        weight, label = asked
        return label[jnp.where(label[:, None] == label, weight, 0).sum(1).argmax()]

    found = lax.map(winner, (weights, labels[rows]), batch_size=100)
    own = labels[:num_asked]
    return (found == own).sum() / jnp.where((own >= 0).any(), (own >= 0).sum(), jnp.nan)
