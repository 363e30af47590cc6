"""The step of several seeds as accelerators run it, here on a CPU, against that of each; for CPUs see test_seeds.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_step import BATCH, build, devices, images  # noqa: F401 (images is a fixture)

from sidae_jax.training import several_seeds, step
from sidae_jax.training.resident import ResidentBatch, gather_batch, resident_spec


def test_seeds_take_turns(images):  # noqa: F811
    on = devices(1)
    states, (plain, *_) = zip(*(build(images, on, "simsiam", seed=seed) for seed in (3, 4)), strict=True)
    plain = gather_batch(plain)
    orders = np.stack([np.random.default_rng(seed).permutation(40)[: 2 * BATCH].reshape(2, BATCH) for seed in (3, 4)])
    keys = jnp.stack([jax.random.key(seed) for seed in (3, 4)])

    def batch(order):
        rows = images.images.reshape(40, -1)
        return ResidentBatch(rows, images.labels, order.astype(np.int32), np.int32(1))

    alone = step.data_parallel(plain, on, resident_spec(1))
    wanted = [alone(jax.tree.map(jnp.copy, states[i]), batch(orders[i]), keys[i]) for i in range(2)]
    together = step.data_parallel(several_seeds.map_seeds(plain, "gpu"), on, resident_spec(2))
    state, metrics = together(several_seeds.stack(states), batch(orders), keys)
    for i, found in enumerate(several_seeds.unstack(state, 2)):
        assert metrics["loss"][i] == pytest.approx(float(wanted[i][1]["loss"]), rel=1e-5)
        for one, other in zip(*map(jax.tree.leaves, (found, wanted[i][0])), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3 * float(jnp.abs(other).max()) + 1e-6)
    assert metrics["loss"][0] != pytest.approx(float(metrics["loss"][1]), rel=1e-4)
