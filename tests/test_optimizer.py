"""The schedules of the learning rate, and Adam as PyTorch has it."""

import jax.numpy as jnp
import numpy as np

from sidae_jax.training import step


def test_the_learning_rate_ends_at_zero_and_halves_in_the_middle():
    _, schedule = step.make_optimizer(0.03, 0.9, 5e-4, 100)
    np.testing.assert_allclose([schedule(0), schedule(50), schedule(100)], [0.03, 0.015, 0], atol=1e-9)


def test_a_constant_schedule_and_adam_are_pytorchs():
    """Adam's first step goes by lr against the sign of the gradient, the decay added to it."""
    optimizer, schedule = step.make_optimizer(3e-4, 0.9, 0.5, 100, "adam", "constant")
    assert schedule(0) == schedule(99) == np.float32(3e-4)
    params = {"w": jnp.array([1.0, -1.0])}
    updates, _ = optimizer.update({"w": jnp.array([-0.4, 0.6])}, optimizer.init(params), params)
    np.testing.assert_allclose(updates["w"], [-3e-4, -3e-4], rtol=1e-4)  # -0.4 + 0.5 > 0, 0.6 - 0.5 > 0
