"""Encoders as ONNX models, in the real onnxruntime; with the extra `onnx`."""

import dataclasses
import json

import numpy as np
import pytest
from saved_runs import NORMALIZATION, save_moved

import sidae_jax
from sidae_jax.config import pretraining
from sidae_jax.errors import UserError
from sidae_jax.exports import encoder, make_export, onnx_file

onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra onnx")


def run_of(folder, **changes):
    settings = {"width": 4, "stem": "imagenet", "precision": "float32", **changes}
    return save_moved(folder, pretraining("supervised", "digits", **settings))


def images_of(size, n=5):
    return np.random.default_rng(size).integers(0, 256, (n, size, size, 3), np.uint8)


def session(path):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"stem": "cifar"},
        {"size": 96},
        {"backbone": "resnet34"},
        {"backbone": "resnet50", "size": 64},
        {"backbone": "resnet18_gn", "width": 6},  # 3 groups
        {"backbone": "resnet18_gn", "stem": "cifar"},
    ],
    ids=lambda changes: "-".join(map(str, changes.values())) or "imagenet",
)
def test_onnxruntime_has_our_features_of_any_number_of_images(changes, tmp_path):
    run = run_of(tmp_path / "run", **changes)
    says = make_export.write(run, tmp_path / "encoder.onnx")
    assert "onnxruntime" in says.splitlines()[2]
    size = changes.get("size", 32)
    model = session(tmp_path / "encoder.onnx")
    (given,), (made,) = model.get_inputs(), model.get_outputs()
    assert (given.name, given.type, given.shape) == ("images", "tensor(uint8)", ["n", 3, size, size])
    wanted = sidae_jax.load(run)(images_of(size))
    assert (made.name, made.type, made.shape) == ("features", "tensor(float)", ["n", wanted.shape[1]])
    for n in 1, 5:
        (found,) = model.run(None, {"images": images_of(size)[:n].transpose(0, 3, 1, 2)})
        assert found.dtype == np.float32
        scale = np.abs(wanted).max()
        assert scale > 0.1
        np.testing.assert_allclose(found / scale, wanted[:n] / scale, rtol=0, atol=1e-4)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return run_of(tmp_path_factory.mktemp("run"))


def test_the_model_says_what_it_is_and_has_the_same_bytes_each_time(run, tmp_path):
    for name in "a", "b":
        make_export.write(run, tmp_path / f"{name}.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    model = onnx.load(tmp_path / "a.onnx")
    assert [(each.domain, each.version) for each in model.opset_import] == [("", 17)]
    said = {each.key: each.value for each in model.metadata_props}
    assert json.loads(said["mean"]) == list(NORMALIZATION.mean)
    assert {key: said[key] for key in ("method", "dataset", "epochs", "step", "size", "sidae_jax")} == {
        "method": "supervised",
        "dataset": "digits",
        "epochs": "2",
        "step": "4",
        "size": "32",
        "sidae_jax": sidae_jax.__version__,
    }
    assert "arXiv:2304.02549" in said["citation"]
    assert "license" in said
    # its weights go by torchvision's names
    names = {each.name for each in model.graph.initializer}
    assert {"conv1.weight", "layer4.1.bn2.running_var", "layer2.0.downsample.0.weight"} <= names


def test_a_run_in_bfloat16_is_exported_in_float32(tmp_path):
    run = run_of(tmp_path / "run", precision="bfloat16")
    make_export.write(run, tmp_path / "encoder.onnx")  # and checked against the same weights in float32
    (found,) = session(tmp_path / "encoder.onnx").run(None, {"images": images_of(32).transpose(0, 3, 1, 2)})
    in_bfloat16 = sidae_jax.load(run)(images_of(32))
    apart = np.abs(found - in_bfloat16).max() / np.abs(in_bfloat16).max()
    assert 1e-4 < apart < 5e-2


@pytest.mark.parametrize("damage", [lambda x: x + np.float32(0.001), lambda x: x * np.float32(np.nan)])
def test_a_model_with_other_features_is_not_written(run, damage, tmp_path):
    exported = encoder.read(run)
    name = "layer3.0.bn1.bias"
    other = dataclasses.replace(exported, arrays={**exported.arrays, name: damage(exported.arrays[name])})
    with pytest.raises(UserError, match=r"--out=\S+ is not written: by onnxruntime \S+ its features are \S+ from the"):
        onnx_file.write(tmp_path / "encoder.onnx", other)
    assert list(tmp_path.iterdir()) == []
