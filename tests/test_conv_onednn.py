"""config.native: which convolutions oneDNN computes, against plain ones of XLA, and what a run says and records."""

import importlib.util
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import saved_runs
from test_conv import CIFAR, IMAGENET, plain_conv2d, plain_conv_transpose2d

from sidae_jax import settings
from sidae_jax.config import pretraining
from sidae_jax.errors import UserError
from sidae_jax.evaluation.config import protocol
from sidae_jax.evaluation.run import evaluate
from sidae_jax.networks import conv, conv_onednn
from sidae_jax.training.train import train

INSTALLED = importlib.util.find_spec("sidae_jax_native") is not None
needs_package = pytest.mark.skipif(not INSTALLED, reason="sidae_jax_native is not installed: pip install ./native")
DECODER = [(1, 8, 5), (2, 8, 5), (4, 8, 5), (8, 8, 5), (16, 8, 3)]  # (size, c, f)
TOLERANCES = {"float32": 1e-5, "bfloat16": 2e-2}  # of the largest value


def _random(dtype, *shapes):
    rng = np.random.default_rng(0)
    return [jnp.asarray(rng.normal(size=shape), dtype) for shape in shapes]


def _assert_same(ours, plain, x, kernel):
    """Compares values and gradients with those of the plain operation in float32 on the same numbers."""
    with conv_onednn.use(True):
        y, pullback = jax.vjp(jax.jit(ours), x, kernel)
        wanted, wanted_pullback = jax.vjp(plain, *(a.astype(jnp.float32) for a in (x, kernel)))
        (dy,) = _random(x.dtype, y.shape)
        pairs = [(y, wanted), *zip(pullback(dy), wanted_pullback(dy.astype(jnp.float32)), strict=True)]
    for found, value in pairs:
        assert found.dtype == x.dtype
        scale = float(jnp.abs(value).max())
        np.testing.assert_allclose(found.astype(jnp.float32), value, rtol=0, atol=TOLERANCES[x.dtype.name] * scale)


@needs_package
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("size", "c", "f", "k", "stride"), IMAGENET + CIFAR)
def test_conv2d(size, c, f, k, stride, dtype):
    x, kernel = _random(dtype, (3, size, size, c), (k, k, c, f))
    _assert_same(lambda x, w: conv.conv2d(x, w, stride), lambda x, w: plain_conv2d(x, w, stride), x, kernel)


@needs_package
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("size", "c", "f"), DECODER)
def test_conv_transpose2d(size, c, f, dtype):
    x, kernel = _random(dtype, (3, size, size, c), (3, 3, c, f))
    _assert_same(conv.conv_transpose2d, plain_conv_transpose2d, x, kernel)
    _assert_same(conv_onednn.conv_transpose2d, plain_conv_transpose2d, x, kernel)


@needs_package
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_processor_without_bfloat16_computes_in_float32(monkeypatch, dtype):
    native = conv_onednn._native()
    x, kernel = _random(dtype, (3, 8, 8, 4), (3, 3, 4, 6))
    monkeypatch.setattr(native, "has_bfloat16", lambda: False)
    _assert_same(lambda x, w: conv.conv2d(x, w, 1), lambda x, w: plain_conv2d(x, w, 1), x, kernel)
    with conv_onednn.use(True):
        program = jax.jit(lambda x, w: conv.conv2d(x, w, 1)).lower(x, kernel).as_text()
    assert "bf16" not in "".join(line for line in program.splitlines() if "sidae_jax_native" in line)


def _calls(function, *arguments):
    """Returns how many calls of oneDNN the program for this CPU has."""
    return jax.jit(function).lower(*arguments).as_text().count("custom_call @sidae_jax_native")


@needs_package
def test_the_choice_by_shape_and_precision():
    def convolution(size, c, f, k, stride, dtype="float32"):
        x, kernel = _random(dtype, (2, size, size, c), (k, k, c, f))
        return _calls(lambda x, w: conv.conv2d(x, w, stride), x, kernel)

    def transposed(size, c, f, dtype="float32"):
        return _calls(conv.conv_transpose2d, *_random(dtype, (2, size, size, c), (3, 3, c, f)))

    with conv_onednn.use(True):
        assert [convolution(*case) for case in IMAGENET] == [1, 1, 1, 0, 1, 0, 0, 0, 0, 0, 0]
        narrow = int(conv_onednn.has_bfloat16())  # faster than XLA once more, if it has instructions
        assert [convolution(*case, "bfloat16") for case in IMAGENET] == [1, 1, 1, 0, 1, narrow, 0, 0, 0, 0, 0]
        assert [transposed(*case) for case in DECODER] == [0, 0, 1, 1, 1]
        assert [transposed(*case, "bfloat16") for case in DECODER] == [0, 0, 1, 1, 1]
    assert not any(convolution(*case) for case in IMAGENET)  # outside of the context, in the same process
    assert not any(transposed(*case) for case in DECODER)


def test_choose_wants_one_of_three_values_and_on_wants_the_package():
    assert settings.NATIVE == ("auto", "on", "off")
    assert conv_onednn.choose("off") is False
    assert conv_onednn.choose("auto") is INSTALLED
    assert conv_onednn.choose("auto", mapped=False) is False  # the tests have eight devices
    if INSTALLED:
        assert conv_onednn.choose("on") is conv_onednn.choose("on", mapped=False) is True
    else:
        with pytest.raises(UserError, match=r"config.native=on, but .*sidae_jax_native is not installed: pip install"):
            conv_onednn.choose("on")


@pytest.fixture
def small(prepared_digits):
    return pretraining(
        "sidae", "digits", data_dir=str(prepared_digits), train_split="train[:32]", epochs=2, batch_size=16, width=4,
        d_hid=16, checkpoint_every=1, log_every=1,
    )  # fmt: skip


def test_a_run_names_a_missing_package_once_and_records_what_it_used(small, tmp_path, capfd):
    train(small, str(tmp_path / "auto"))
    recorded = json.loads((tmp_path / "auto" / "config.json").read_text())
    assert recorded["config"]["native"] == ("on" if INSTALLED else "off")
    assert ("onednn-cpu-gomp" in recorded["versions"]) is INSTALLED
    says_so = not INSTALLED and (sys.platform, platform.machine()) == ("linux", "x86_64")
    out = capfd.readouterr().out
    assert out.count("sidae_jax_native is not installed") == says_so
    assert ("convolutions by oneDNN" in out) is INSTALLED

    small.native = "off"
    train(small, str(tmp_path / "off"))
    recorded = json.loads((tmp_path / "off" / "config.json").read_text())
    assert recorded["config"]["native"] == "off"
    assert "onednn-cpu-gomp" not in recorded["versions"]
    out = capfd.readouterr().out
    assert "starting: " in out
    assert "sidae_jax_native" not in out
    assert "oneDNN" not in out


@needs_package
@pytest.mark.parametrize("damage", ["not compiled", "not a library"])
def test_a_package_that_cannot_be_loaded_is_said(tmp_path, damage):
    """In a process of its own, whose package is a copy without the compiled part, or with another file."""
    package = pathlib.Path(importlib.util.find_spec("sidae_jax_native").origin).parent
    copy = shutil.copytree(package, tmp_path / "sidae_jax_native")
    (compiled,) = copy.glob("_convolution*.so")
    if damage == "not compiled":
        compiled.unlink()
    else:
        compiled.write_text("something else")
    program = "from sidae_jax.networks import conv_onednn; print(conv_onednn.choose('auto'), conv_onednn.hint())"
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{pathlib.Path(__file__).parents[1]}"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120)
    problem = {"not compiled": "sidae_jax_native is not compiled", "not a library": "oneDNN cannot be loaded"}[damage]
    assert f"False convolutions without oneDNN, although sidae_jax_native is installed: {problem}" in done.stdout


@needs_package
def test_an_evaluation_obeys_and_records_native(tmp_path):
    run = saved_runs.save(tmp_path / "run", {8: saved_runs.trained_arrays(8)})
    config = protocol("knn")
    config.update({"train_split": "train[:40]", "test_split": "test[:30]", "knn": {"k": 5}})
    features = {}
    for native in ("on", "off"):
        config.native = native
        (record,) = evaluate(config, str(run), only_step=8)[1:]
        assert record["native"] == native
        files = {path: np.load(path) for path in (run / "eval" / "features").glob("*train*step8*.npy")}
        (new,) = files.keys() - features.keys()  # not that of the other convolutions
        features[new] = files[new]
    by_onednn, by_xla = features.values()
    np.testing.assert_allclose(by_onednn, by_xla, rtol=0, atol=1e-4 * np.abs(by_xla).max())


@needs_package
def test_training_by_onednn_is_training_by_xla_up_to_rounding(small, tmp_path, caplog):
    losses = {}
    for native in ("on", "off"):
        small.native = native
        train(small, str(tmp_path / native))
        lines = (tmp_path / native / "metrics.jsonl").read_text().splitlines()
        losses[native] = [json.loads(line)["loss"] for line in lines]
    assert losses["on"] != losses["off"]  # or it was not used
    np.testing.assert_allclose(losses["on"][:3], losses["off"][:3], rtol=0, atol=1e-5)
    np.testing.assert_allclose(losses["on"], losses["off"], rtol=0, atol=2e-3)  # rounding grows from step to step

    small.native = "on"
    train(small, str(tmp_path / "off"))  # which is finished
    assert "otherwise (config.native off -> on): its last bits" in caplog.text
