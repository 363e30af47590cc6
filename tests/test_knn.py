"""The nearest neighbors of features against a loop in NumPy."""

import numpy as np
import pytest

from sidae_jax.evaluation import knn
from sidae_jax.evaluation.protocols import NearestNeighbors


def test_knn_by_the_loop():
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(3, 5))
    labels = rng.integers(0, 3, 70)
    x = (centers[labels] + 1.5 * rng.normal(size=(70, 5))).astype(np.float32)
    train_x, test_x = x[:50], x[50:]

    def predicted(example, k, temperature):
        cosines = train_x @ example / np.linalg.norm(train_x, axis=1) / np.linalg.norm(example)
        votes = np.zeros(3)
        for row in np.argsort(-cosines)[:k]:
            votes[labels[row]] += np.exp(cosines[row] / temperature)
        return votes.argmax()

    found = {}
    for k, temperature in ((1, 1.0), (7, 0.07), (7, 10.0), (50, 0.07)):
        wanted = np.mean([predicted(e, k, temperature) == y for e, y in zip(test_x, labels[50:], strict=True)])
        found[k, temperature] = knn.accuracy(
            train_x, labels[:50], test_x, labels[50:], NearestNeighbors(k, temperature)
        )
        assert found[k, temperature] == pytest.approx(wanted)
    assert found[7, 0.07] != found[7, 10.0] != found[50, 0.07]
