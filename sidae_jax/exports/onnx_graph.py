"""The graph of a ResNet with torchvision's names, in ONNX: uint8 images in, features out. Only this file imports onnx.

Written by hand and not by a converter: the networks are few, and no converter knows Flax NNX without TensorFlow.
"""

import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from sidae_jax.data.normalization import Normalization
from sidae_jax.networks.statistics import EPSILON

OPSET = 17  # of 2022: all that is needed, and old enough for the runtimes in use
_IR_VERSION = 8  # that of the same release, onnx 1.12


def make(
    arrays: Mapping[str, np.ndarray],
    normalization: Normalization,
    size: int,
    groups: int | None,
    metadata: Mapping[str, str],
) -> onnx.ModelProto:
    """Returns the model: "images", uint8 [n, 3, size, size], 0..255, to "features", float32 [n, d].

    arrays: of the network, by torchvision's names, which the model's initializers have too.
    groups: the most groups of its GroupNorms; None if it has BatchNorms.
    metadata: what the model's metadata_props say.
    """
    graph = _Graph(arrays, groups)
    graph.resnet(graph.normalized("images", normalization))
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", 3, size, size])
    features = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", graph.channels])
    model = helper.make_model(
        helper.make_graph(graph.nodes, "encoder", [images], [features], list(graph.initializers.values())),
        producer_name="sidae_jax",
        producer_version=metadata["sidae_jax"],
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=_IR_VERSION,
    )
    helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model, full_check=True)
    return model


class _Graph:
    """Nodes and initializers; each method adds nodes and returns the name of their output, a map [n, c, h, w]."""

    def __init__(self, arrays: Mapping[str, np.ndarray], groups: int | None):
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, TensorProto] = {}
        self.channels = 0  # of the last convolution
        self._arrays, self._groups = arrays, groups

    def normalized(self, images: str, normalization: Normalization) -> str:
        """(images / 255 - mean) / std, rounded as `evaluation.backbone.normalize` does."""
        x = self._node("Cast", [images], to=TensorProto.FLOAT)
        x = self._node("Div", [x, self._constant("pixel_range", np.array(255, np.float32))])
        for op, name in ("Sub", "mean"), ("Div", "std"):
            values = np.float32(getattr(normalization, name)).reshape(3, 1, 1)
            x = self._node(op, [x, self._constant(name, values)])
        return x

    def resnet(self, x: str) -> str:
        """Everything from the stem to the pooled features [n, d]."""
        of_imagenet = self._arrays["conv1.weight"].shape[-1] == 7
        x = self._relu(self._norm(self._conv(x, "conv1", 2 if of_imagenet else 1), "bn1"))
        if of_imagenet:
            x = self._node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
        for stage in range(1, 5):
            for block in itertools.count():
                name = f"layer{stage}.{block}"
                if f"{name}.conv1.weight" not in self._arrays:
                    break
                x = self._block(x, name, stride=2 if stage > 1 and block == 0 else 1)
        x = self._node("GlobalAveragePool", [x])
        return self._node("Flatten", [x], "features")

    def _block(self, x: str, name: str, stride: int) -> str:
        """The first 3x3 convolution has the stride, in a bottleneck too."""
        convs = [f"conv{i}" for i in (1, 2, 3) if f"{name}.conv{i}.weight" in self._arrays]
        strided = next(conv for conv in convs if self._arrays[f"{name}.{conv}.weight"].shape[-1] == 3)
        y = x
        for conv in convs:
            y = self._conv(y, f"{name}.{conv}", stride if conv == strided else 1)
            y = self._norm(y, f"{name}.{conv.replace('conv', 'bn')}")
            y = y if conv == convs[-1] else self._relu(y)
        if f"{name}.downsample.0.weight" in self._arrays:
            x = self._norm(self._conv(x, f"{name}.downsample.0", stride), f"{name}.downsample.1")
        return self._relu(self._node("Add", [x, y]))

    def _conv(self, x: str, name: str, stride: int) -> str:
        weight = self._arrays[f"{name}.weight"]
        self.channels, size = weight.shape[0], weight.shape[-1]
        options: dict[str, Any] = {"kernel_shape": [size] * 2, "strides": [stride] * 2, "pads": [(size - 1) // 2] * 4}
        return self._node("Conv", [x, self._weight(f"{name}.weight")], **options)

    def _norm(self, x: str, name: str) -> str:
        if self._groups is None:
            of = [self._weight(f"{name}.{leaf}") for leaf in ("weight", "bias", "running_mean", "running_var")]
            return self._node("BatchNormalization", [x, *of], epsilon=EPSILON)
        # this opset has no GroupNormalization: each group is a channel for a while
        groups = math.gcd(self._groups, self.channels)
        y = self._node("Reshape", [x, self._constant(f"groups{groups}", np.array([0, groups, -1], np.int64))])
        plain = [self._constant(f"{what}{groups}", np.full(groups, what == "ones", np.float32)) for what in _PLAIN]
        y = self._node("InstanceNormalization", [y, *plain], epsilon=EPSILON)
        y = self._node("Reshape", [y, self._node("Shape", [x])])
        for op, leaf in ("Mul", "weight"), ("Add", "bias"):
            y = self._node(op, [y, self._weight(f"{name}.{leaf}", (-1, 1, 1))])
        return y

    def _relu(self, x: str) -> str:
        return self._node("Relu", [x])

    def _weight(self, name: str, shape: tuple[int, ...] | None = None) -> str:
        value = self._arrays[name]
        return self._constant(name, value if shape is None else value.reshape(shape))

    def _constant(self, name: str, value: np.ndarray) -> str:
        if name not in self.initializers:
            self.initializers[name] = numpy_helper.from_array(value, name)
        return name

    def _node(self, op: str, inputs: list[str], output: str | None = None, **attributes) -> str:
        output = output or f"{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [output], output, **attributes))
        return output


_PLAIN = ("ones", "zeros")  # scale and bias that change nothing
