"""BatchNorm with pool and ReLU in it against the three written one after another, with JAX's own gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from test_conv import plain_max_pool

from sidae_jax.networks.batch_norm import BatchNorm
from sidae_jax.networks.statistics import _sums_of_pairs, _sums_one_by_one


def plainly(x, scale, bias, pool, relu):
    """One view; PyTorch has the ReLU before the pool."""
    axes = tuple(range(x.ndim - 1))
    y = (x - x.mean(axes)) / jnp.sqrt(x.var(axes) + 1e-5) * scale + bias
    y = jnp.maximum(y, 0) if relu else y
    return plain_max_pool(y) if pool else y


def ours(x, scale, bias, views, pool, relu, use_running_average=False):
    norm = BatchNorm(x.shape[-1], pool=pool, relu=relu)
    norm.scale, norm.bias = nnx.Param(scale), nnx.Param(bias)
    norm.mean, norm.var = nnx.BatchStat(jnp.zeros_like(bias)), nnx.BatchStat(jnp.ones_like(bias))
    return norm(x, views, use_running_average)


@pytest.fixture(params=[(pool, relu) for pool in (False, True) for relu in (False, True)], ids=str)
def following(request):
    return dict(zip(("pool", "relu"), request.param, strict=True))


@pytest.fixture
def arguments():
    """Two views of three images in five channels, one of scale 0 and two negative."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(6, 8, 4, 5)) + 0.3, np.array([1.5, -0.7, 0.0, -2.0, 0.2]), rng.normal(size=5)


def test_values_and_gradients(arguments, following):
    with jax.enable_x64(True):
        x, scale, bias = map(jnp.asarray, arguments)

        def both_views(x, scale, bias):
            return jnp.concatenate([plainly(view, scale, bias, **following) for view in jnp.split(x, 2)])

        wanted, wanted_pullback = jax.vjp(both_views, x, scale, bias)
        found, pullback = jax.vjp(lambda *a: ours(*a, views=2, **following), x, scale, bias)
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)
        dy = np.random.default_rng(1).normal(size=wanted.shape)
        constant = scale == 0  # where all pixels of a window are equal, the first is the maximum, and of y alone
        for name, a, b in zip(("x", "scale", "bias"), pullback(dy), wanted_pullback(dy), strict=True):
            compared = slice(None) if name != "scale" or not following["pool"] else ~constant
            np.testing.assert_allclose(a[..., compared], b[..., compared], rtol=1e-7, atol=1e-10, err_msg=name)


def test_evaluation_mode(arguments, following):
    x, scale, bias = (jnp.asarray(a, jnp.float32) for a in arguments)
    y = x / np.sqrt(1 + 1e-5) * scale + bias
    y = nnx.relu(y) if following["relu"] else y
    wanted = plain_max_pool(y) if following["pool"] else y
    found = ours(x, scale, bias, views=1, **following, use_running_average=True)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_statistics_and_sums_are_float32_for_bfloat16(arguments, following):
    x, scale, bias = (jnp.asarray(a, jnp.float32) for a in arguments)
    rounded = x.astype(jnp.bfloat16)
    found, pullback = jax.vjp(lambda *a: ours(*a, views=2, **following), rounded, scale, bias)
    wanted, wanted_pullback = jax.vjp(
        lambda *a: ours(*a, views=2, **following), rounded.astype(jnp.float32), scale, bias
    )
    assert found.dtype == jnp.bfloat16
    np.testing.assert_allclose(found.astype(jnp.float32), wanted, rtol=2**-7, atol=2**-7)
    dy = jnp.ones(found.shape, jnp.bfloat16)
    (dx, *of_parameters), (_, *wanted_of_parameters) = pullback(dy), wanted_pullback(dy.astype(jnp.float32))
    assert dx.dtype == jnp.bfloat16
    for a, b in zip(of_parameters, wanted_of_parameters, strict=True):
        assert a.dtype == jnp.float32
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_sums_of_pairs_are_those_one_by_one(arguments):
    a = jnp.asarray(arguments[0], jnp.float32).reshape(2, 3, 8, 4, 5)
    for found, wanted in zip(_sums_of_pairs(a, a * a), _sums_one_by_one(a, a * a), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5)
    np.testing.assert_allclose(_sums_one_by_one(a, a * a)[1], (np.asarray(a) ** 2).sum((1, 2, 3)), rtol=1e-5)
