"""The report's methods and the supervised baseline: what each computes from its own networks."""

import jax
import jax.numpy as jnp
import numpy as np
import numpy_losses
import pytest

from sidae_jax import config
from sidae_jax.methods import METHODS
from sidae_jax.methods.batch import Batch

N = 6


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    images = [jnp.asarray(rng.normal(size=(N, 32, 32, 3)), jnp.float32) for _ in range(3)]
    return Batch(*images, jnp.asarray(rng.integers(0, 10, N), jnp.int32))


def make(name, **changes):
    small = {"width": 4, "stem": "imagenet", **({} if name == "supervised" else {"d_hid": 5})}
    return METHODS[name](config.pretraining(name, "digits", **{**small, **changes}), None)


def keys(seed=0):
    return jax.random.split(jax.random.key(seed), N)


def test_ae_reconstructs_the_image_from_the_image(batch):
    method = make("ae")
    loss, metrics = method.loss(batch, keys())
    wanted = numpy_losses.mse(batch.x, method.decoder(method.encoder(batch.x, views=1), views=1))
    np.testing.assert_allclose(loss, wanted, rtol=1e-4)
    assert metrics["loss_ae"] == loss


def test_vae_draws_from_its_posterior_and_weights_the_kl(batch):
    method = make("vae", beta=3.0)
    drawn = []
    decoder = method.decoder
    method.decoder = lambda z, views: drawn.append(z) or decoder(z, views)
    loss, metrics = method.loss(batch, keys())
    outputs = np.asarray(method.encoder(batch.x, views=1))
    mean, log_variance = outputs[:, :5], outputs[:, 5:]
    np.testing.assert_allclose(
        metrics["kl"], 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance).sum(1).mean(), rtol=1e-4
    )
    np.testing.assert_allclose(loss, metrics["loss_mse"] + 2 * 3.0 * metrics["kl"] / 3072, rtol=1e-5)
    np.testing.assert_allclose(metrics["loss_mse"], numpy_losses.mse(batch.x, decoder(drawn[0], views=1)), rtol=1e-4)
    method.encoder = lambda x, views: jnp.asarray(outputs)
    method.decoder = lambda z, views: drawn.append(z) or batch.x
    for seed in range(1, 200):
        method.loss(batch, keys(seed))
    noise = (np.stack(drawn) - mean) / np.exp(0.5 * log_variance)
    assert noise.shape == (200, N, 5)
    assert abs(noise.mean()) < 4 / noise.size**0.5
    assert abs(noise.std() - 1) < 4 / (2 * noise.size) ** 0.5
    assert np.abs(np.corrcoef(noise.reshape(200, -1).T) - np.eye(N * 5)).max() < 0.35  # no two share their noise


def test_simclr_compares_the_projections_of_the_two_views(batch):
    method = make("simclr", temperature=0.3)
    loss, metrics = method.loss(batch, keys())
    z = method.encoder(jnp.concatenate([batch.x1, batch.x2]), views=2)
    np.testing.assert_allclose(loss, numpy_losses.nt_xent(z[:N], z[N:], 0.3), rtol=1e-4)
    assert metrics["loss_nt_xent"] == loss


def test_supervised_is_the_cross_entropy_of_the_labels(batch):
    method = make("supervised")
    loss, metrics = method.loss(batch, keys())
    logits = np.asarray(method.encoder(batch.x, views=1), float)
    labels = np.asarray(batch.label)
    share = np.exp(logits[np.arange(N), labels]) / np.exp(logits).sum(1)
    np.testing.assert_allclose(loss, -np.log(share).mean(), rtol=1e-4)
    assert metrics["accuracy"] == pytest.approx(np.mean(logits.argmax(1) == labels))


def test_the_settings_of_the_report_and_of_the_downstream_task():
    report = {"stem": "cifar", "d_hid": 128, "optimizer": "adam", "lr": 3e-4, "batch_size": 256, "epochs": 150}
    for name in ("ae", "vae", "simclr"):
        found = config.pretraining(name, "cifar10")
        assert {key: found[key] for key in report} == report
    assert config.pretraining("simclr", "cifar10").temperature == 0.1
    baseline = {"epochs": 50, "lr": 0.05, "momentum": 0.9, "batch_size": 256, "weight_decay": 0, "schedule": "constant"}
    found = config.pretraining("supervised", "cifar10")
    assert {key: found[key] for key in baseline} == baseline
    assert "d_hid" not in found
