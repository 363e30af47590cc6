"""Live comparison with PyTorch, at full size: python -m pytest -m parity, with the extra `parity`.

Without PyTorch these tests are skipped; test_golden.py makes the same comparison at a tiny size from stored values.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from torch_names import from_torch

from sidae_jax import config
from sidae_jax.methods import make_method
from sidae_jax.methods.batch import Batch
from sidae_jax.runs import checkpoint

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.parity

import golden_backbones  # noqa: E402
import make_golden  # noqa: E402
import make_golden_backbones  # noqa: E402
import pytorch_backbones  # noqa: E402
import pytorch_reference  # noqa: E402


@pytest.mark.parametrize("maker", [make_golden, make_golden_backbones])
def test_the_golden_values_are_what_pytorch_gives_now(maker):
    stored = np.load(maker.PATH, allow_pickle=False)
    made = maker.compute(torch.float64)
    assert set(stored.files) == set(made)
    for name in stored.files:
        np.testing.assert_allclose(made[name], stored[name], rtol=1e-5, atol=1e-7, err_msg=name)


@pytest.mark.parametrize("stem", ["imagenet", "cifar"])
def test_a_full_size_sidae_has_pytorchs_loss_and_gradients(stem):
    torch.manual_seed(0)
    theirs = pytorch_reference.SidAE(64, 2048, 0.5, stem)
    make_golden.perturb(theirs, torch.Generator().manual_seed(1))
    theirs.train()
    images = make_golden.make_batch(np.random.default_rng(0))
    loss, _ = theirs.loss(*(torch.from_numpy(image).double() for image in images))
    loss.backward()
    wanted = from_torch({name: p.grad.numpy() for name, p in theirs.named_parameters()})

    settings = config.pretraining("sidae", "digits", stem=stem)
    graphdef, params, batch_stats = nnx.split(make_method(settings, None), nnx.Param, nnx.BatchStat)
    arrays = from_torch({name: value.numpy() for name, value in theirs.state_dict().items()})

    @jax.jit
    @jax.value_and_grad
    def gradient(params, batch_stats, batch):
        method = nnx.merge(graphdef, params, batch_stats, copy=True)
        return method.loss(batch, jax.random.split(jax.random.key(0), 6))[0]

    # in float32 a few ReLUs are on the other side of zero, and single elements of the gradients differ by 1e-3
    with jax.enable_x64(True):
        params = jax.tree.map(jnp.asarray, checkpoint.from_arrays(params, arrays, "params."))
        batch_stats = jax.tree.map(lambda value: value.astype(jnp.float64), batch_stats)
        views = [jnp.asarray(image.transpose(0, 2, 3, 1), jnp.float64) for image in images]
        found_loss, gradients = gradient(params, batch_stats, Batch(*views, jnp.zeros(6, jnp.int32)))
    np.testing.assert_allclose(found_loss, loss.item(), rtol=1e-12)
    found = checkpoint.to_arrays(gradients, "params.")
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=0, atol=1e-10 * np.abs(value).max() + 1e-14, err_msg=name)


def test_a_fresh_network_is_drawn_as_pytorchs():
    """Each array of a full-size SidAE: constants alike, and else the same standard deviation and reach."""
    torch.manual_seed(0)
    theirs = pytorch_reference.SidAE(64, 2048, 0.5, "imagenet")
    wanted = from_torch({name: p.detach().numpy() for name, p in theirs.named_parameters()})
    settings = config.pretraining("sidae", "digits", zero_init_residual=True)
    found = checkpoint.to_arrays(nnx.state(make_method(settings, None), nnx.Param), "params.")
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        if value.std() == 0:
            np.testing.assert_array_equal(found[name], value, err_msg=name)
        elif value.size > 100:
            np.testing.assert_allclose(found[name].std(), value.std(), rtol=5 / value.size**0.5, err_msg=name)
            uniform = [np.abs(array).max() < 1.8 * array.std() for array in (found[name], value)]  # sqrt(3) of them
            assert uniform[0] == uniform[1], name


@pytest.mark.parametrize("backbone", golden_backbones.BLOCKS)
def test_the_reference_of_the_backbones_is_torchvision(backbone):
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(0)
    ours = getattr(pytorch_backbones, backbone)()
    options = {"norm_layer": lambda channels: torch.nn.GroupNorm(32, channels)} if backbone.endswith("_gn") else {}
    theirs = getattr(torchvision.models, backbone.removesuffix("_gn"))(**options)
    theirs.fc = torch.nn.Identity()
    ours.load_state_dict(theirs.state_dict())
    x = torch.from_numpy(golden_backbones.images())
    for network in (ours, theirs):
        network.train()
    torch.testing.assert_close(ours(x), theirs(x))
