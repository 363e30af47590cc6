"""Networks and methods on images of other sizes than 32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from sidae_jax.config import backbone_settings, pretraining
from sidae_jax.methods import METHODS, make_method
from sidae_jax.methods.batch import Batch
from sidae_jax.networks.backbones import make_backbone
from sidae_jax.networks.decoder import Decoder
from sidae_jax.networks.residual_decoder import ResidualDecoder


@pytest.mark.parametrize("size", [64, 96, 224])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_at_every_size(method, size):
    config = pretraining(method, "digits", width=4, size=size, **({"d_hid": 8} if method != "supervised" else {}))
    graphdef, state = nnx.split(make_method(config, None))
    image = jax.ShapeDtypeStruct((6, size, size, 3), jnp.float32)
    batch = Batch(image, image, image, jax.ShapeDtypeStruct((6,), jnp.int32))
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 6))
    loss, _ = jax.eval_shape(lambda *given: nnx.merge(graphdef, given[0]).loss(*given[1:]), state, batch, keys)
    assert loss.shape == ()
    if hasattr(METHODS[method], "reconstruct"):
        images = jax.eval_shape(lambda state, x: nnx.merge(graphdef, state).reconstruct(x), state, image)
        assert images.shape == image.shape


def test_the_decoders_first_maps_grow_with_the_image_and_their_convolutions_do_not():
    def shapes(kind, size):
        decoder = kind(16, size=size, width=4, axis_name=None, rng=np.random.default_rng(0))
        convs = decoder.convs if kind is Decoder else [block.conv1 for block in decoder.blocks]
        return decoder.linear.kernel[...].shape, [conv.kernel[...].shape for conv in convs]

    assert shapes(Decoder, 32)[0] == (16, 32)
    assert shapes(Decoder, 96)[0] == (16, 3 * 3 * 32)
    assert shapes(ResidualDecoder, 32)[0] == (16, 4 * 4 * 32)
    assert shapes(ResidualDecoder, 96)[0] == (16, 12 * 12 * 32)
    for kind in (Decoder, ResidualDecoder):
        assert shapes(kind, 32)[1] == shapes(kind, 96)[1]


def test_the_features_of_a_larger_image_are_of_its_whole_map():
    backbone = make_backbone(
        backbone_settings(pretraining("simsiam", "digits", width=4, size=96)), rng=np.random.default_rng(0)
    )
    flat = jnp.full((1, 96, 96, 3), 0.7)
    moved = flat.at[:, 80:, 80:].set(-0.7)
    features = [np.asarray(backbone(x, use_running_average=True)) for x in (flat, moved, flat[:, ::-1, ::-1])]
    assert features[0].shape == (1, 32)
    np.testing.assert_array_equal(features[0], features[2])
    assert np.abs(features[0] - features[1]).max() > 1e-3  # the far corner counts
