"""A batch in several parts, one after another: the same step, but for what a method takes over a batch."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_step import BATCH, assert_same_to_float64, build, devices, images, order_of, run_in_float64  # noqa: F401

from sidae_jax import config, mesh, streams
from sidae_jax.config import validate, view_settings
from sidae_jax.data.normalization import measure
from sidae_jax.errors import UserError
from sidae_jax.runs import checkpoint
from sidae_jax.streams import Stream
from sidae_jax.training import input_pipeline, step
from sidae_jax.training.train import train
from sidae_jax.views import make_views


def run(images, on, accumulate, steps, **changes):  # noqa: F811
    """(arrays of the state, metrics) after some streamed steps of a tiny SidAE."""
    state, device_step = build(images, on, accumulate=accumulate, **changes)
    mapped = step.data_parallel(device_step, on)
    order = input_pipeline.in_parts(order_of(images), accumulate, on.size)
    key = mesh.replicated_keys(on, [3])
    for _, batch in input_pipeline.stream_batches(images, order, BATCH, on, start=0, end=steps):
        state, metrics = mapped(state, batch, key)
    return checkpoint.to_arrays(state), {name: float(value) for name, value in metrics.items()}


def assert_close(found, wanted, share):
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=0, atol=share * np.abs(value).max() + 1e-7, err_msg=name)


def test_two_parts_are_one_batch_without_batch_norm(images):  # noqa: F811
    wanted, of_one = run(images, devices(1), 1, 3, backbone="resnet18_gn")
    found, of_two = run(images, devices(1), 2, 3, backbone="resnet18_gn")
    of_one.pop("feature_std"), of_two.pop("feature_std")  # a standard deviation, of the batch or a part
    assert of_two == pytest.approx(of_one, rel=1e-5)
    assert_close(found, wanted, 1e-5)


def test_the_parts_are_the_same_images_on_four_devices(images, monkeypatch):  # noqa: F811
    """With BatchNorm, whose statistics are of a part on all devices."""
    four, one = (run_in_float64(images, count, 3, monkeypatch, accumulate=2) for count in (4, 1))
    assert_same_to_float64(four, one)


def test_the_running_statistics_move_in_every_part(images):  # noqa: F811
    """Those of the first BatchNorm by hand, from views that are made for the whole batch at once."""
    state, _ = build(images, devices(1))
    kernel = checkpoint.to_arrays(state)["params.encoder.backbone.stem.kernel"]
    places = np.arange(BATCH)
    keys = streams.example_keys(jax.random.key(3), Stream.VIEWS, jnp.int32(0), jnp.asarray(places))
    normalization = measure(images.images)
    mean, std = np.float32(normalization.mean), np.float32(normalization.std)
    settings = view_settings(config.pretraining("sidae", "digits"))
    make = jax.jit(lambda keys, x: make_views(keys, x, settings, mean, std))
    _, x1, x2 = make(keys, jnp.asarray(images.images[order_of(images)[0]]))
    running = np.zeros(4)
    for part in np.split(places, 2):
        for view in (x1, x2):
            maps = jax.lax.conv_general_dilated(
                view[part], kernel, (2, 2), [(3, 3)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
            running = 0.9 * running + 0.1 * np.asarray(maps, np.float64).mean((0, 1, 2))
    after, _ = run(images, devices(1), 2, 1)
    np.testing.assert_allclose(after["batch_stats.encoder.backbone.stem_norm.mean"], running, rtol=1e-4, atol=1e-6)


def test_runs_in_parts_resident_streamed_and_of_several_seeds(tmp_path):
    tiny = {"width": 4, "d_hid": 32, "batch_size": 32, "epochs": 2, "train_split": "train[:64]", "log_every": 1}
    tiny |= {"backbone": "resnet18_gn", "zero_init_residual": True}

    def losses(name, **changes):
        settings = config.pretraining("simsiam", "digits", **tiny, **changes)
        validate(settings)
        train(settings, str(tmp_path / name))
        folder = tmp_path / name / ("seed0" if "num_seeds" in changes else "")
        return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]

    wanted = losses("whole")
    assert len(wanted) == 4
    for name, changes in {"resident": {}, "streamed": {"input": "stream"}, "seeds": {"num_seeds": 2}}.items():
        assert losses(name, accumulate=2, **changes) == pytest.approx(wanted, rel=1e-4, abs=1e-5), name


def test_parts_that_are_not_equal_are_refused():
    settings = config.pretraining("sidae", "digits", batch_size=100, accumulate=3)
    with pytest.raises(UserError, match=r"batch_size=100 is not config.accumulate=3 equal.*batch_size=99 or 102"):
        validate(settings)
    if len(jax.devices()) != 8:
        pytest.skip("names eight devices")
    with pytest.raises(UserError, match=r"by the 8 devices times config.accumulate=3: give .*batch_size=96 or 120"):
        mesh.data_mesh(99, 3)
