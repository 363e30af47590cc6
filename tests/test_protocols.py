"""The protocols beside the linear probe: each against NumPy, and all of them by the program's own function."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.sharding import Mesh
from saved_runs import NORMALIZATION, PRETRAINING, save, state_arrays
from test_linear_probe import assert_layers_close, numpy_sgd

from sidae_jax import data, streams
from sidae_jax.evaluation import backbone as backbones
from sidae_jax.evaluation import config, finetune, fit, mlp_probe, results
from sidae_jax.evaluation.fit import accuracy
from sidae_jax.evaluation.fit import train_network as train
from sidae_jax.evaluation.protocols import PROTOCOLS, FineTuning, MlpProbe
from sidae_jax.evaluation.run import evaluate
from sidae_jax.networks.layers import Linear
from sidae_jax.runs import checkpoint


@pytest.fixture(scope="module")
def images():
    return data.load("digits", "train[:40]")


@pytest.fixture(scope="module")
def backbone():
    metadata = {"config": PRETRAINING.to_dict(), "normalization": dataclasses.asdict(NORMALIZATION)}
    # statistics of other images than those it is tuned on: of the same ones the first layer's would not move
    return backbones.untrained_backbone(metadata, data.load("digits", "train[40:80]").images)


@pytest.fixture
def examples():
    rng = np.random.default_rng(0)
    return rng.normal(size=(10, 6)).astype(np.float32), rng.integers(0, 3, 10).astype(np.int32)


class OneLayer(nnx.Module):
    def __init__(self, kernel, bias):
        self.linear = Linear(*kernel.shape, rng=np.random.default_rng(0))
        self.linear.kernel[...], self.linear.bias[...] = jnp.asarray(kernel), jnp.asarray(bias)

    def __call__(self, x):
        return self.linear(x)


@pytest.mark.parametrize("batch_size", [10, 64])
def test_training_is_numpys_sgd(examples, batch_size):
    rng = np.random.default_rng(1)
    start = {"kernel": rng.normal(size=(6, 3)).astype(np.float32), "bias": rng.normal(size=3).astype(np.float32)}
    network = OneLayer(**start)
    loop = {"epochs": 7, "batch_size": batch_size, "seed": 0, "what": "test"}
    trained = train(network, optax.sgd(0.5, 0.8), *examples, **loop)
    wanted = numpy_sgd(start, *examples, [np.arange(10)] * 7, 0.5, 0.8)
    assert_layers_close({"kernel": trained.linear.kernel[...], "bias": trained.linear.bias[...]}, wanted)
    np.testing.assert_array_equal(network.linear.kernel[...], start["kernel"])


@pytest.mark.parametrize(("batch_size", "used"), [(4, 10), (3, 9), (10, 10), (64, 10)])
def test_an_epoch_goes_through_all_examples_in_an_order_of_the_seed(batch_size, used):
    """Each example has a feature of its own: its row of the kernel moves when it is in a batch, and only then.

    A single example left over, here by a batch_size of 3, is not: BatchNorm would make zeros of it.
    """
    x, labels = np.eye(10, dtype=np.float32), np.zeros(10, np.int32)

    def steps(seed):
        network = OneLayer(np.zeros((10, 3), np.float32), np.zeros(3, np.float32))
        loop = {"epochs": 1, "batch_size": batch_size, "seed": seed, "what": "test"}
        return np.asarray(train(network, optax.sgd(1.0), x, labels, **loop).linear.kernel[...])[:, 0]

    assert [(steps(seed) != 0).sum() for seed in range(4)] == [used] * 4
    assert batch_size >= 10 or len({tuple(steps(seed)) for seed in range(4)}) > 1
    np.testing.assert_array_equal(steps(2), steps(2))


def batches_of(seed, n, batch_size, epochs):
    """The rows of the batches of a training, the last of an epoch smaller."""
    rng = streams.generator(streams.Stream.PROBE_ORDER, seed)
    orders = [rng.permutation(n) for _ in range(epochs)]
    return [order[i : i + batch_size] for order in orders for i in range(0, n, batch_size)]


def test_the_last_batch_of_an_epoch_has_a_mean_of_its_own(examples):
    rng = np.random.default_rng(1)
    start = {"kernel": rng.normal(size=(6, 3)).astype(np.float32), "bias": rng.normal(size=3).astype(np.float32)}
    loop = {"epochs": 3, "batch_size": 4, "seed": 5, "what": "test"}
    trained = train(OneLayer(**start), optax.sgd(0.5, 0.8), *examples, **loop)
    wanted = numpy_sgd(start, *examples, batches_of(5, 10, 4, 3), 0.5, 0.8)
    assert_layers_close({"kernel": trained.linear.kernel[...], "bias": trained.linear.bias[...]}, wanted)


def test_batchnorm_sees_the_examples_of_the_last_batch_alone(examples):
    """At a learning rate of 0 the first layer stays as it is, and the running statistics follow from its outputs."""
    x, labels = examples
    mlp = mlp_probe.Mlp(6, 3, hidden=8, rng=np.random.default_rng(0))
    loop = {"epochs": 2, "batch_size": 4, "seed": 5, "what": "test"}
    trained = train(mlp, optax.sgd(0.0), x, labels, **loop)
    h, mean, var = np.asarray(mlp.linear1(jnp.asarray(x)), np.float64), np.zeros(8), np.ones(8)
    for rows in batches_of(5, 10, 4, 2):
        mean, var = 0.9 * mean + 0.1 * h[rows].mean(0), 0.9 * var + 0.1 * h[rows].var(0, ddof=1)
    np.testing.assert_allclose(trained.norm1.mean[...], mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(trained.norm1.var[...], var, rtol=1e-4)


@pytest.mark.parametrize(("n", "batch_size", "devices"), [(40, 16, 8), (34, 12, 6), (40, 40, 8)])
def test_training_on_several_devices_is_that_on_one(n, batch_size, devices, monkeypatch):
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(n, 6)).astype(np.float32), rng.integers(0, 3, n).astype(np.int32)
    loop = {"epochs": 3, "batch_size": batch_size, "seed": 5, "what": "test"}
    optimizer, epoch, calls = optax.sgd(0.1, 0.9), fit._epoch, []
    monkeypatch.setattr(fit, "_epoch", lambda *arguments: calls.append(arguments) or epoch(*arguments))
    several = train(mlp_probe.Mlp(6, 3, hidden=8, rng=np.random.default_rng(0)), optimizer, x, labels, **loop)
    assert len(several.linear1.kernel[...].sharding.device_set) == devices
    program = epoch.lower(*calls[0]).compile().as_text()
    assert f"f32[{batch_size // devices},8]" in program  # a device's part of the first layer
    assert f"f32[{batch_size},8]" not in program
    monkeypatch.setattr(fit, "local_mesh", lambda _: Mesh(np.array(jax.devices()[:1]), ("data",)))
    one = train(mlp_probe.Mlp(6, 3, hidden=8, rng=np.random.default_rng(0)), optimizer, x, labels, **loop)
    for found, wanted in zip(jax.tree.leaves(nnx.state(several)), jax.tree.leaves(nnx.state(one)), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_fine_tuning_on_several_devices_is_that_on_one(backbone, images, monkeypatch):
    """One step; after several, rounding decides which of two pixels of a maximum gets the gradient."""
    settings = FineTuning(epochs=1, batch_size=40, lr=0.3)
    several = finetune.finetune(backbone, images.images, images.labels, 10, settings, seed=4)
    monkeypatch.setattr(fit, "local_mesh", lambda _: Mesh(np.array(jax.devices()[:1]), ("data",)))
    one = finetune.finetune(backbone, images.images, images.labels, 10, settings, seed=4)
    assert len(several.linear.kernel[...].sharding.device_set) == 8
    for found, wanted in zip(jax.tree.leaves(nnx.state(several)), jax.tree.leaves(nnx.state(one)), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)


def test_a_training_is_compiled_once_for_all_epochs(examples):
    optimizer, loop = optax.sgd(0.125), {"batch_size": 4, "seed": 5, "what": "test"}
    network, before = OneLayer(np.ones((6, 3), np.float32), np.zeros(3, np.float32)), fit._epoch._cache_size()
    train(network, optimizer, *examples, epochs=5, **loop)
    assert fit._epoch._cache_size() == before + 1


def test_mlp_is_linear_batchnorm_relu_linear(examples):
    x, _ = examples
    mlp = mlp_probe.Mlp(6, 3, hidden=8, rng=np.random.default_rng(0))
    parameters = (mlp.linear1.kernel, mlp.linear1.bias, mlp.linear2.kernel, mlp.linear2.bias)
    kernel1, bias1, kernel2, bias2 = (np.asarray(parameter[...]) for parameter in parameters)
    h = x @ kernel1 + bias1
    normalized = (h - h.mean(0)) / np.sqrt(h.var(0) + 1e-5)
    wanted = np.maximum(normalized, 0) @ kernel2 + bias2
    np.testing.assert_allclose(mlp(jnp.asarray(x)), wanted, rtol=1e-4, atol=1e-5)
    assert kernel1.shape == (6, 8)


def test_the_mlp_probe_learns_what_a_linear_one_cannot():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (600, 2)).astype(np.float32)
    labels = (x[:, 0] * x[:, 1] > 0).astype(np.int32)
    settings = MlpProbe(epochs=60, batch_size=50, lr=1e-2, hidden=32)
    probes = [mlp_probe.train_mlp(x[:500], labels[:500], 2, settings, seed) for seed in (0, 0, 1)]
    assert accuracy(mlp_probe.logits(probes[0], x[500:]), labels[500:]) > 0.9
    # evaluation mode: what an example gets does not depend on the others
    each = [accuracy(mlp_probe.logits(probes[0], x[i : i + 1]), labels[i : i + 1]) for i in range(500, 520)]
    assert np.mean(each) == pytest.approx(accuracy(mlp_probe.logits(probes[0], x[500:520]), labels[500:520]))
    kernels = [np.asarray(probe.linear1.kernel[...]) for probe in probes]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert (kernels[0] != kernels[2]).all()


def test_a_step_of_fine_tuning_is_sgd_on_all_parameters(backbone, images):
    settings = FineTuning(epochs=1, batch_size=40, lr=0.3)
    before = checkpoint.arrays_sha256(backbone.arrays())
    tuned = finetune.finetune(backbone, images.images, images.labels, 10, settings, seed=4)
    assert checkpoint.arrays_sha256(backbone.arrays()) == before
    found = backbones.Backbone(tuned.backbone, NORMALIZATION).arrays()
    for name, value in backbone.arrays().items():
        assert (found[name] != value).any(), name

    start = finetune.Classifier(backbone.network, NORMALIZATION, 10, streams.generator(streams.Stream.PROBE_INIT, 4))
    kernel, bias = (np.asarray(start.linear.kernel[...], float), np.asarray(start.linear.bias[...], float))
    graphdef, state = nnx.split(backbone.network)
    normalized = (images.images / np.float64(255) - NORMALIZATION.mean) / NORMALIZATION.std
    h = np.asarray(nnx.merge(graphdef, state, copy=True)(jnp.asarray(normalized, jnp.float32)), float)
    p = np.exp(h @ kernel + bias)
    error = (p / p.sum(1, keepdims=True) - np.eye(10)[images.labels]) / 40
    np.testing.assert_allclose(tuned.linear.bias[...], bias - 0.3 * error.sum(0), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(tuned.linear.kernel[...], kernel - 0.3 * h.T @ error, rtol=1e-3, atol=1e-4)
    # the running statistics move by a tenth, also those of the untrained backbone, the baseline's start
    stem = np.asarray(backbone.network.stem(jnp.asarray(normalized, jnp.float32)), float).reshape(-1, 4)
    for found, before, batch in (
        (tuned.backbone.stem_norm.mean, backbone.network.stem_norm.mean, stem.mean(0)),
        (tuned.backbone.stem_norm.var, backbone.network.stem_norm.var, stem.var(0, ddof=1)),
    ):
        np.testing.assert_allclose(found[...], 0.9 * np.asarray(before[...]) + 0.1 * batch, rtol=1e-4, atol=1e-5)


def test_fine_tuning_learns_its_images_and_is_measured_in_evaluation_mode(backbone, images):
    settings = FineTuning(epochs=80, batch_size=20, lr=0.05)
    tuned = finetune.finetune(backbone, images.images, images.labels, 10, settings, seed=0)
    found = accuracy(finetune.classify(tuned, images.images), images.labels)
    assert found > 0.8
    logits = [finetune.classify(tuned, images.images[i : i + 1]) for i in range(40)]
    assert found == pytest.approx(np.mean(np.concatenate(logits).argmax(1) == images.labels))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A workdir with one checkpoint of a run that has made no step."""
    return save(tmp_path_factory.mktemp("run"), {3: state_arrays()})


@pytest.mark.parametrize("name", [name for name, protocol in PROTOCOLS.items() if protocol.trains])
def test_every_protocol_writes_its_results(name, run, capsys):
    settings = config.protocol(name)
    settings.update({"train_split": "train[:60]", "test_split": "test[:30]", "label_fraction": 0.5})
    section = PROTOCOLS[name].section
    settings[section].update({"epochs": 2} if "epochs" in settings[section] else {"k": 20})
    config.validate(settings)
    records = evaluate(settings, str(run))
    path = run / "eval" / f"{name}-digits-0.5-seed0.jsonl"
    assert results.parse(path) == (records, [])
    assert [record["step"] for record in records] == [0, 3]
    for record in records:
        assert record["protocol"] == name
        assert record[section] == settings[section].to_dict()
        assert 0 <= record["accuracy"] <= 1
        assert record["n_train"] == 30
    assert f"{PROTOCOLS[name].title} on digits, 50% of the labels (30 images)" in capsys.readouterr().out
    jax.clear_caches()
