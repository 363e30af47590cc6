"""The methods, and the report's supervised baseline. Each is one final `nnx.Module` in a file of its own, with

* `encoder`: the network whose `encoder.backbone` is kept and evaluated;
* `loss(batch, keys) -> (scalar, metrics)`: the loss of one device's part of a batch in training mode, with one key
  an example for methods that draw at random (the views are drawn before);
* `reconstruct(x) -> x'` in evaluation mode, where it has a decoder;
* `classifier(features, views) -> logits`, where one is trained on the way.

A new method is a new file, a line in METHODS and one in METHOD_KEYS. METHODS maps a name to a function from the
config and the mapped axis over which BatchNorm takes its statistics (None on a single device) to the method, its
parameters drawn from config.seed: the same for a part that several methods have. METHOD_KEYS names the config's keys
that a method has beyond those of all, and those whose values are others in its paper than in config.py; "views" holds
the fields of ViewSettings that are.
"""

from collections.abc import Callable

from flax import nnx
from ml_collections import ConfigDict

from sidae_jax.methods.ae import AE
from sidae_jax.methods.dae import DAE
from sidae_jax.methods.sidae import SidAE
from sidae_jax.methods.simclr import SimCLR
from sidae_jax.methods.simsiam import SimSiam
from sidae_jax.methods.supervised import Supervised
from sidae_jax.methods.vae import VAE
from sidae_jax.networks.resnet import BackboneSettings

_REPORT = {  # the report's released code
    "classes": 10,
    "stem": "cifar",
    "epochs": 150,
    "batch_size": 256,
    "optimizer": "adam",
    "schedule": "constant",
    "lr": 3e-4,
    "weight_decay": 0.0,
    "views": {"crop_scale": (0.08, 1.0)},
}

METHOD_KEYS = {
    "sidae": {"d_hid": 2048, "w": 0.5, "target": "image"},
    "simsiam": {"d_hid": 2048},
    "dae": {"d_hid": 2048, "target": "image"},
    "ae": {**_REPORT, "d_hid": 128},
    "vae": {**_REPORT, "d_hid": 128, "beta": 0.1},
    "simclr": {**_REPORT, "d_hid": 128, "temperature": 0.1},
    "supervised": _REPORT,
}


def _maker(method: type[nnx.Module], *keys: str) -> Callable[[ConfigDict, str | None], nnx.Module]:
    """A function that makes the method from a config, with the values of these keys of it."""

    def make(config, axis_name):
        backbone = BackboneSettings(config.stem, config.width, config.zero_init_residual)
        own = {"d" if key == "d_hid" else key: config[key] for key in keys}
        return method(backbone=backbone, **own, axis_name=axis_name, seed=config.seed)

    return make


METHODS = {
    "sidae": _maker(SidAE, "d_hid", "w", "target"),
    "simsiam": _maker(SimSiam, "d_hid"),
    "dae": _maker(DAE, "d_hid", "target"),
    "ae": _maker(AE, "d_hid", "classes"),
    "vae": _maker(VAE, "d_hid", "beta", "classes"),
    "simclr": _maker(SimCLR, "d_hid", "temperature", "classes"),
    "supervised": _maker(Supervised, "classes"),
}
