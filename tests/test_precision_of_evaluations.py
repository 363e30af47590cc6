"""config.precision in evaluations: what the traced programs compute every product in, and the cache of the features."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import saved_runs
from flax import nnx
from test_precision import equations, is_full, products

from sidae_jax import data
from sidae_jax.config import pretraining
from sidae_jax.evaluation import backbone as backbones
from sidae_jax.evaluation import feature_cache, fit, linear_probe, make_pictures
from sidae_jax.evaluation.config import protocol
from sidae_jax.evaluation.run import evaluate
from sidae_jax.methods import make_method

PRECISIONS = ["float32", "bfloat16"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return saved_runs.save(tmp_path_factory.mktemp("run"), {8: saved_runs.trained_arrays(8)})


def small(precision):
    return make_method(pretraining("sidae", "digits", width=4, d_hid=32, precision=precision), None)


def assert_products(jaxpr, precision, at_least, dtype=None):
    """float32: all in full float32; bfloat16: operands in bfloat16, or in `dtype`."""
    found = products(jaxpr)
    assert len(found) >= at_least
    wanted = np.dtype(dtype or {"float32": jnp.float32, "bfloat16": jnp.bfloat16}[precision])
    assert {operand.aval.dtype for product in found for operand in product.invars} == {wanted}
    assert set(map(is_full, found)) == {precision == "float32"}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("program", [backbones.forward, backbones._batch_statistics])
def test_features_and_the_untrained_backbone_s_statistics(program, precision):
    graphdef, state = nnx.split(small(precision).encoder.backbone)
    images = np.zeros((2, 32, 32, 3), np.uint8)
    traced = jax.make_jaxpr(program, static_argnums=(0, 1))(graphdef, saved_runs.NORMALIZATION, state, images)
    assert_products(traced.jaxpr, precision, 20)
    assert {result.dtype for result in traced.out_avals} == {np.dtype(np.float32)}


@pytest.mark.parametrize("precision", PRECISIONS)
def test_reconstructions(precision):
    graphdef, state = nnx.split(small(precision))
    x = np.zeros((2, 32, 32, 3), np.float32)
    traced = jax.make_jaxpr(make_pictures.decoded, static_argnums=0)(graphdef, state, x)
    assert_products(traced.jaxpr, precision, 25)
    assert {result.dtype for result in traced.out_avals} == {np.dtype(np.float32)}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(
    ("name", "module", "function", "static", "number", "dtype"),
    [
        ("finetune", fit, "_epoch", (0, 1, 2), 60, None),
        ("mlp", fit, "_epoch", (0, 1, 2), 5, jnp.float32),  # 2 layers: outputs and, but of the features, gradients
        ("linear", linear_probe, "_train", (4,), 2, jnp.float32),
    ],
    ids=["finetune", "mlp", "linear"],
)
def test_what_protocols_train(run, monkeypatch, name, module, function, static, number, dtype, precision):
    """Traced as the evaluation calls it. The loss, which alone has exponentials, is in float32."""
    train, traced = getattr(module, function), []

    def recorded(*arguments):
        traced.append(jax.make_jaxpr(train, static_argnums=static)(*arguments).jaxpr)
        return train(*arguments)

    monkeypatch.setattr(module, function, recorded)
    config = protocol(name)
    seed = PRECISIONS.index(precision)  # so that each has a result file of its own
    config.update(train_split="train[:32]", test_split="test[:8]", precision=precision, seed=seed)
    section = config.finetune if name == "finetune" else config.probe
    section.epochs = 1
    evaluate(config, str(run))
    assert len(traced) == 2  # the untrained backbone and the checkpoint
    for jaxpr in traced:
        assert_products(jaxpr, precision, number, dtype)
        exponentials = list(equations(jaxpr, "exp", "log"))
        assert len(exponentials) >= 2
        assert {e.invars[0].aval.dtype for e in exponentials} == {np.dtype(np.float32)}


def test_each_precision_has_features_of_its_own(run, tmp_path):
    images, backbone = data.load("digits", "train[:20]"), saved_runs.restore(run, 8)
    features = {}
    for precision in ("float32", "bfloat16", "float32"):
        backbone.network.precision = precision
        features[precision] = feature_cache.cached_features(tmp_path, "train", backbone, images)
        np.testing.assert_array_equal(features[precision], backbone(images.images))
    assert len(list(tmp_path.glob("*.npy"))) == 2
    assert not np.array_equal(*features.values())
