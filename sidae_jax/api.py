"""What `import sidae_jax` offers to programs and notebooks. The command-line programs do the same work."""

import functools
import os
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from ml_collections import ConfigDict

from sidae_jax.config import pretraining, validate, view_settings
from sidae_jax.config_files import load_config
from sidae_jax.config_values import flat
from sidae_jax.errors import UserError
from sidae_jax.overrides import override
from sidae_jax.recorded_run import Record, Run

if TYPE_CHECKING:
    from sidae_jax.evaluation.backbone import Backbone

__all__ = ["Run", "evaluate", "load", "make_config", "sample_views", "train"]

RunPath = str | os.PathLike[str]


def load(run: RunPath, step: int | str | None = None) -> "Backbone":
    """Returns the encoder of a run's last checkpoint, of the one at `step`, or the one that a run was exported as.

    `encoder.encode(images)`, or `encoder(images)`, takes uint8 images [n, size, size, 3], 0..255, which it normalizes
    as the pre-training did, and returns float32 features [n, num_features] of the pooled backbone; `encoder.size` and
    `encoder.num_features` have these numbers (32 and 512 by default), and `encoder.network` is the Flax module.

    Args:
      run: the folder of a run, a Run, or what sidae_jax.export wrote, FILE.safetensors or a folder for the hub.
      step: that of a checkpoint; "best" for the one with the highest kNN in training; None for the last.

    Raises:
      UserError: there is no such run, checkpoint or file, or it is corrupt; from `encode`: the images are of another
        shape or dtype.
    """
    from sidae_jax.evaluation.backbone import restore_backbone
    from sidae_jax.exports import encoder
    from sidae_jax.runs import pretrained
    from sidae_jax.runs.checkpoint import Checkpoints

    if (file := encoder.exported_file(run)) is not None:
        if step is not None:
            raise UserError(f"step={step!r} has no meaning for {run}, which holds one encoder: leave it out")
        return encoder.load(file)
    with Checkpoints(pretrained.run_folder(run, "run"), read_only=True) as checkpoints:
        return restore_backbone(checkpoints, pretrained.one_step(checkpoints, step))


def make_config(name: str = "cifar10", method: str | None = "sidae", **changes: Any) -> ConfigDict:
    """Returns the settings of a pre-training, as the command line makes them from --config=NAME:METHOD.

    make_config("digits", "simsiam", epochs=5, views={"p_blur": 0.2}), for example.

    Args:
      name: a config that comes with the package, such as "cifar10", "digits" or "folder", or the path of a file.
      method: sidae, simsiam, dae, ae, vae, simclr or supervised; None for a file whose get_config takes no argument.
      changes: values for keys; for those with a dot in their names a dictionary, or **{"views.p_blur": 0.2}.

    Raises:
      UserError: there is no such config, method or key, or a value cannot work.
    """
    config = load_config(name if method is None else f"{name}:{method}", _as_overrides(changes))
    validate(config)
    return config


def sample_views(
    images: np.ndarray, seed: int = 0, config: ConfigDict | None = None, **changes: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns images and two views of each, for looking at: those that the first step of a run would train on.

    sample_views(images, p_blur=0.5), for example. The views of an image depend on the image, the seed and its place
    among the images.

    Args:
      images: uint8 [n, side, side, 3], 0..255, n >= 1.
      seed: that of the run, 0 <= seed < 2**32.
      config: the settings of a pre-training, whose `views` and `size` are taken; by default the paper's for CIFAR-10,
        and the size of the images.
      changes: values for keys of config.views, such as p_blur, hue, or crop_scale=(0.5, 1.0).

    Returns:
      The images and both views, float32 [n, size, size, 3] in [0, 1]: before the normalization that a train step does.

    Raises:
      UserError: there is no such key, a value cannot work, or the images are of another shape or dtype.
    """
    chosen = (pretraining("sidae", "cifar10") if config is None else config).copy_and_resolve_references()
    for key, text in _as_overrides(changes):
        override(chosen, f"views.{key}", text)
    validate(chosen)
    dtype, shape = getattr(images, "dtype", type(images).__name__), np.shape(images)
    size = chosen.size if config is not None else (shape[1:2] or (0,))[0]
    if (
        dtype != np.uint8
        or len(shape) != 4
        or shape[1] != shape[2]
        or shape[3] != 3
        or shape[0] == 0
        or shape[1] < size
    ):
        raise UserError(
            f"images of dtype {dtype} and shape {shape} have no views: give uint8 of [n, side, side, 3], 0..255, n at "
            f"least 1, side at least {size or 1}"
        )
    if not 0 <= seed < 2**32:
        raise UserError(f"seed={seed} is out of range: give one between 0 and 4294967295")

    import jax
    import jax.numpy as jnp

    from sidae_jax import streams

    places = jnp.arange(shape[0])
    keys = streams.example_keys(jax.random.key(seed), streams.Stream.VIEWS, jnp.int32(0), places)
    zero, one = np.zeros(3, np.float32), np.ones(3, np.float32)  # nothing is normalized
    views = _compiled_views()(keys, images, view_settings(chosen), zero, one, size)
    x, x1, x2 = (np.clip(np.asarray(each), 0, 1) for each in views)  # rounding may pass 1, which plots warn of
    return x, x1, x2


def train(config: ConfigDict, workdir: RunPath, on_log: Callable[[Record], object] | None = None) -> Run:
    """Trains a config in a workdir to its end, or continues the run that is there, and returns the run.

    The result has the bits of `python -m sidae_jax.main` with the same config, workdir and devices.

    An interrupt (Ctrl-C, or a notebook's button) is heard between two steps: the run saves its state and then
    KeyboardInterrupt is raised. SIGTERM saves too and then raises SystemExit. In a thread other than the main one
    neither is heard. The same call continues a run that was stopped.

    Args:
      config: from `make_config`; it is not changed.
      workdir: the folder of the run, made if it is not there.
      on_log: called with each record that is written to metrics.jsonl, every `config.log_every` steps: a dictionary of
        numbers, among them step, epoch, loss and feature_std. If it raises StopIteration the run saves its state, stops
        and is returned. Another exception ends the training at once; the run then continues from its last checkpoint.

    Raises:
      UserError: something cannot work.
      Diverged: the loss is no longer finite.
      KeyboardInterrupt, SystemExit: as above.
    """
    config = config.copy_and_resolve_references()
    validate(config)
    if config.num_seeds != 1:
        raise UserError(
            f"config.num_seeds={config.num_seeds} makes several runs, and this returns one: call it for each seed, or "
            "train them together by python -m sidae_jax.main"
        )
    if "images" in config:  # as evaluations find it, wherever they start
        config.images = os.path.abspath(os.path.expanduser(config.images))
    _start()
    from sidae_jax.training import train as training
    from sidae_jax.training.signals import Stopped, StopSignals

    signals = StopSignals(own_process=False)

    def call(record: Record) -> None:
        try:
            if on_log is not None:
                on_log(record)
        except StopIteration:
            signals.ask()

    try:
        training.train(config, os.fspath(workdir), call, signals)
    except Stopped as stopped:
        if not signals.asked:
            raise (KeyboardInterrupt() if stopped.signal == signal.SIGINT else stopped) from None
    return Run(workdir)


def evaluate(run: RunPath, protocol: str = "linear", step: int | str | None = None, **changes: Any) -> list[Record]:
    """Measures the untrained backbone and each checkpoint of a run, as `python -m sidae_jax.linear_eval` does.

    evaluate(run, "knn", label_fraction=0.1, knn={"k": 20}), for example.

    Args:
      run: the folder of a run, or a Run.
      protocol: linear, mlp, knn, finetune or online.
      step: that of one checkpoint, measured beside the untrained backbone; "best" for the one with the highest kNN in
        training; 0 for the untrained backbone alone; None for all.
      changes: values for keys of the protocol; for those with a dot in their names a dictionary, as above.

    Returns:
      A record for each, in the order of the steps: "step" (0: the untrained backbone), "epoch", "accuracy" in [0, 1],
      and the settings. They are written to eval/ in the run's folder, and a table is printed.

    Raises:
      UserError: something cannot work.
    """
    from sidae_jax.evaluation import config as evaluation

    config = evaluation.protocol(protocol)
    for key, text in _as_overrides(changes):
        override(config, key, text)
    evaluation.validate(config)
    _start()
    from sidae_jax.evaluation import run as evaluation_run

    return evaluation_run.evaluate(config, os.fspath(run), step)


def _as_overrides(changes: dict[str, Any]) -> list[tuple[str, str]]:
    """Returns the changes as the command line would have them, so that both are checked by the same code."""
    return [(key, str(value)) for key, value in flat(changes).items()]


@functools.cache
def _start() -> None:
    from sidae_jax import runtime

    runtime.start()


@functools.cache
def _compiled_views() -> Callable[..., Any]:
    import jax

    from sidae_jax.views import make_views

    return jax.jit(make_views, static_argnums=(2, 5))
