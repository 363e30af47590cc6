"""Exported encoders in PyTorch: python -m pytest -m parity, with the extra `parity`; some need torchvision or timm."""

import json
import re

import numpy as np
import pytest
import safetensors.numpy
from saved_runs import NORMALIZATION, save_moved

import sidae_jax
from sidae_jax.config import pretraining
from sidae_jax.exports import make_export

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.parity

import pytorch_backbones  # noqa: E402
import pytorch_reference  # noqa: E402

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)


def exported(folder, **changes):
    """Returns the features of IMAGES of a run with every value moved, and its exported state dict."""
    made_by = pretraining("supervised", "digits", **{"stem": "imagenet", "precision": "float32", **changes})
    run = save_moved(folder / "run", made_by)
    make_export.write(run, folder / "encoder.safetensors")
    state = safetensors.numpy.load_file(folder / "encoder.safetensors")
    return sidae_jax.load(run)(IMAGES), {name: torch.from_numpy(value) for name, value in state.items()}


def assert_same_features(network, features):
    x = (IMAGES / np.float64(255) - NORMALIZATION.mean) / NORMALIZATION.std
    with torch.no_grad():
        wanted = network.eval()(torch.from_numpy(np.float32(x.transpose(0, 3, 1, 2)))).numpy()
    assert wanted.std() > 0.1  # they are of some size
    np.testing.assert_allclose(features, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("network", "changes"),
    [
        (lambda: pytorch_reference.ResNet18(8), {"width": 8}),
        (lambda: pytorch_reference.ResNet18(8, "cifar"), {"width": 8, "stem": "cifar"}),
        (lambda: pytorch_backbones.resnet34(8), {"width": 8, "backbone": "resnet34"}),
        (lambda: pytorch_backbones.resnet50(8), {"width": 8, "backbone": "resnet50"}),
        (lambda: pytorch_backbones.resnet18_gn(8, groups=4), {"width": 8, "backbone": "resnet18_gn"}),
    ],
    ids=["resnet18", "cifar", "resnet34", "resnet50", "resnet18_gn"],
)
def test_the_reference_has_our_features_with_an_exported_encoder(network, changes, tmp_path):
    features, state = exported(tmp_path, **changes)
    made = network()
    made.load_state_dict(state)  # strict: it misses none, and the counters num_batches_tracked are PyTorch's to set
    assert_same_features(made, features)


def test_torchvisions_own_resnet18_has_our_features_with_an_exported_encoder(tmp_path):
    models = pytest.importorskip("torchvision.models")
    features, state = exported(tmp_path)
    made = models.resnet18()
    missing, unexpected = made.load_state_dict(state, strict=False)
    assert (set(missing), unexpected) == ({"fc.weight", "fc.bias"}, [])
    made.fc = torch.nn.Identity()
    assert_same_features(made, features)


@pytest.mark.parametrize(
    "changes", [{}, {"stem": "cifar"}, {"backbone": "resnet18_gn"}], ids=["imagenet", "cifar", "resnet18_gn"]
)
def test_the_code_in_the_card_has_our_features(changes, tmp_path, monkeypatch):
    pytest.importorskip("torchvision")
    features, _ = exported(tmp_path, **changes)
    make_export.write(tmp_path / "run", tmp_path / "hub")
    monkeypatch.chdir(tmp_path / "hub")
    code = next(
        block
        for block in re.findall(r"```python\n(.*?)```", (tmp_path / "hub" / "README.md").read_text(), re.DOTALL)
        if "torchvision" in block
    )
    images = torch.from_numpy(np.float32(IMAGES.transpose(0, 3, 1, 2) / np.float64(255)))
    names = {"given": images}
    code, replaced = re.subn(r"^images = .*$", "images = given", code, flags=re.MULTILINE)
    assert replaced == 1
    with torch.no_grad():
        exec(code, names)
    np.testing.assert_allclose(names["features"].numpy(), features, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "changes",
    [{}, {"backbone": "resnet50"}, {"backbone": "resnet18_gn"}],
    ids=["resnet18", "resnet50", "resnet18_gn"],
)
def test_timm_loads_the_folder_and_has_our_features(changes, tmp_path):
    timm = pytest.importorskip("timm")
    features, _ = exported(tmp_path, **changes)
    make_export.write(tmp_path / "run", tmp_path / "hub")
    made = timm.create_model(f"local-dir:{tmp_path / 'hub'}", pretrained=True)
    settings = timm.data.resolve_model_data_config(made)
    np.testing.assert_allclose((settings["mean"], settings["std"]), (NORMALIZATION.mean, NORMALIZATION.std))
    assert [*settings["input_size"], settings["interpolation"], settings["crop_pct"]] == [3, 32, 32, "bilinear", 1.0]
    assert_same_features(made, features)


def test_timm_refuses_a_folder_whose_network_it_does_not_have(tmp_path):
    timm = pytest.importorskip("timm")
    exported(tmp_path, stem="cifar")
    make_export.write(tmp_path / "run", tmp_path / "hub")
    name = json.loads((tmp_path / "hub" / "config.json").read_text())["architecture"]
    with pytest.raises(RuntimeError, match=rf"Unknown model \({name}\)"):
        timm.create_model(f"local-dir:{tmp_path / 'hub'}", pretrained=True)
