"""The Flax modules: backbones, projector, predictor and decoders.

To add a backbone, write its module in a file of its own and add a line to BACKBONES in `backbones.py`; a program of
yours may do the latter from outside: `BACKBONES["convnet"] = Architecture(ConvNet)`. The module is constructed as
ConvNet(settings, axis_name=..., rng=...), with `settings` a BackboneSettings, and has

* `__call__(x, views=1, use_running_average=False)`: normalized images [n, h, w, 3] to features [n, num_features], with
  `views` and `use_running_average` handed to every BatchNorm;
* `num_features`, from which projector, classifiers and probes take their size, and `size` and `precision`, those of the
  settings.

It begins with `precision.as_activations` and is made of `layers.Conv`, `layers.Linear` and `batch_norm.BatchNorm`,
which keep the dtype of the activations. Of the settings it may ignore what has no meaning for it, such as `stem`. With
Architecture(ConvNet, norm="group") GroupNorm replaces every BatchNorm, in the methods' heads and decoders too.
"""
