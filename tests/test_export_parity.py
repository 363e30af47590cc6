"""Exported encoders in PyTorch: python -m pytest -m parity, with the extra `parity`; one needs torchvision too."""

import numpy as np
import pytest
import safetensors.numpy
from saved_runs import NORMALIZATION, arrays_of, save

import sidae_jax
from sidae_jax.config import pretraining
from sidae_jax.evaluation import make_export
from sidae_jax.methods import make_method

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.parity

import pytorch_backbones  # noqa: E402
import pytorch_reference  # noqa: E402

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)


def exported(folder, **changes):
    """Returns the features of IMAGES of a run with every value moved, and its exported state dict."""
    made_by = pretraining("supervised", "digits", **{"stem": "imagenet", "precision": "float32", **changes})
    rng = np.random.default_rng(0)
    arrays = {
        # the moves keep the features of one magnitude from block to block
        name: value + rng.uniform(*((0.01, 0.2) if value.ndim == 1 else (-0.01, 0.01)), value.shape).astype(value.dtype)
        for name, value in arrays_of(make_method(made_by, None)).items()
    }
    run = save(folder / "run", {4: arrays}, made_by)
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
