"""Weighted nearest neighbors (Wu et al., 2018) on frozen features: no training, nothing to tune."""

import numpy as np
from jaxtyping import Float, Int
from sklearn.neighbors import KNeighborsClassifier

from sidae_jax.evaluation.protocols import NearestNeighbors


def accuracy(
    train: Float[np.ndarray, "n d"],
    train_labels: Int[np.ndarray, " n"],
    test: Float[np.ndarray, "m d"],
    test_labels: Int[np.ndarray, " m"],
    settings: NearestNeighbors,
) -> float:
    """Returns the fraction of test examples whose label has the greatest weight among its k nearest neighbors."""
    neighbors = KNeighborsClassifier(
        min(settings.k, len(train)),
        # scikit-learn's distance is 1 - cosine
        weights=lambda distances: np.exp((1 - distances) / settings.temperature),
        algorithm="brute",
        metric="cosine",
    )
    return float(neighbors.fit(train, train_labels).score(test, test_labels))
