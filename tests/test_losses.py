"""The losses against loops in NumPy, known values and the gradients that must not flow."""

import jax
import jax.numpy as jnp
import numpy as np
import numpy_losses
import pytest

from sidae_jax import losses


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    return [jnp.asarray(rng.normal(size=(5, 7)), jnp.float32) for _ in range(4)]


def test_ncs_of_a_vector_with_itself_its_opposite_and_a_normal():
    a = jnp.array([[3.0, 4.0], [0.0, 2.0]])
    np.testing.assert_allclose(losses.ncs(a, a), -1, rtol=1e-6)
    np.testing.assert_allclose(losses.ncs(a, -5 * a), 1, rtol=1e-6)
    np.testing.assert_allclose(losses.ncs(a, a @ jnp.array([[0.0, 1.0], [-1.0, 0.0]])), 0, atol=1e-7)


def test_ncs_by_the_loop(arrays):
    a, b, *_ = arrays
    np.testing.assert_allclose(losses.ncs(a, b), numpy_losses.ncs(a, b), rtol=1e-6)


def test_ncs_at_zero_has_the_value_of_the_formula_and_a_finite_gradient():
    a, b = jnp.zeros((1, 3)), jnp.ones((1, 3))
    assert losses.ncs(a, b) == 0
    np.testing.assert_allclose(jax.grad(losses.ncs)(a, b), -1e8 * b)  # d/da of -a.b / 1e-8
    tiny = jnp.full((1, 3), 1e-12)
    np.testing.assert_allclose(losses.ncs(tiny, b), numpy_losses.ncs(np.asarray(tiny), np.asarray(b)), rtol=1e-5)


def test_simsiam_by_the_loop(arrays):
    np.testing.assert_allclose(losses.simsiam(*arrays), numpy_losses.simsiam(*arrays), rtol=1e-6)


def test_simsiam_sends_no_gradient_to_z_but_to_p(arrays):
    gradients = jax.grad(losses.simsiam, argnums=(0, 1, 2, 3))(*arrays)
    for to_p in gradients[:2]:
        assert np.abs(to_p).max() > 1e-3
    for to_z in gradients[2:]:
        np.testing.assert_array_equal(to_z, 0)


def test_dae_and_sidae_by_the_loop(arrays):
    x, r1, r2, x2 = arrays
    np.testing.assert_allclose(losses.dae(x, x, r1, r2), numpy_losses.dae(x, r1, r2), rtol=1e-6)
    by_view = 0.5 * numpy_losses.mse(x, r1) + 0.5 * numpy_losses.mse(x2, r2)
    np.testing.assert_allclose(losses.dae(x, x2, r1, r2), by_view, rtol=1e-6)
    total, parts = losses.sidae(jnp.float32(2.0), jnp.float32(-0.5), 0.25)
    assert total == 0.25 * 2.0 + 0.75 * -0.5
    assert parts == {"loss_dae": 2.0, "loss_si": -0.5}


def test_feature_std_of_gaussian_one_and_of_collapsed_features(arrays):
    z = jnp.concatenate(arrays)
    np.testing.assert_allclose(losses.feature_std(z), numpy_losses.feature_std(z), rtol=1e-5)
    wide = jax.random.normal(jax.random.key(1), (2000, 64))
    np.testing.assert_allclose(losses.feature_std(wide), 1, atol=0.01)
    np.testing.assert_allclose(losses.feature_std(jnp.ones((8, 64))), 0, atol=1e-6)


def test_feature_std_is_over_the_batch_of_all_devices():
    z = jax.random.normal(jax.random.key(2), (8, 6)) + 1
    by_device = jax.vmap(lambda z: losses.feature_std(z, "data"), axis_name="data")(z.reshape(4, 2, 6))
    np.testing.assert_allclose(by_device, losses.feature_std(z), rtol=1e-5)


def test_kl_is_the_integral_of_its_definition():
    mean, log_variance = jnp.array([[0.7, -1.2], [0.0, 0.3]]), jnp.array([[-0.5, 0.9], [0.0, 0.2]])
    grid = np.linspace(-15, 15, 200_001)

    def log_normal(mean, variance):
        return -0.5 * ((grid - mean) ** 2 / variance + np.log(2 * np.pi * variance))

    total = 0.0
    for m, v in zip(np.asarray(mean, float).ravel(), np.exp(np.asarray(log_variance, float)).ravel(), strict=True):
        log_q, log_p = log_normal(m, v), log_normal(0, 1)
        total += np.sum(np.exp(log_q) * (log_q - log_p)) * (grid[1] - grid[0])
    np.testing.assert_allclose(losses.kl_to_standard_normal(mean, log_variance), total / 2, rtol=1e-5)
    assert losses.kl_to_standard_normal(jnp.zeros((3, 2)), jnp.zeros((3, 2))) == 0


def test_vae_with_beta_one_is_the_evidence_lower_bound():
    """Of a Gaussian of variance 1 for each value, up to its constant."""
    rng = np.random.default_rng(0)
    x, reconstruction = rng.normal(size=(2, 5, 12))
    kl = 3.4
    log_likelihood = np.sum(-0.5 * (x - reconstruction) ** 2 - 0.5 * np.log(2 * np.pi), axis=1).mean()
    bound = log_likelihood - kl
    constant = 0.5 * 12 * np.log(2 * np.pi)
    found = losses.vae(jnp.float32(numpy_losses.mse(x, reconstruction)), jnp.float32(kl), 1.0, values=12)
    np.testing.assert_allclose(found, (-bound - constant) * 2 / 12, rtol=1e-5)
    twice = losses.vae(jnp.float32(0), jnp.float32(kl), 2.0, values=12)
    np.testing.assert_allclose(twice, 2 * 2 * kl / 12, rtol=1e-6)


def test_nt_xent_by_hand_and_by_the_loop(arrays):
    z1 = jnp.array([[1.0, 0.0], [0.0, 2.0]])  # two pairs that agree, orthogonal to each other
    np.testing.assert_allclose(losses.nt_xent(z1, 3 * z1, 1.0), np.log(1 + 2 / np.e), rtol=1e-6)
    same = jnp.ones((3, 4))
    np.testing.assert_allclose(losses.nt_xent(same, same, 0.1), np.log(5), rtol=1e-6)
    a, b, *_ = arrays
    for temperature in (0.1, 0.5):
        wanted = numpy_losses.nt_xent(a, b, temperature)
        np.testing.assert_allclose(losses.nt_xent(a, b, temperature), wanted, rtol=1e-5)


def test_nt_xent_of_a_vector_of_zeros_is_finite_with_its_gradient(arrays):
    a, b, *_ = arrays
    value, gradient = jax.value_and_grad(losses.nt_xent)(a.at[0].set(0), b, 0.5)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
