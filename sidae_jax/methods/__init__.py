"""The pre-training methods.

Each is one `nnx.Module` that is not subclassed, in a file of its own, with

* `encoder`: the network whose `encoder.backbone` is kept and evaluated;
* `loss(batch, keys) -> (scalar, metrics)`: the loss of one device's part of a batch in training mode; `keys` has one
  key per example for methods that draw at random themselves (the views are drawn before);
* `reconstruct(x) -> x'` in evaluation mode, if it has a decoder;
* `classifier(features) -> logits`, if one is trained on the way.

Its metrics include "feature_std", the measure of collapse. Its constructor takes (settings, *, backbone, axis_name,
seed), as `make_method` calls it.

To add a method, write its file; add its settings to `sidae_jax/settings.py` and there to METHOD_SETTINGS, which makes
them keys of a config, and to `own_settings` if its source differs from the SidAE paper in others; check their ranges in
`config.validate`; and add a line to METHODS. With `num_classes` among its settings, its `classifier` can be evaluated
by configs/online_eval.py.
"""

from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict

from sidae_jax.config import backbone_settings, method_settings
from sidae_jax.config_values import one_of
from sidae_jax.methods.ae import AE
from sidae_jax.methods.dae import DAE
from sidae_jax.methods.sidae import SidAE
from sidae_jax.methods.simclr import SimCLR
from sidae_jax.methods.simsiam import SimSiam
from sidae_jax.methods.supervised import Supervised
from sidae_jax.methods.vae import VAE
from sidae_jax.networks.backbones import BACKBONES
from sidae_jax.networks.group_norm import groups_at, replace_batch_norms

METHODS: dict[str, Callable[..., Any]] = {
    "sidae": SidAE,
    "simsiam": SimSiam,
    "dae": DAE,
    "ae": AE,
    "vae": VAE,
    "simclr": SimCLR,
    "supervised": Supervised,
}


def make_method(config: ConfigDict, axis_name: str | None) -> Any:
    """Creates the method of a config, with the initial values of config.seed.

    axis_name: the mapped axis over which BatchNorm and the losses gather; None on a single device.

    Raises UserError if the config, which may be a checkpoint's, names a backbone that is not known here.
    """
    architecture = BACKBONES[one_of("backbone", config.backbone, BACKBONES)]
    backbone = backbone_settings(config)
    method = METHODS[config.method](method_settings(config), backbone=backbone, axis_name=axis_name, seed=config.seed)
    if architecture.norm == "group":
        replace_batch_norms(method, groups_at(backbone.width))
    return method
