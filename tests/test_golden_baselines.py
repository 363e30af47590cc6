"""The report's methods against PyTorch from the same weights: losses, gradients, three Adam steps, evaluation.

The wanted values are in reference/golden_report.npz, made by reference/make_golden_report.py; all is in float64.
"""

import dataclasses
import functools

import golden_report
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from report_names import from_torch

from sidae_jax import config
from sidae_jax.methods import make_method, vae
from sidae_jax.methods.batch import Batch
from sidae_jax.runs import checkpoint
from sidae_jax.training.step import make_optimizer

GOLDEN = golden_report.read()
NAMES = ("ae", "vae", "simclr", "supervised")
PARTS = {"loss_mse": "loss_recon", "kl": "loss_kl"}  # other names than in the reference
N = len(GOLDEN["x"])


@dataclasses.dataclass(frozen=True)
class Steps:
    """What three steps of a method gave; arrays by name."""

    losses: list[float]
    metrics: dict[str, float]  # of the first step, as the gradients
    gradients: dict[str, np.ndarray]
    after: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]  # in evaluation mode, after the steps


@functools.cache
def steps(name: str) -> Steps:
    own = {} if name == "supervised" else {"d_hid": 6}
    settings = config.pretraining(name, "digits", width=1, **own)
    graphdef, params, batch_stats = nnx.split(make_method(settings, None), nnx.Param, nnx.BatchStat)
    start = from_torch(golden_report.initial_state(GOLDEN, name))
    names = checkpoint.to_arrays(params, "params.") | checkpoint.to_arrays(batch_stats, "batch_stats.")
    assert {n: a.shape for n, a in names.items()} == {n: a.shape for n, a in start.items()}
    with jax.enable_x64(True), pytest.MonkeyPatch.context() as patch:
        patch.setattr(vae, "sample_noise", lambda keys, d: jnp.asarray(GOLDEN["noise"], jnp.float64))
        params, batch_stats = (
            jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), checkpoint.from_arrays(state, start, prefix))
            for state, prefix in ((params, "params."), (batch_stats, "batch_stats."))
        )
        x, x1, x2 = (jnp.asarray(GOLDEN[key], jnp.float64) for key in ("x", "x1", "x2"))
        batch = Batch(x, x1, x2, jnp.asarray(GOLDEN["labels"], jnp.int32))
        # the rate of the reference, which is not the report's
        optimizer, _ = make_optimizer(float(GOLDEN["lr"]), 0.9, settings.weight_decay, 3, "adam", settings.schedule)

        @jax.jit
        def step(params, batch_stats, opt_state):
            def loss_of(params):
                method = nnx.merge(graphdef, params, batch_stats, copy=True)
                loss, metrics = method.loss(batch, jax.random.split(jax.random.key(0), N))
                return loss, (metrics, nnx.state(method, nnx.BatchStat))

            (loss, (metrics, moved)), gradients = jax.value_and_grad(loss_of, has_aux=True)(params)
            updates, opt_state = optimizer.update(gradients, opt_state, params)
            return loss, metrics, gradients, (optax.apply_updates(params, updates), moved, opt_state)

        losses, carry = [], (params, batch_stats, optimizer.init(params))
        for number in range(3):
            loss, metrics, gradients, carry = step(*carry)
            losses.append(float(loss))
            if number == 0:
                first = {key: float(value) for key, value in metrics.items()}, checkpoint.to_arrays(gradients)
        after = checkpoint.to_arrays(carry[0], "params.") | checkpoint.to_arrays(carry[1], "batch_stats.")
        outputs = outputs_of(name, nnx.merge(graphdef, *carry[:2]), x)
        return Steps(losses, *first, after, {key: np.asarray(value) for key, value in outputs.items()})


def outputs_of(name, method, x):
    features = method.encoder.backbone(x, use_running_average=True)
    outputs = {"features": features, "logits": method.classifier(features, use_running_average=True)}
    if name != "supervised":
        outputs["latent"] = method.encoder(x, use_running_average=True)
    if name == "vae":
        outputs["latent"], outputs["log_variance"] = jnp.split(outputs["latent"], 2, axis=1)
    if name in ("ae", "vae"):
        outputs["recon"] = method.reconstruct(x)[:2]
    return outputs


def wanted(name, under):
    prefix = f"{name}/{under}/"
    return {key.removeprefix(prefix): value for key, value in GOLDEN.items() if key.startswith(prefix)}


def assert_close(found, reference, tolerance=1e-9):
    """Within that share of an array's largest value, or of 1e-3, all of it being of the order of 1."""
    assert found.keys() == reference.keys()
    for key, value in reference.items():
        atol = tolerance * max(np.abs(value).max(), 1e-3)
        np.testing.assert_allclose(found[key], value, rtol=0, atol=atol, err_msg=key)


@pytest.mark.parametrize("name", NAMES)
def test_losses(name):
    found = steps(name)
    np.testing.assert_allclose(found.losses, GOLDEN[f"{name}/losses"], rtol=1e-9)
    parts = [key for key in found.metrics if key not in ("accuracy", "feature_std")]
    assert len(parts) >= (1 if name == "supervised" else 2)
    for key in parts:
        np.testing.assert_allclose(found.metrics[key], GOLDEN[f"{name}/{PARTS.get(key, key)}"], rtol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_gradients(name):
    found = {f"params.{key}": value for key, value in steps(name).gradients.items()}
    assert_close(found, from_torch(wanted(name, "grad")))


@pytest.mark.parametrize("name", NAMES)
def test_parameters_and_running_statistics_after_three_steps_of_adam(name):
    # the gradient of a bias before BN is rounding alone, which Adam makes larger
    assert_close(steps(name).after, from_torch(wanted(name, "after")), 1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_outputs_in_evaluation_mode(name):
    assert_close(steps(name).outputs, wanted(name, "eval"), 1e-7)
