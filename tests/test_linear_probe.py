"""The linear probe against SGD in NumPy, and the subset of the labels."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sidae_jax import streams
from sidae_jax.evaluation.fit import accuracy
from sidae_jax.evaluation.linear_probe import logits, train_probe
from sidae_jax.evaluation.protocols import LinearProbe
from sidae_jax.evaluation.run import labeled_rows


def numpy_sgd(layer, x, labels, batches, lr, momentum):
    """SGD with momentum on the mean cross-entropy of each batch of rows, in float64."""
    kernel, bias = (np.asarray(layer[name], np.float64) for name in ("kernel", "bias"))
    velocity_kernel, velocity_bias = np.zeros_like(kernel), np.zeros_like(bias)
    for rows in batches:
        z = x[rows].astype(np.float64) @ kernel + bias
        p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
        error = (p - np.eye(len(bias))[labels[rows]]) / len(rows)
        velocity_kernel = momentum * velocity_kernel + x[rows].T @ error
        velocity_bias = momentum * velocity_bias + error.sum(0)
        kernel, bias = kernel - lr * velocity_kernel, bias - lr * velocity_bias
    return {"kernel": kernel, "bias": bias}


@pytest.fixture
def examples():
    rng = np.random.default_rng(0)
    return rng.normal(size=(10, 6)).astype(np.float32), rng.integers(0, 3, 10).astype(np.int32)


def assert_layers_close(found, wanted):
    for name in "kernel", "bias":
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("batch_size", [10, 16])
def test_a_probe_of_one_batch_an_epoch_is_numpys_whatever_its_padding(examples, batch_size):
    settings = LinearProbe(epochs=7, batch_size=batch_size, lr=0.5, momentum=0.8)
    start = train_probe(*examples, 3, dataclasses.replace(settings, epochs=0), seed=5)
    wanted = numpy_sgd(start, *examples, [np.arange(10)] * 7, 0.5, 0.8)
    assert_layers_close(train_probe(*examples, 3, settings, seed=5), wanted)


def test_a_probes_last_batch_has_a_mean_of_its_own(examples):
    settings = LinearProbe(epochs=3, batch_size=4, lr=0.5, momentum=0.8)
    start = train_probe(*examples, 3, dataclasses.replace(settings, epochs=0), seed=5)
    keys = jax.random.split(streams.fold(jax.random.key(5), streams.Stream.PROBE_ORDER), 3)
    orders = [np.asarray(jax.random.permutation(key, 10)) for key in keys]
    assert len({tuple(order) for order in orders}) == 3
    batches = [order[i : i + 4] for order in orders for i in (0, 4, 8)]
    assert_layers_close(train_probe(*examples, 3, settings, seed=5), numpy_sgd(start, *examples, batches, 0.5, 0.8))


def test_a_probe_starts_as_pytorchs_linear_layer_and_follows_its_seed(examples):
    x, labels = np.zeros((1, 400), np.float32), np.zeros(1, np.int32)
    start = train_probe(x, labels, 10, LinearProbe(epochs=0), seed=0)
    assert 0.049 < np.abs(start["kernel"]).max() <= 0.05  # 400 ** -0.5
    np.testing.assert_allclose([np.mean(start["kernel"]), np.std(start["kernel"])], [0, 0.05 / 3**0.5], atol=2e-3)
    layers = [train_probe(*examples, 3, LinearProbe(epochs=2, batch_size=4), seed=seed) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(layers[0]["kernel"], layers[1]["kernel"])
    assert (layers[0]["kernel"] != layers[2]["kernel"]).all()


def test_accuracy_by_hand():
    layer = {"kernel": np.eye(3, dtype=np.float32), "bias": np.array([0, 0, 1], np.float32)}
    x = np.array([[2, 0, 0], [0, 2, 0], [0, 0.5, 0], [0, 0, -9]], np.float32)  # predicted: 0, 1, 2, 0
    layer = jax.tree.map(jnp.asarray, layer)
    assert accuracy(logits(layer, x), np.array([0, 1, 2, 1])) == 0.75
    assert accuracy(logits(layer, x), np.array([1, 2, 0, 1])) == 0


def test_the_labeled_rows_are_fixed_and_nested():
    rows = labeled_rows(1437, 0.1)
    assert len(rows) == 144
    assert (np.diff(rows) > 0).all()
    assert rows[0] >= 0
    assert rows[-1] < 1437
    assert rows[:5].tolist() == [3, 5, 24, 37, 58]  # another subset would give other published numbers
    np.testing.assert_array_equal(rows, labeled_rows(1437, 0.1))
    assert set(labeled_rows(1437, 0.01)) < set(rows)
    np.testing.assert_array_equal(labeled_rows(50, 1.0), np.arange(50))
    assert len(labeled_rows(50, 1e-6)) == 1
