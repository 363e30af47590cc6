"""The backbones beside ResNet-18 against PyTorch, GroupNorm against NumPy, and a backbone that is added.

The wanted values are in reference/golden_backbones.npz, made by reference/make_golden_backbones.py in float64.
"""

import pathlib

import golden_backbones as golden
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from test_conv import plain_max_pool

import sidae_jax
from sidae_jax import config
from sidae_jax.errors import UserError
from sidae_jax.evaluation import config as evaluation_config
from sidae_jax.evaluation.protocols import PROTOCOLS
from sidae_jax.evaluation.run import evaluate
from sidae_jax.methods import make_method
from sidae_jax.networks.backbones import BACKBONES, Architecture, make_backbone
from sidae_jax.networks.batch_norm import BatchNorm
from sidae_jax.networks.group_norm import GroupNorm, groups_at
from sidae_jax.networks.layers import Conv
from sidae_jax.networks.precision import as_activations
from sidae_jax.runs import checkpoint
from sidae_jax.settings import METHOD_SETTINGS, BackboneSettings
from sidae_jax.training.train import train

GOLDEN = dict(np.load(pathlib.Path(__file__).parent / "reference" / "golden_backbones.npz", allow_pickle=False))


def make(name="simsiam", **changes):
    sizes = {"width": golden.WIDTH} | ({} if name == "supervised" else {"d_hid": 32})
    return make_method(config.pretraining(name, "digits", **{**sizes, **changes}), None)


@pytest.mark.parametrize("backbone", golden.BLOCKS)
def test_features_and_gradients_are_torchvisions(backbone):
    graphdef, *states = nnx.split(make(backbone=backbone).encoder.backbone, nnx.Param, nnx.BatchStat)
    params, batch_stats = (
        jax.tree.map(jnp.asarray, checkpoint.from_arrays(state, weights(backbone, state, within), within))
        for state, within in zip(states, WITHIN, strict=True)
    )
    x = jnp.asarray(golden.images().transpose(0, 2, 3, 1))

    @jax.jit
    def eval_features(params, batch_stats):
        return nnx.merge(graphdef, params, batch_stats)(x, use_running_average=True)

    @jax.jit
    def pulled(params, batch_stats):
        features, pullback = jax.vjp(lambda p: nnx.merge(graphdef, p, batch_stats, copy=True)(x), params)
        return features, pullback(jnp.asarray(golden.pull(features.shape[1])))[0]

    assert_close(eval_features(params, batch_stats), GOLDEN[f"{backbone}/eval_features"], 1e-5)
    features, gradients = pulled(params, batch_stats)
    assert_close(features, GOLDEN[f"{backbone}/features"], 1e-5)
    found = {
        f"{backbone}/grad/{name}": golden.kept(g) for name, g in checkpoint.to_arrays(gradients, WITHIN[0]).items()
    }
    wanted = {name: value for name, value in GOLDEN.items() if name.startswith(f"{backbone}/grad/")}
    assert found.keys() == wanted.keys()
    largest = max(np.abs(value).max() for value in wanted.values())
    for name, value in wanted.items():  # the gradients of biases that a BatchNorm takes away again are 0
        assert_close(found[name], value, 1e-4, name, 1e-6 * largest)


WITHIN = ("params.encoder.backbone.", "batch_stats.encoder.backbone.")


def weights(backbone, state, within):
    return {n: golden.weight(backbone, n, a.shape) for n, a in checkpoint.to_arrays(state, within).items()}


def assert_close(found, wanted, share, name="", least=0.0):
    np.testing.assert_allclose(found, wanted, rtol=0, atol=share * np.abs(wanted).max() + least, err_msg=name)


@pytest.mark.parametrize(
    ("backbone", "parameters", "features"),
    # torchvision's published numbers less those of its last layer, 1000 * (features + 1)
    [
        ("resnet18", 11_689_512 - 513_000, 512),
        ("resnet34", 21_797_672 - 513_000, 512),
        ("resnet50", 25_557_032 - 2_049_000, 2048),
        ("resnet18_gn", 11_689_512 - 513_000, 512),
    ],
)
def test_the_number_of_parameters_is_torchvisions(backbone, parameters, features):
    network = make_backbone(BackboneSettings(backbone), rng=np.random.default_rng(0))
    assert sum(array.size for array in jax.tree.leaves(nnx.state(network, nnx.Param))) == parameters
    assert network.num_features == features


@pytest.mark.parametrize(("backbone", "last"), [("resnet34", "norm2"), ("resnet50", "norm3"), ("resnet18_gn", "norm2")])
def test_the_last_norm_of_each_block_starts_at_zero_if_asked(backbone, last):
    for zero in (False, True):
        for block in make(backbone=backbone, zero_init_residual=zero).encoder.backbone.blocks:
            scales = {name: float(getattr(block, name).scale[...].max()) for name in ("norm1", "norm2", last)}
            assert scales == {"norm1": 1.0, "norm2": 1.0, last: float(not zero)}


@pytest.mark.parametrize("method", METHOD_SETTINGS)
def test_groups_replace_every_batch_norm_of_a_method_and_nothing_else(method):
    batch, group = make(method), make(method, backbone="resnet18_gn")
    norms = {path for path, module in nnx.iter_modules(batch) if isinstance(module, BatchNorm)}
    assert {path for path, module in nnx.iter_modules(group) if isinstance(module, GroupNorm)} == norms
    assert not [module for _, module in nnx.iter_modules(group) if isinstance(module, BatchNorm)]
    found, wanted = (checkpoint.to_arrays(nnx.state(made, nnx.Param)) for made in (group, batch))
    assert found.keys() == wanted.keys()
    assert all(np.array_equal(found[name], wanted[name]) for name in wanted)
    assert not jax.tree.leaves(nnx.state(group, nnx.BatchStat))


def test_an_example_is_the_same_in_any_batch_and_in_both_modes():
    graphdef, state = nnx.split(make(backbone="resnet18_gn").encoder)
    encode = jax.jit(lambda x, *how: nnx.merge(graphdef, state)(x, *how), static_argnums=(1, 2))
    x = jnp.asarray(golden.images().transpose(0, 2, 3, 1))
    together = encode(x, 2, False)
    np.testing.assert_allclose(encode(x[:1], 1, False), together[:1], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(encode(x, 1, True), together)


def test_the_groups_of_a_network():
    assert [groups_at(width) for width in (128, 64, 32, 6, 4, 1)] == [32, 32, 16, 3, 2, 1]
    predictor = make(d_hid=100, width=64, backbone="resnet18_gn").predictor
    assert predictor.norm1.groups == 1  # of 25 channels
    assert make(width=64, backbone="resnet18_gn").encoder.backbone.blocks[7].norm2.groups == 32


def by_numpys_definition(x, scale, bias, groups, pool, relu):
    """PyTorch has the ReLU before the pool."""
    by_group = x.reshape(len(x), -1, groups, x.shape[-1] // groups)
    mean, var = by_group.mean((1, 3), keepdims=True), by_group.var((1, 3), keepdims=True)
    y = ((by_group - mean) / jnp.sqrt(var + 1e-5)).reshape(x.shape) * scale + bias
    y = jnp.maximum(y, 0) if relu else y
    return plain_max_pool(y) if pool else y


@pytest.mark.parametrize(
    ("shape", "pool", "relu"),
    [((3, 8, 4, 6), pool, relu) for pool in (False, True) for relu in (False, True)] + [((5, 6), False, True)],
)
def test_group_norm_values_and_gradients(shape, pool, relu):
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        x, scale, bias = rng.normal(size=shape) + 0.3, np.array([1.5, -0.7, 0.9, -2.0, 0.2, 1]), rng.normal(size=6)

        def ours(x, scale, bias):
            norm = GroupNorm(6, 2, pool=pool, relu=relu)
            norm.scale, norm.bias = nnx.Param(scale), nnx.Param(bias)
            return norm(x)

        arguments = tuple(map(jnp.asarray, (x, scale, bias)))
        wanted, wanted_pullback = jax.vjp(lambda *a: by_numpys_definition(*a, 2, pool, relu), *arguments)
        found, pullback = jax.vjp(ours, *arguments)
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)
        dy = rng.normal(size=wanted.shape)
        for name, a, b in zip(("x", "scale", "bias"), pullback(dy), wanted_pullback(dy), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-10, err_msg=name)


def test_group_norm_has_float32_statistics_for_bfloat16():
    rounded = jnp.asarray(np.random.default_rng(0).normal(size=(3, 8, 8, 8)) + 3, jnp.bfloat16)
    norm = GroupNorm(8, 2, pool=True, relu=True)
    found, wanted = norm(rounded), norm(rounded.astype(jnp.float32))
    assert found.dtype == jnp.bfloat16
    np.testing.assert_allclose(found.astype(jnp.float32), wanted, rtol=2**-7, atol=2**-7)


class ConvNet(nnx.Module):
    """Two convolutions, as the docstring of sidae_jax.networks asks for it."""

    def __init__(self, settings, *, axis_name, rng):
        self.num_features, self.size, self.precision = 3 * settings.width, settings.size, settings.precision
        self.conv1 = Conv(3, settings.width, 3, stride=2, rng=rng)
        self.norm1 = BatchNorm(settings.width, relu=True, axis_name=axis_name)
        self.conv2 = Conv(settings.width, self.num_features, 3, stride=2, rng=rng)
        self.norm2 = BatchNorm(self.num_features, relu=True, axis_name=axis_name)

    def __call__(self, x, views=1, use_running_average=False):
        x = self.norm1(self.conv1(as_activations(x, self.precision)), views, use_running_average)
        return self.norm2(self.conv2(x), views, use_running_average).mean((1, 2))


SMALL = {"batch_size": 32, "epochs": 1, "train_split": "train[:64]"}


def evaluated(protocol, workdir):
    """The steps for which there are results."""
    settings = evaluation_config.protocol(protocol)
    settings.update({"train_split": "train[:60]", "test_split": "test[:30]"})
    section = settings[PROTOCOLS[protocol].section]
    section.update({"k": 20} if protocol == "knn" else {"epochs": 2})
    return [record["step"] for record in evaluate(settings, str(workdir))]


def test_an_added_backbone_is_trained_evaluated_and_loaded(tmp_path):
    BACKBONES["convnet"] = Architecture(ConvNet)
    try:
        settings = config.pretraining("simsiam", "digits", backbone="convnet", width=5, d_hid=8, **SMALL)
        config.validate(settings)
        train(settings, str(tmp_path))
        for protocol in ("linear", "finetune", "knn"):
            assert evaluated(protocol, tmp_path) == [0, 2]
        encoder = sidae_jax.load(tmp_path)
        assert encoder(np.zeros((3, 32, 32, 3), np.uint8)).shape == (3, 15)
    finally:
        del BACKBONES["convnet"]
    with pytest.raises(UserError, match=r"backbone='convnet' is unknown: give one of resnet18, "):
        sidae_jax.load(tmp_path)  # as in a program that does not add it


def test_a_run_with_groups_is_trained_and_evaluated(tmp_path):
    train(config.pretraining("simsiam", "digits", backbone="resnet18_gn", width=4, d_hid=32, **SMALL), str(tmp_path))
    assert evaluated("linear", tmp_path) == [0, 2]
