"""The weighted nearest neighbors of Wu et al. (2018), on frozen features: no training, no setting to tune."""

import numpy as np
from jaxtyping import Float, Int
from sklearn.neighbors import KNeighborsClassifier

from sidae_jax.evaluation.settings import KnnSettings


def accuracy(
    train: Float[np.ndarray, "n d"],
    train_labels: Int[np.ndarray, " n"],
    test: Float[np.ndarray, "m d"],
    test_labels: Int[np.ndarray, " m"],
    settings: KnnSettings,
) -> float:
    """The share of test examples for whose label the k most similar training examples have the greatest weight."""
    neighbors = KNeighborsClassifier(
        min(settings.k, len(train)),
        weights=lambda distances: np.exp((1 - distances) / settings.temperature),  # sklearn's is 1 - cosine
        algorithm="brute",
        metric="cosine",
    )
    return float(neighbors.fit(train, train_labels).score(test, test_labels))
