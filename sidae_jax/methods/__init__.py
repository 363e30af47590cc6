"""The self-supervised methods. Each is one final `nnx.Module` in a file of its own, with

* `encoder`: the network whose `encoder.backbone` is kept and evaluated;
* `loss(batch, keys) -> (scalar, metrics)`: the loss of one device's part of a batch in training mode, with one key
  an example for methods that draw at random (the views are drawn before).

A new method is a new file, a line in METHODS and one in METHOD_KEYS. METHODS maps a name to a function from the
config and the mapped axis over which BatchNorm takes its statistics (None on a single device) to the method, its
parameters drawn from config.seed: the same for a part that several methods have. METHOD_KEYS names the config's keys
that a method has beyond those of all, with the paper's values.
"""

from sidae_jax.methods.dae import DAE
from sidae_jax.methods.sidae import SidAE
from sidae_jax.methods.simsiam import SimSiam
from sidae_jax.networks.resnet import BackboneSettings

METHOD_KEYS = {
    "sidae": {"w": 0.5, "target": "image"},
    "simsiam": {},
    "dae": {"target": "image"},
}

METHODS = {
    "sidae": lambda config, axis_name: SidAE(
        w=config.w, target=config.target, **_encoder(config), axis_name=axis_name, seed=config.seed
    ),
    "simsiam": lambda config, axis_name: SimSiam(**_encoder(config), axis_name=axis_name, seed=config.seed),
    "dae": lambda config, axis_name: DAE(
        target=config.target, **_encoder(config), axis_name=axis_name, seed=config.seed
    ),
}


def _encoder(config) -> dict:
    return {"backbone": BackboneSettings(config.stem, config.width, config.zero_init_residual), "d": config.d_hid}
