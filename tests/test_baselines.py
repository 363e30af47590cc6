"""The report's methods and its supervised baseline: what each computes from its own networks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import numpy_losses
import pytest
from flax import nnx

from sidae_jax import config
from sidae_jax.methods import make_method, vae
from sidae_jax.methods.batch import Batch
from sidae_jax.networks.batch_norm import BatchNorm
from sidae_jax.networks.layers import Conv
from sidae_jax.networks.residual_decoder import DecoderBlock, ResidualDecoder
from sidae_jax.settings import ViewSettings

N = 6


@pytest.fixture(scope="module")
def batch():
    return _batch()


def _batch():
    rng = np.random.default_rng(0)
    images = [jnp.asarray(rng.normal(size=(N, 32, 32, 3)), jnp.float32) for _ in range(3)]
    return Batch(*images, jnp.asarray(rng.integers(0, 10, N), jnp.int32))


def make(name, **changes):
    small = {"width": 4, "stem": "imagenet", **({} if name == "supervised" else {"d_hid": 5})}
    return make_method(config.pretraining(name, "digits", **{**small, **changes}), None)


def keys(seed=0):
    return jax.random.split(jax.random.key(seed), N)


REPORT = ("ae", "vae", "simclr", "supervised")


@functools.cache
def gradient(name):
    """A function from the labels to the gradients of the loss, by the name of the part."""
    batch = _batch()
    graphdef, params, rest = nnx.split(make(name), nnx.Param, ...)

    def loss(params, labels):
        return nnx.merge(graphdef, params, rest, copy=True).loss(batch._replace(label=labels), keys())[0]

    of = jax.jit(jax.grad(loss))
    return lambda labels: of(params, jnp.asarray(labels, jnp.int32))


def largest(state):
    return max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(state))


def cross_entropy(logits, labels):
    logits = np.asarray(logits, float)
    return -np.log(np.exp(logits)[np.arange(len(labels)), labels] / np.exp(logits).sum(1)).mean()


def classifier_loss(method, batch):
    return cross_entropy(method.classifier(method.encoder.backbone(batch.x)), batch.label)


def test_ae_reconstructs_the_image_from_the_image(batch):
    method = make("ae")
    loss, metrics = method.loss(batch, keys())
    wanted = numpy_losses.mse(batch.x, method.decoder(method.encoder(batch.x)))
    np.testing.assert_allclose(metrics["loss_ae"], wanted, rtol=1e-4)
    np.testing.assert_allclose(loss, wanted + classifier_loss(method, batch), rtol=1e-4)


def test_vae_draws_from_its_posterior_and_weights_the_kl(batch):
    method = make("vae", beta=3.0)
    loss, metrics = method.loss(batch, keys())
    outputs = np.asarray(method.encoder(batch.x))
    mean, log_variance = outputs[:, :5], outputs[:, 5:]
    kl = 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance).mean()
    np.testing.assert_allclose(metrics["kl"], kl, rtol=1e-4)
    z = mean + np.exp(log_variance / 2) * vae.sample_noise(keys(), 5)
    np.testing.assert_allclose(metrics["loss_mse"], numpy_losses.mse(batch.x, method.decoder(z)), rtol=1e-4)
    wanted = metrics["loss_mse"] + 3.0 * kl + classifier_loss(method, batch)
    np.testing.assert_allclose(loss, wanted, rtol=1e-4)


def test_the_noise_of_the_vae_is_normal_and_each_examples_own():
    noise = np.stack([vae.sample_noise(keys(seed), 5) for seed in range(200)])
    assert noise.shape == (200, N, 5)
    assert abs(noise.mean()) < 4 / noise.size**0.5
    assert abs(noise.std() - 1) < 4 / (2 * noise.size) ** 0.5
    assert np.abs(np.corrcoef(noise.reshape(200, -1).T) - np.eye(N * 5)).max() < 0.35  # no two share their noise


def test_simclr_compares_the_embeddings_of_the_two_views(batch):
    method = make("simclr", temperature=0.3)
    loss, metrics = method.loss(batch, keys())
    z1, z2 = (method.encoder(x) for x in (batch.x1, batch.x2))
    np.testing.assert_allclose(metrics["loss_simclr"], numpy_losses.info_nce(z1, z2, 0.3), rtol=1e-4)
    np.testing.assert_allclose(loss, metrics["loss_simclr"] + classifier_loss(method, batch), rtol=1e-4)


def test_supervised_is_the_cross_entropy_of_the_labels(batch):
    method = make("supervised")
    loss, metrics = method.loss(batch, keys())
    logits = method.classifier(method.encoder(batch.x))
    np.testing.assert_allclose(loss, cross_entropy(logits, batch.label), rtol=1e-4)
    assert metrics["accuracy"] == pytest.approx(np.mean(logits.argmax(1) == batch.label))


@pytest.mark.parametrize("name", REPORT)
def test_the_labels_reach_the_backbone_of_the_supervised_alone(name):
    """Other labels, other gradients: of the classifier always."""
    first, second = (gradient(name)(labels) for labels in (range(N), range(N)[::-1]))
    change = jax.tree.map(jnp.subtract, first, second)
    assert largest(change["classifier"]) > 1e-3
    if name == "supervised":
        assert largest(change["encoder"]["backbone"]) > 1e-3
    else:
        assert largest(first["encoder"]["backbone"]) > 1e-3
        assert largest({part: value for part, value in change.items() if part != "classifier"}) == 0


@pytest.mark.parametrize("name", REPORT)
def test_images_without_labels_take_no_part_in_the_classifier(name, batch):
    method = make(name)
    _, metrics = method.loss(batch._replace(label=jnp.array([3, -1, 4, -1, -1, 5])), keys())
    logits = method.classifier(method.encoder.backbone(batch.x))
    wanted = cross_entropy(logits[jnp.array([0, 2, 5])], [3, 4, 5])
    np.testing.assert_allclose(metrics["loss_classifier"], wanted, rtol=1e-4)


def test_of_unlabelled_images_alone_the_classifier_learns_nothing():
    assert largest(gradient("ae")([-1] * N)["classifier"]) == 0


@pytest.mark.parametrize("name", REPORT)
def test_running_statistics_move_by_the_image_and_both_views(name, batch):
    method, by_hand = make(name), make(name)
    method.loss(batch, keys())
    for x in batch[:3]:
        by_hand.encoder.backbone(x)
    found, wanted = (nnx.state(m.encoder.backbone, nnx.BatchStat) for m in (method, by_hand))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    # the heads see what their loss needs: the classifier the image, the embedding both views
    h = by_hand.encoder.backbone(batch.x)
    batch_means = (h @ method.classifier.linear1.kernel[...] + method.classifier.linear1.bias[...]).mean(0)
    np.testing.assert_allclose(method.classifier.norm1.mean[...], 0.1 * batch_means, rtol=1e-3, atol=1e-5)


def test_a_decoder_block_enlarges_its_second_convolution_and_its_shortcut():
    block = DecoderBlock(4, 2, scale=2, axis_name=None, rng=np.random.default_rng(0))
    x = np.random.default_rng(1).normal(size=(3, 4, 4, 4)).astype(np.float32)

    def enlarged(x):
        return x.repeat(2, 1).repeat(2, 2)

    def normalized(x):
        return (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + 1e-5)

    y = np.maximum(normalized(np.asarray(block.conv1(jnp.asarray(x)))), 0)
    y = normalized(np.asarray(block.conv2(jnp.asarray(enlarged(y)))))
    shortcut = normalized(enlarged(x) @ np.asarray(block.shortcut.kernel[0, 0]))
    found = block(jnp.asarray(x))
    assert found.shape == (3, 8, 8, 2)
    np.testing.assert_allclose(found, np.maximum(y + shortcut, 0), rtol=1e-4, atol=1e-5)
    # the unbiased variance counts the pixels of the enlarged map
    variance = enlarged(x).reshape(-1, 4) @ np.asarray(block.shortcut.kernel[0, 0])
    np.testing.assert_allclose(block.shortcut_norm.var[...], 0.9 + 0.1 * variance.var(0, ddof=1), rtol=1e-5)


def test_the_residual_decoder_has_pytorchs_default_values():
    decoder = ResidualDecoder(128, size=32, width=64, axis_name=None, rng=np.random.default_rng(0))
    convs = [module for _, module in nnx.iter_modules(decoder) if isinstance(module, Conv)]
    assert len(convs) == 8 * 2 + 3 + 1
    for conv in convs:
        k, _, c, _ = conv.kernel.shape
        assert largest(conv.kernel) == pytest.approx((c * k * k) ** -0.5, rel=0.02)
        assert float(conv.kernel[...].std()) == pytest.approx((3 * c * k * k) ** -0.5, rel=0.05)
    assert all((m.scale[...] == 1).all() for _, m in nnx.iter_modules(decoder) if isinstance(m, BatchNorm))
    assert decoder.linear.kernel.shape == (128, 512 * 4 * 4)
    assert decoder.last.kernel.shape == (3, 3, 64, 3)


def test_the_backbone_of_a_seed_is_the_same_in_all_methods():
    first, *others = (nnx.state(make(name).encoder.backbone) for name in REPORT)
    for other in others:
        jax.tree.map(np.testing.assert_array_equal, first, other)


def test_the_settings_of_the_report():
    report = {"stem": "cifar", "optimizer": "adam", "lr": 3e-4, "batch_size": 256, "epochs": 150}
    report |= {"schedule": "constant", "weight_decay": 0.0, "num_classes": 10}
    for name in REPORT:
        found = config.pretraining(name, "cifar10")
        assert {key: found[key] for key in report} == report
        assert config.view_settings(found) == ViewSettings(crop_scale=(0.08, 1.0))
        assert found.get("d_hid") == (None if name == "supervised" else 128)
    assert config.pretraining("simclr", "cifar10").temperature == 0.1
    assert config.pretraining("vae", "cifar10").beta == 0.1
