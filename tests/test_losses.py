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
    np.testing.assert_allclose(losses.kl_to_standard_normal(mean, log_variance), total / 4, rtol=1e-5)
    assert losses.kl_to_standard_normal(jnp.zeros((3, 2)), jnp.zeros((3, 2))) == 0


def test_info_nce_by_hand_and_by_the_loop(arrays):
    z1 = jnp.array([[1.0, 0.0], [0.0, 2.0]])  # two pairs that agree, orthogonal to each other
    np.testing.assert_allclose(losses.info_nce(z1, 3 * z1, 1.0), np.log(1 + 1 / np.e), rtol=1e-6)
    same = jnp.ones((3, 4))
    np.testing.assert_allclose(losses.info_nce(same, same, 0.1), np.log(3), rtol=1e-6)
    a, b, *_ = arrays
    for temperature in (0.1, 0.5):
        wanted = numpy_losses.info_nce(a, b, temperature)
        np.testing.assert_allclose(losses.info_nce(a, b, temperature), wanted, rtol=1e-5)
        assert abs(wanted - numpy_losses.info_nce(b, a, temperature)) > 1e-3  # one direction


def test_info_nce_has_the_negatives_of_all_devices():
    z1, z2 = jax.random.normal(jax.random.key(0), (2, 8, 5))

    def on_devices(z1, z2):
        shards = (z.reshape(4, 2, 5) for z in (z1, z2))
        return jax.vmap(lambda a, b: losses.info_nce(a, b, 0.3, "data"), axis_name="data")(*shards).mean()

    np.testing.assert_allclose(on_devices(z1, z2), losses.info_nce(z1, z2, 0.3), rtol=1e-5)
    for found, wanted in zip(
        jax.grad(on_devices, (0, 1))(z1, z2), jax.grad(losses.info_nce, (0, 1))(z1, z2, 0.3), strict=True
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)


def test_info_nce_of_a_vector_of_zeros_is_finite_with_its_gradient(arrays):
    a, b, *_ = arrays
    value, gradient = jax.value_and_grad(losses.info_nce)(a.at[0].set(0), b, 0.5)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_classification_is_over_the_examples_that_have_a_label(arrays):
    logits, labels = arrays[0], jnp.array([3, -1, 0, -1, 6])
    kept = np.asarray(logits, float)[[0, 2, 4]]
    wanted = -np.log(np.exp(kept)[np.arange(3), [3, 0, 6]] / np.exp(kept).sum(1)).mean()
    loss, accuracy = losses.classification(logits, labels)
    np.testing.assert_allclose(loss, wanted, rtol=1e-6)
    assert accuracy == pytest.approx(np.mean(kept.argmax(1) == [3, 0, 6]))
    gradient = jax.grad(lambda logits: losses.classification(logits, labels)[0])(logits)
    np.testing.assert_array_equal(np.abs(gradient).max(1) > 0, labels >= 0)
    none = jax.value_and_grad(lambda logits: losses.classification(logits, jnp.full(5, -1))[0])(logits)
    for value in none:
        np.testing.assert_array_equal(value, 0)


def test_the_mean_over_devices_is_that_of_all_labeled_examples():
    """Three labels on one device, one on another, none on the third."""
    logits = jax.random.normal(jax.random.key(1), (3, 3, 4))
    labels = jnp.array([[0, 1, 2], [-1, 3, -1], [-1, -1, -1]])
    by_device = jax.vmap(lambda *a: losses.classification(*a, "data"), axis_name="data")(logits, labels)
    wanted = losses.classification(logits.reshape(9, 4), labels.reshape(9))
    np.testing.assert_allclose([value.mean() for value in by_device], wanted, rtol=1e-6)


def test_losses_of_bfloat16_are_computed_in_full(arrays):
    """The rounding of the arguments is in both; that of a loss computed in bfloat16 would be up to 1e-2."""
    rounded = [x.astype(jnp.bfloat16) for x in arrays]
    a, b, c, d = (np.asarray(x, np.float64) for x in rounded)
    labels = jnp.array([3, 1, 0, 5, 6])
    log_softmax = a - np.log(np.exp(a).sum(1, keepdims=True))
    found = {
        "ncs": (losses.ncs(*rounded[:2]), numpy_losses.ncs(a, b)),
        "mse": (losses.mse(*rounded[:2]), numpy_losses.mse(a, b)),
        "mse to float32": (losses.mse(arrays[1], rounded[0]), numpy_losses.mse(np.asarray(arrays[1]), a)),
        "simsiam": (losses.simsiam(*rounded), numpy_losses.simsiam(a, b, c, d)),
        "dae": (losses.dae(rounded[0], rounded[0], *rounded[1:3]), numpy_losses.dae(a, b, c)),
        "kl": (losses.kl_to_standard_normal(*rounded[:2]), 0.5 * (a**2 + np.exp(b) - 1 - b).mean()),
        "info_nce": (losses.info_nce(*rounded[:2], 0.1), numpy_losses.info_nce(a, b, 0.1)),
        "classification": (losses.classification(rounded[0], labels)[0], -log_softmax[np.arange(5), labels].mean()),
        "feature_std": (losses.feature_std(rounded[0]), numpy_losses.feature_std(a)),
    }
    for name, (value, wanted) in found.items():
        assert value.dtype == jnp.float32, name
        np.testing.assert_allclose(value, wanted, rtol=1e-5, err_msg=name)
