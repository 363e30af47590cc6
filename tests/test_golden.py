"""The networks, the loss, its gradients and three SGD steps against PyTorch, from the same weights.

The wanted values are in reference/golden.npz, made by reference/make_golden.py with PyTorch in float64.
"""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from torch_names import from_torch

from sidae_jax import config
from sidae_jax.methods import make_method
from sidae_jax.methods.batch import Batch
from sidae_jax.networks.backbones import make_backbone
from sidae_jax.runs import checkpoint
from sidae_jax.settings import BackboneSettings
from sidae_jax.training.step import make_optimizer

GOLDEN = dict(np.load(pathlib.Path(__file__).parent / "reference" / "golden.npz", allow_pickle=False))


def under(prefix):
    return {name.removeprefix(prefix): value for name, value in GOLDEN.items() if name.startswith(prefix)}


def image(name):
    return jnp.asarray(GOLDEN[name].transpose(0, 2, 3, 1))


def load_into(tree, arrays, prefix):
    return jax.tree.map(jnp.asarray, checkpoint.from_arrays(tree, arrays, prefix))


def assert_close(found, wanted, share, name=""):
    """Within `share` of the largest wanted value: the measure in which PyTorch's own float32 was examined."""
    np.testing.assert_allclose(found, wanted, rtol=0, atol=share * np.abs(wanted).max(), err_msg=name)


@pytest.fixture(scope="module")
def split():
    settings = config.pretraining("sidae", "digits", width=4, d_hid=32, w=0.3)
    graphdef, params, batch_stats = nnx.split(make_method(settings, None), nnx.Param, nnx.BatchStat)
    arrays = from_torch(under("init/"))
    names = checkpoint.to_arrays(params, "params.") | checkpoint.to_arrays(batch_stats, "batch_stats.")
    assert {n: a.shape for n, a in names.items()} == {n: a.shape for n, a in arrays.items()}
    return graphdef, load_into(params, arrays, "params."), load_into(batch_stats, arrays, "batch_stats.")


def loss_of(params, graphdef, batch_stats, number):
    method = nnx.merge(graphdef, params, batch_stats, copy=True)
    x, x1, x2 = (image(f"{name}.{number}") for name in ("x", "x1", "x2"))
    loss, metrics = method.loss(Batch(x, x1, x2, jnp.zeros(len(x), jnp.int32)), jax.random.split(jax.random.key(0), 6))
    return loss, (metrics, nnx.state(method, nnx.BatchStat))


@pytest.mark.usefixtures("convolutions")
def test_each_network_forward(split):
    method = nnx.merge(*split, copy=True)
    features = method.encoder.backbone(image("x1.0"))
    assert_close(features, GOLDEN["features1"], 1e-5)
    z = method.encoder.projector(features)
    assert_close(z, GOLDEN["z1"], 3e-5)
    assert_close(method.predictor(z), GOLDEN["p1"], 3e-5)
    assert_close(method.decoder(z), GOLDEN["recon1"].transpose(0, 2, 3, 1), 3e-5)


@pytest.mark.usefixtures("convolutions")
def test_the_cifar_stem_forward():
    backbone = make_backbone(BackboneSettings(stem="cifar", width=4), rng=np.random.default_rng(0))
    graphdef, params, batch_stats = nnx.split(backbone, nnx.Param, nnx.BatchStat)
    arrays = from_torch({f"encoder.backbone.{name}": value for name, value in under("cifar_init/").items()})
    params = load_into(params, arrays, "params.encoder.backbone.")
    batch_stats = load_into(batch_stats, arrays, "batch_stats.encoder.backbone.")
    features = nnx.merge(graphdef, params, batch_stats)(image("x.0"))
    assert_close(features, GOLDEN["cifar_features"], 1e-5)


@pytest.mark.usefixtures("convolutions")
def test_loss_and_gradients(split):
    graphdef, params, batch_stats = split
    gradient = jax.jit(jax.value_and_grad(loss_of, has_aux=True), static_argnums=(1, 3))
    (loss, (metrics, _)), gradients = gradient(params, graphdef, batch_stats, 0)
    np.testing.assert_allclose(loss, GOLDEN["loss"], rtol=1e-5)
    np.testing.assert_allclose(metrics["loss_dae"], GOLDEN["loss_dae"], rtol=1e-5)
    np.testing.assert_allclose(metrics["loss_si"], GOLDEN["loss_si"], rtol=1e-4)
    wanted = from_torch(under("grad/"))
    found = checkpoint.to_arrays(gradients, "params.")
    assert found.keys() == wanted.keys()
    for name in wanted:
        assert_close(found[name], wanted[name], 1e-4, name)


@pytest.mark.usefixtures("convolutions")
def test_three_sgd_steps_with_cosine_decay(split):
    graphdef, params, batch_stats = split
    optimizer, _ = make_optimizer(lr=0.03, momentum=0.9, weight_decay=5e-4, total_steps=10)
    opt_state = optimizer.init(params)

    @jax.jit
    def step(params, batch_stats, opt_state, x, x1, x2):
        def loss_at(params):
            method = nnx.merge(graphdef, params, batch_stats, copy=True)
            keys = jax.random.split(jax.random.key(0), 6)
            loss, _ = method.loss(Batch(x, x1, x2, jnp.zeros(6, jnp.int32)), keys)
            return loss, nnx.state(method, nnx.BatchStat)

        (loss, batch_stats_), gradients = jax.value_and_grad(loss_at, has_aux=True)(params)
        updates, opt_state_ = optimizer.update(gradients, opt_state, params)
        return loss, optax.apply_updates(params, updates), batch_stats_, opt_state_

    losses = []
    for number in range(3):
        images = [image(f"{name}.{number}") for name in ("x", "x1", "x2")]
        loss, params, batch_stats, opt_state = step(params, batch_stats, opt_state, *images)
        losses.append(loss)
    np.testing.assert_allclose(losses, GOLDEN["losses"], rtol=5e-5)  # rounding grows from step to step
    found = checkpoint.to_arrays(params, "params.") | checkpoint.to_arrays(batch_stats, "batch_stats.")
    wanted = from_torch(under("after/"))
    assert found.keys() == wanted.keys()
    for name in wanted:
        assert_close(found[name], wanted[name], 1e-5, name)
    method = nnx.merge(graphdef, params, batch_stats)
    assert_close(method.encoder.backbone(image("x.0"), use_running_average=True), GOLDEN["eval_features"], 1e-5)


@pytest.mark.parametrize("zero", [False, True])
def test_the_initial_scale_of_the_residual_branches(zero):
    settings = BackboneSettings(width=4, zero_init_residual=zero)
    blocks = make_backbone(settings, rng=np.random.default_rng(0)).blocks
    assert all(np.all(block.norm2.scale[...] == (0 if zero else 1)) for block in blocks)
    assert all(np.all(block.norm1.scale[...] == 1) for block in blocks)


def test_initial_values_have_the_distributions_of_pytorchs_documentation():
    """Kaiming normal by fan-out for convolutions, else uniform in +-1 / sqrt(fan), as PyTorch counts the fan."""
    settings = config.pretraining("sidae", "digits", width=16, d_hid=256)
    arrays = checkpoint.to_arrays(nnx.state(make_method(settings, None), nnx.Param), "params.")
    drawn = {name: array for name, array in arrays.items() if array.std() > 0}
    assert {name.rpartition(".")[2] for name in arrays.keys() - drawn.keys()} == {"scale", "bias"}  # BatchNorm's
    for name, array in drawn.items():
        inputs, outputs = array.shape[-2:] if array.ndim > 1 else (None, len(array))
        if array.ndim == 4 and "decoder" not in name:
            std, most = (2 / (outputs * array.shape[0] * array.shape[1])) ** 0.5, np.inf
        else:
            by_hand = {"predictor.linear2": 64, "decoder.linear": 256}  # inputs of the layers with a bias
            bias_fan = next((fan for layer, fan in by_hand.items() if layer in name), 9 * outputs)
            bound = {1: bias_fan, 2: inputs, 4: 9 * outputs}[array.ndim] ** -0.5
            std, most = bound / 3**0.5, bound
        n = array.size
        assert abs(array.mean()) < 5 * std / n**0.5, name
        assert abs(array.std() / std - 1) < 5 / (2 * n) ** 0.5, name
        assert np.abs(array).max() <= most, name
