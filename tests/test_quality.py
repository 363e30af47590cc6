"""The measures of features against SciPy, scikit-learn and cases known by hand."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.spatial.distance
from sklearn.neighbors import KNeighborsClassifier

from sidae_jax import quality

RNG = np.random.default_rng(0)


def f32(array):
    return jnp.asarray(array, jnp.float32)


@pytest.mark.parametrize(("n", "d"), [(200, 16), (20, 50)])
def test_rankme_is_the_exponential_of_the_entropy_of_the_singular_values(n, d):
    features = RNG.normal(size=(n, d)) * np.geomspace(1, 1e-3, d)
    sigma = scipy.linalg.svdvals(features)
    p = sigma / sigma.sum() + 1e-7
    assert float(quality.rankme(np.float32(features))) == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-4)


def test_rankme_of_known_spectra():
    orthogonal = scipy.linalg.qr(RNG.normal(size=(300, 8)), mode="economic")[0]
    assert float(quality.rankme(np.float32(orthogonal))) == pytest.approx(8, rel=1e-3)
    assert float(quality.rankme(np.float32(orthogonal * [1, 1, 1, 0, 0, 0, 0, 0]))) == pytest.approx(3, rel=1e-3)
    one_line = np.float32(np.outer(RNG.normal(size=300), RNG.normal(size=64)))
    assert float(quality.rankme(one_line)) == pytest.approx(1, abs=1e-3)  # a Gram matrix would say more than 1.1
    assert quality.rankme(np.zeros((300, 64), np.float32)) == pytest.approx(1, abs=1e-3)
    assert np.isnan(quality.rankme(np.full((300, 64), np.nan, np.float32)))


def test_alignment_and_uniformity():
    f1, f2 = RNG.normal(size=(2, 50, 6)) * RNG.uniform(0.1, 10, (2, 50, 1))
    u1, u2 = (f / np.linalg.norm(f, axis=1, keepdims=True) for f in (f1, f2))
    wanted = np.mean([scipy.spatial.distance.sqeuclidean(*pair) for pair in zip(u1, u2, strict=True)])
    assert float(quality.alignment(f32(f1), f32(f2))) == pytest.approx(wanted, rel=1e-5)
    wanted = np.log(np.exp(-2 * scipy.spatial.distance.pdist(u1, "sqeuclidean")).mean())
    assert float(quality.uniformity(f32(f1))) == pytest.approx(wanted, rel=1e-5)
    same = f32(np.tile(f1[:1], (50, 1)))
    assert float(quality.uniformity(same)) == pytest.approx(0, abs=1e-5)
    assert float(quality.alignment(f32(f1), f32(-f1))) == pytest.approx(4, rel=1e-5)


def by_scikit_learn(features, labels, asked, k, temperature):
    """Each image asked about all others that have a label."""
    right = []
    for i in range(asked):
        if labels[i] < 0:
            continue
        others = (labels >= 0) & (np.arange(len(labels)) != i)
        model = KNeighborsClassifier(
            k, weights=lambda distances: np.exp((1 - distances) / temperature), algorithm="brute", metric="cosine"
        )
        right.append(model.fit(features[others], labels[others]).predict(features[i : i + 1])[0] == labels[i])
    return np.mean(right)


@pytest.mark.parametrize("k", [1, 7])
def test_knn_asks_each_image_about_the_others(k):
    labels = RNG.integers(0, 4, 90)
    features = RNG.normal(size=(90, 5)) + 0.8 * RNG.normal(size=(4, 5))[labels]
    labels[RNG.permutation(90)[:20]] = -1
    assert -1 in labels[:40]
    found = quality.knn_accuracy(f32(features), jnp.asarray(labels), num_asked=40, k=k, temperature=0.07)
    wanted = by_scikit_learn(features, labels, 40, k, 0.07)
    assert 0.3 < wanted < 0.95
    assert float(found) == pytest.approx(wanted, abs=1e-6)


def test_knn_without_a_labeled_image_is_not_a_number():
    labels = jnp.array([-1, -1, 0, 1])
    found = quality.knn_accuracy(f32(RNG.normal(size=(4, 3))), labels, num_asked=2, k=1, temperature=0.07)
    assert np.isnan(found)
