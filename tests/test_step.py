"""The mapped step: the same numbers however it is mapped and however many devices there are."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax
from jax.sharding import Mesh

from sidae_jax import config, mesh
from sidae_jax.config import view_settings
from sidae_jax.data import Images
from sidae_jax.data.normalization import measure
from sidae_jax.methods import make_method
from sidae_jax.methods.batch import Batch
from sidae_jax.runs import checkpoint
from sidae_jax.training import input_pipeline, step
from sidae_jax.training.resident import gather_batch, resident_spec
from sidae_jax.training.several_steps import repeat
from sidae_jax.training.step import ImageBatch
from sidae_jax.views import make_views

BATCH = 16


@pytest.fixture(scope="module")
def images():
    """Forty smooth random images."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (40, 4, 4, 3)).repeat(8, 1).repeat(8, 2)
    pixels = (0.7 * coarse + 0.3 * rng.integers(0, 256, (40, 32, 32, 3))).astype(np.uint8)
    return Images(pixels, rng.integers(0, 10, 40).astype(np.int32), tuple("0123456789"))


def devices(count):
    if len(jax.devices()) < count:  # on one GPU the comparison would be of that with itself
        pytest.skip(f"needs {count} devices, there are {len(jax.devices())}")
    return Mesh(np.array(jax.devices()[:count]), (mesh.AXIS,))


def build(images, on, method="sidae", **changes):
    """(initial state, one device's step) of a tiny network."""
    # residual branches that start at zero: differences in rounding grow more slowly from step to step (in float32)
    changes = {"width": 4, "batch_size": BATCH, "zero_init_residual": True, **changes}
    if method != "supervised":
        changes = {"d_hid": 32, **changes}
    settings = config.pretraining(method, "digits", **changes)
    optimizer, _ = step.make_optimizer(settings.lr, settings.momentum, settings.weight_decay, 20, settings.optimizer)
    graphdef, state = step.create_state(make_method(settings, mesh.AXIS), optimizer)
    device_step = functools.partial(
        step.train_step,
        graphdef=graphdef,
        optimizer=optimizer,
        views=view_settings(settings),
        normalization=measure(images.images),
        precision=settings.precision,
        accumulate=settings.accumulate,
    )
    return mesh.put_tree(on, state), device_step


def run(images, on, steps, method="sidae", start=None, a_call=1, **changes):
    """(arrays of the state, metrics) after `steps` resident steps, or from `start` = (arrays, step) on.

    `a_call` of them in one call, 1 or an epoch's.
    """
    state, device_step = build(images, on, method, **changes)
    first = 0
    if start is not None:
        arrays, first = start
        state = mesh.put_tree(on, checkpoint.from_arrays(state, arrays))
    mapped = step.data_parallel(repeat(gather_batch(device_step)), on, resident_spec(1))
    per_epoch = {"steps_per_epoch": len(images.images) // BATCH, "log_every": a_call}
    batches = input_pipeline.resident_batches(images, [order_of(images)], on, start=first, end=steps, **per_epoch)
    return _run(mapped, state, batches, on, a_call)


def run_streamed(images, on, steps):
    state, device_step = build(images, on)
    batches = input_pipeline.stream_batches(images, order_of(images), BATCH, on, start=0, end=steps)
    return _run(step.data_parallel(device_step, on), state, batches, on, 1)


def _run(mapped, state, batches, on, a_call):
    key = mesh.replicated_keys(on, [3])
    metrics = None
    for n, batch in batches:
        assert n == a_call
        before = state
        with jax.transfer_guard("disallow"):
            state, metrics = mapped(state, batch, key)
        assert all(leaf.is_deleted() for leaf in jax.tree.leaves(before))  # donated
    assert mapped._cache_size() == 1  # compiled once
    return checkpoint.to_arrays(state), {name: float(value) for name, value in metrics.items()}


def order_of(images):
    return input_pipeline.batch_order(len(images.images), BATCH, seed=3)


def assert_same_bits(found, wanted):
    assert found.keys() == wanted.keys()
    for name in wanted:
        np.testing.assert_array_equal(found[name], wanted[name], err_msg=name)


@pytest.fixture(scope="module")
def one_device(images):
    return run(images, devices(1), 4)


@pytest.fixture(scope="module")
def eight_devices(images):
    return run_streamed(images, devices(8), 4)


def test_eight_devices_are_one(images):
    """Parameters and statistics after a step: losses alone would not show gradients that are summed."""
    (wanted, wanted_metrics), (found, metrics) = run(images, devices(1), 1), run_streamed(images, devices(8), 1)
    assert metrics == pytest.approx(wanted_metrics, rel=1e-4, abs=1e-5)
    assert found.keys() == wanted.keys()
    for name in wanted:
        # where rounding gives a value near zero the other sign, ReLU's gradient changes: by up to 0.7% of the largest
        share = 0.02 if name.startswith("opt_state.") else 1e-4
        np.testing.assert_allclose(
            found[name], wanted[name], rtol=0, atol=share * np.abs(wanted[name]).max() + 1e-7, err_msg=name
        )
    start = checkpoint.to_arrays(build(images, devices(1))[0])
    kernel = "params.encoder.backbone.stem.kernel"
    assert np.abs(wanted[kernel] - start[kernel]).max() > 100 * np.abs(wanted[kernel] - found[kernel]).max()


def run_in_float64(images, count, steps, monkeypatch, method="sidae", **changes):
    """Arrays after some steps on `count` devices, with the default initialization.

    Its rounding grows a thousandfold within a few steps.
    """
    on = devices(count)
    state, device_step = build(images, on, method, zero_init_residual=False, **changes)
    mapped, key = step.data_parallel(device_step, on), mesh.replicated_keys(on, [3])
    with jax.enable_x64(True), monkeypatch.context() as patch:
        patch.setattr(step, "make_views", lambda *a: [view.astype(jnp.float64) for view in make_views(*a)])
        state = jax.tree.map(lambda x: x.astype(jnp.float64) if x.dtype == jnp.float32 else x, state)
        for number in range(steps):
            rows = input_pipeline.in_parts(order_of(images), changes.get("accumulate", 1), count)[number]
            state, _ = mapped(state, ImageBatch(images.images[rows], images.labels[rows]), key)
    return checkpoint.to_arrays(state)


def assert_same_to_float64(found, wanted):
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=0, atol=1e-8 * np.abs(value).max() + 1e-13, err_msg=name)


@pytest.fixture(scope="module")
def one_device_in_float64(images):
    with pytest.MonkeyPatch.context() as patch:
        return run_in_float64(images, 1, 10, patch)


def test_eight_devices_are_one_to_the_rounding_of_float64(images, one_device_in_float64, monkeypatch):
    assert_same_to_float64(run_in_float64(images, 8, 10, monkeypatch), one_device_in_float64)


@pytest.mark.parametrize("method", ["ae", "vae", "simclr", "supervised"])
def test_eight_devices_are_one_for_the_other_methods(method, images, monkeypatch):
    """NT-Xent has the negatives of all devices, the VAE its noise by the place in the whole batch."""
    runs = (run_in_float64(images, n, 3, monkeypatch, method, stem="imagenet") for n in (8, 1))
    assert_same_to_float64(*runs)


def test_ten_steps_are_those_of_the_plain_lowerings(images, one_device_in_float64, monkeypatch):
    monkeypatch.setattr(lax, "platform_dependent", lambda *arguments, default, **_: default(*arguments))
    plain = run_in_float64(images, 1, 10, monkeypatch)
    assert_same_to_float64(plain, one_device_in_float64)
    assert any((plain[name] != value).any() for name, value in one_device_in_float64.items())  # another program


def test_pmap_of_the_same_function_gives_the_same_bits(images, eight_devices):
    state, device_step = build(images, devices(8))
    by_pmap = jax.pmap(device_step, axis_name=mesh.AXIS, in_axes=(None, 0, None), out_axes=None)
    for number in range(4):
        rows = order_of(images)[number]
        shards = (value[rows].reshape(8, BATCH // 8, *value.shape[1:]) for value in (images.images, images.labels))
        # pmap's outputs lie on a mesh of its own
        state, metrics = by_pmap(jax.tree.map(np.asarray, state), ImageBatch(*shards), jax.random.key(3))
    wanted, wanted_metrics = eight_devices
    assert_same_bits(checkpoint.to_arrays(state), wanted)
    assert {name: float(value) for name, value in metrics.items()} == wanted_metrics


def test_stream_and_resident_are_the_same(images, one_device):
    assert_same_bits(run_streamed(images, devices(1), 4)[0], one_device[0])


def test_two_steps_in_one_call_are_two_calls(images, one_device):
    assert_same_bits(run(images, devices(1), 4, a_call=2)[0], one_device[0])


def test_steps_continued_from_a_saved_state_are_bit_equal(images, one_device):
    halfway, _ = run(images, devices(1), 3)  # in the middle of an epoch of two steps
    assert_same_bits(run(images, devices(1), 4, start=(halfway, 3))[0], one_device[0])


@pytest.mark.parametrize(("w", "name", "part"), [(0.0, "simsiam", "loss_si"), (1.0, "dae", "loss_dae")])
def test_the_ends_of_w_are_simsiam_and_the_autoencoder_to_the_last_bit(w, name, part):
    images = jax.random.normal(jax.random.key(0), (3, 8, 32, 32, 3))

    def loss(name, **changes):
        settings = config.pretraining(name, "digits", width=4, d_hid=32, seed=5, **changes)
        graphdef, state = nnx.split(make_method(settings, None))

        batch = Batch(*images, jnp.zeros(8, jnp.int32))
        # operation by operation: compiled as two programs they may be rounded differently
        return nnx.merge(graphdef, state, copy=True).loss(batch, jax.random.split(jax.random.key(0), 8))

    (end, parts), (alone, _) = loss("sidae", w=w), loss(name)
    assert end == parts[part] == alone


def test_the_order_is_of_the_seed_and_the_step_alone(images):
    order = order_of(images)
    first, second = (input_pipeline.epoch_order(order, 2, epoch) for epoch in (0, 1))
    for epoch in (first, second):
        assert len(set(epoch.ravel().tolist())) == 2 * BATCH  # no image twice, the incomplete batch dropped
    assert not np.array_equal(first, second)
    again = input_pipeline.batch_order(40, BATCH, seed=3)
    np.testing.assert_array_equal(again[3], second[1])
    assert not np.array_equal(input_pipeline.batch_order(40, BATCH, seed=4)[0], order[0])
    ((n, batch),) = input_pipeline.stream_batches(images, order, BATCH, devices(2), start=3, end=4)
    assert n == 1
    np.testing.assert_array_equal(batch.labels, images.labels[second[1]])


def test_the_target_is_the_image_or_the_view():
    batch = Batch(*(jnp.full((1, 32, 32, 3), value) for value in (0.0, 1.0, 2.0)), jnp.zeros(1, jnp.int32))
    assert [float(target.max()) for target in batch.targets("image")] == [0, 0]
    assert [float(target.max()) for target in batch.targets("view")] == [1, 2]


def test_feature_std_and_finite_metrics(one_device):
    _, metrics = one_device
    assert set(metrics) == {"loss", "loss_dae", "loss_si", "feature_std"}
    assert 0.3 < metrics["feature_std"] < 1.3
    assert metrics["loss"] == pytest.approx(0.5 * metrics["loss_dae"] + 0.5 * metrics["loss_si"], rel=1e-5)
    assert jnp.isfinite(jnp.array(list(metrics.values()))).all()
