"""config.precision: what is multiplied in it, what stays in float32, and how far bfloat16 is from float32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import saved_runs
from jax import lax
from test_step import BATCH, assert_same_bits, build, devices, images, order_of, run  # noqa: F401 (images is a fixture)

import sidae_jax
from sidae_jax import data, mesh, settings
from sidae_jax.config import pretraining
from sidae_jax.data.normalization import measure
from sidae_jax.evaluation.config import protocol
from sidae_jax.evaluation.run import evaluate
from sidae_jax.losses import info_nce
from sidae_jax.training import input_pipeline, step
from sidae_jax.training.step import ImageBatch
from sidae_jax.views import make_views

METHODS = list(settings.METHOD_SETTINGS)


def equations(jaxpr, *names):
    """Yields the equations of a traced program, at any depth, whose primitive has one of the names."""
    for equation in jaxpr.eqns:
        if equation.primitive.name in names:
            yield equation
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns")):
            if hasattr(inner := getattr(inner, "jaxpr", inner), "eqns"):
                yield from equations(inner, *names)


def products(jaxpr):
    return list(equations(jaxpr, "dot_general", "conv_general_dilated"))


def trace_step(images, method, precision):  # noqa: F811
    """Traces a step of four images; returns its program."""
    state, device_step = build(images, devices(1), method, precision=precision)
    batch = ImageBatch(jnp.asarray(images.images[:4]), jnp.asarray(images.labels[:4]))
    mapped = step.data_parallel(device_step, devices(1))
    return jax.make_jaxpr(mapped)(state, batch, jax.random.key(0)).jaxpr


def products_of_a_step(images, method, precision):  # noqa: F811
    """The products of the update, without those of the views."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step, "make_views", lambda *a: (jnp.ones((4, 32, 32, 3)),) * 3)
        found = products(trace_step(images, method, precision))
    assert len(found) > 20
    return found


def is_full(equation):
    return equation.params["precision"] in (lax.Precision.HIGHEST, (lax.Precision.HIGHEST,) * 2)


@pytest.mark.parametrize("method", METHODS)
def test_what_the_products_are_computed_in(method, images):  # noqa: F811
    """The logits of SimCLR, cosines over a small temperature, are in full precision whatever the rest is in."""
    assert all(map(is_full, products_of_a_step(images, method, "float32")))
    always_full = 3 if method == "simclr" else 0  # forwards, and by either embedding backwards
    for precision, dtype in (("tensorfloat32", jnp.float32), ("bfloat16", jnp.bfloat16)):
        everything = products_of_a_step(images, method, precision)
        others = [p for p in everything if not is_full(p)]
        assert len(everything) - len(others) == always_full
        assert {operand.aval.dtype for p in others for operand in p.invars} == {np.dtype(dtype)}


def test_views_are_always_in_full_precision(images):  # noqa: F811
    normalization = measure(images.images)
    arguments = (np.float32(normalization.mean), np.float32(normalization.std))
    viewed = pretraining("sidae", "digits").views.to_dict() | {"p_blur": 0.5}
    keys = jax.random.split(jax.random.key(0), 2)
    traced = jax.make_jaxpr(lambda k, x: make_views(k, x, settings.ViewSettings(**viewed), *arguments))
    found = products(traced(keys, images.images[:2]).jaxpr)
    assert len(found) >= 7  # crop and blur, two each, and the blur's matrix
    assert all(map(is_full, found))


def test_on_a_cpu_float32_is_tensorfloat32(images):  # noqa: F811
    found = (run(images, devices(1), 2, precision=precision)[0] for precision in ("float32", "tensorfloat32"))
    assert_same_bits(*found)


@pytest.mark.parametrize("method", METHODS)
def test_bfloat16_is_near_float32_and_keeps_the_state_in_float32(method, images):  # noqa: F811
    wanted, full_metrics = run(images, devices(1), 1, method, stem="imagenet")
    found, metrics = run(images, devices(1), 1, method, stem="imagenet", precision="bfloat16")
    assert {name: value.dtype for name, value in found.items()} == {n: v.dtype for n, v in wanted.items()}
    for name, value in full_metrics.items():
        assert metrics[name] == pytest.approx(value, rel=0.03, abs=0.03), name
    assert metrics["loss"] != full_metrics["loss"]


def losses(images, precision, steps):  # noqa: F811
    """The loss of each step."""
    on = devices(1)
    state, device_step = build(images, on, precision=precision)
    mapped, key, found = step.data_parallel(device_step, on), mesh.replicated_keys(on, [3]), []
    for _, batch in input_pipeline.stream_batches(images, order_of(images), BATCH, on, start=0, end=steps):
        state, metrics = mapped(state, batch, key)
        found.append(metrics["loss"])
    return np.array(found)


def test_the_loss_of_fifty_steps_in_bfloat16_stays_near_that_in_float32(images):  # noqa: F811
    """At first step by step; later, where small batches make it noise, in the mean: it has fallen by 0.04 there."""
    wanted, found = (losses(images, precision, 50) for precision in ("float32", "bfloat16"))
    np.testing.assert_allclose(found[:3], wanted[:3], rtol=0, atol=0.01)
    assert found[30:].mean() == pytest.approx(wanted[30:].mean(), abs=0.015)
    assert wanted[30:].mean() < wanted[0] - 0.03


def test_a_run_in_bfloat16_is_continued_to_the_same_bits(images):  # noqa: F811
    halfway, _ = run(images, devices(1), 1, precision="bfloat16")
    straight, _ = run(images, devices(1), 2, precision="bfloat16")
    assert_same_bits(run(images, devices(1), 2, start=(halfway, 1), precision="bfloat16")[0], straight)


def test_eight_devices_in_bfloat16_are_one_to_its_rounding(images):  # noqa: F811
    (one, loss_of_one), (eight, loss_of_eight) = (run(images, devices(n), 1, precision="bfloat16") for n in (1, 8))
    assert loss_of_eight["loss"] == pytest.approx(loss_of_one["loss"], rel=2**-7)
    for name, value in one.items():
        if name.startswith("opt_state") and value.ndim > 1:  # the gradients
            assert np.linalg.norm(eight[name] - value) <= 0.1 * np.linalg.norm(value), name


def test_logits_of_simclr_are_not_rounded():
    """Two embeddings that bfloat16 cannot tell apart."""
    z1 = jnp.array([[1.0, 0.0], [1.0, 0.02]])
    full, rounded = (float(info_nce(z, z, 0.001)) for z in (z1, z1.astype(jnp.bfloat16)))
    assert full < 0.65 < np.log(2)
    assert rounded == pytest.approx(full, rel=0.05)


def test_evaluations_have_the_run_s_precision_or_their_own(tmp_path):
    saved_runs.save(tmp_path, {8: saved_runs.trained_arrays(8)})
    own = sidae_jax.load(tmp_path)
    assert own.network.precision == "tensorfloat32"
    config = protocol("knn")
    config.update(train_split="train[:100]", test_split="test[:40]", precision="bfloat16")
    config.knn.k = 5
    assert [record["precision"] for record in evaluate(config, str(tmp_path))] == ["bfloat16"] * 2
    images_ = data.load("digits", "train[:20]").images
    full = own(images_)
    own.network.precision = "bfloat16"
    rounded = own(images_)
    assert rounded.dtype == full.dtype == np.float32
    assert 0 < np.abs(rounded - full).max() < 0.05 * np.abs(full).max()


def test_no_sum_of_a_step_in_bfloat16_is_in_bfloat16(images):  # noqa: F811
    """The gradients of the biases are such sums, over 524,288 values in the decoder's last layer."""

    sums = equations(trace_step(images, "sidae", "bfloat16"), "reduce_sum")
    found = [s.invars[0].aval.dtype for s in sums if s.invars[0].aval.size > s.outvars[0].aval.size]
    assert len(found) > 20
    assert jnp.bfloat16 not in found
