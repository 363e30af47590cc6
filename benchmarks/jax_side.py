"""This package's side of the comparison: answers the requests of `throughput.py`."""

import contextlib
import functools
import os

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec as P
from torch_names import from_torch
from workers import peak_memory_mb, seconds, serve

from sidae_jax import config, mesh, runtime
from sidae_jax.data import Images
from sidae_jax.data.normalization import Normalization
from sidae_jax.evaluation.backbone import Backbone, compute_features
from sidae_jax.evaluation.fit import accuracy
from sidae_jax.evaluation.linear_probe import logits, train_probe
from sidae_jax.evaluation.protocols import LinearProbe
from sidae_jax.methods import make_method
from sidae_jax.methods.batch import Batch
from sidae_jax.networks import conv_onednn
from sidae_jax.runs import checkpoint
from sidae_jax.training import input_pipeline, step
from sidae_jax.training.mapped_step import make_mapped_step
from sidae_jax.training.several_seeds import stack
from sidae_jax.training.several_steps import repeat_steps, steps_per_call

NORMALIZATION = Normalization((0.5,) * 3, (0.25,) * 3)


class Side:
    """What the requests work on: a state and the mapped steps."""

    def __init__(self):
        self.contexts = contextlib.ExitStack()

    def prepare(
        self, batch_size: int, weights: str | None = None, num_seeds: int = 1, precision: str | None = None
    ) -> dict:
        """A new state of SidAE for batches of this size, with PyTorch's initial weights where they are given.

        precision: None is the config's default. With several seeds it serves `pipeline` alone.
        """
        runtime.start()
        self.contexts.close()
        onednn = conv_onednn.choose("auto")
        self.contexts.enter_context(conv_onednn.use(onednn))
        self.config = config.pretraining("sidae", "digits", batch_size=batch_size)
        self.config.precision = precision or self.config.precision
        self.devices = mesh.data_mesh(batch_size)
        optimizer, _ = step.make_optimizer(
            self.config.lr, self.config.momentum, self.config.weight_decay, total_steps=10**6
        )
        graphdef, state = step.create_state(make_method(self.config, mesh.AXIS), optimizer)
        if weights is not None:
            arrays = checkpoint.to_arrays(state) | from_torch(dict(np.load(weights, allow_pickle=False)))
            state = checkpoint.from_arrays(state, arrays)
        self.seeds = list(range(num_seeds))
        self.state = mesh.put_tree(self.devices, stack([state] * num_seeds))
        self.key = mesh.replicated_keys(self.devices, self.seeds)
        parts = {"graphdef": graphdef, "optimizer": optimizer, "precision": self.config.precision}

        def several_steps(state, inputs, n):
            return repeat_steps(another_batch, n, state, *inputs)

        def another_batch(state, batch, keys):
            # rolled, so that nothing of a batch can be computed once for several steps
            return step.update(state, Batch(*(jnp.roll(array, state.step, 0) for array in batch)), keys, **parts)

        def one_step(state, inputs, _):
            return step.update(state, Batch(*inputs[0]), inputs[1], **parts)

        several = steps_per_call(self.devices) > 1
        self.update = step.data_parallel(several_steps if several else one_step, self.devices)
        self.resident = make_mapped_step(
            self.config, graphdef, optimizer, NORMALIZATION, self.devices, resident=True, num_seeds=num_seeds
        )
        return {"devices": self.devices.size, "onednn": onednn}

    def ready(self, batch: str) -> dict:
        """Put the float32 [3, n, 3, 32, 32] tensors of a file on the devices as a batch."""
        images = np.load(batch, allow_pickle=False).transpose(0, 1, 3, 4, 2)
        put = functools.partial(mesh.put, self.devices, spec=P(mesh.AXIS))
        n = images.shape[1]
        self.batch = Batch(*(put(np.ascontiguousarray(image)) for image in images), put(np.zeros(n, np.int32)))
        self.keys = put(np.asarray(jax.random.key_data(jax.random.split(jax.random.key(0), n))))
        return {}

    def step(self, times: int = 1) -> dict:
        """Seconds a step on the ready tensors, and the loss of the last one."""
        mean, metrics = self._timed(times, lambda n: self.update(self.state, (self.batch, self.keys), n))
        return {"seconds": mean, "loss": float(metrics["loss"])}

    def _timed(self, times, steps_from_here):
        """Seconds a step, in calls as training has them, the devices' work included, and the last step's metrics."""
        most = steps_per_call(self.devices)
        calls = [mesh.put(self.devices, np.int32(n)) for n in [most] * (times // most) + [times % most] if n]

        def all_steps():
            for n in calls:
                self.state, self.metrics = steps_from_here(n)
            jax.block_until_ready(self.state)

        return seconds(all_steps, 1) / times, self.metrics

    def load(self, images: str) -> dict:
        """Take the uint8 images of a file as the resident data set."""
        pixels = np.load(images, allow_pickle=False)
        images = Images(pixels, np.zeros(len(pixels), np.int32), 10)
        batch_size = self.config.batch_size
        orders = [input_pipeline.batch_order(len(pixels), batch_size, seed) for seed in self.seeds]
        per_epoch = {"steps_per_epoch": len(pixels) // batch_size, "log_every": 10**6}
        _, self.epoch = next(input_pipeline.resident_batches(images, orders, self.devices, start=0, end=1, **per_epoch))
        return {}

    def pipeline(self, times: int = 1) -> dict:
        """Seconds a step with gathering and augmentation."""
        mean, _ = self._timed(times, lambda n: self.resident(self.state, self.epoch._replace(num_steps=n), self.key))
        return {"seconds": mean}

    def evaluate(self, images: str, labels: str, epochs: int) -> dict:
        """Seconds for features of the images, once, and all epochs of the probe on them."""
        pixels, classes = (np.load(path, allow_pickle=False) for path in (images, labels))
        backbone = Backbone(make_method(self.config, None).encoder.backbone, NORMALIZATION)

        def once():
            x = compute_features(backbone, pixels)
            layer = train_probe(x, classes, 10, LinearProbe(epochs=epochs), seed=0)
            accuracy(logits(layer, x[:512]), classes[:512])

        return {"seconds": seconds(once, 1)}

    def memory(self) -> dict:
        """Peak of a GPU's memory, the largest of several, or else of the process."""
        statistics = [device.memory_stats() or {} for device in jax.local_devices()]
        peak = max(found.get("peak_bytes_in_use", 0) for found in statistics)
        return {"peak_mb": peak / 2**20 or peak_memory_mb()}

    def devices_found(self) -> dict:
        names = [device.device_kind for device in jax.devices() if device.platform == "gpu"]
        return {"gpus": names, "version": jax.__version__}


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    side = Side()
    names = ("prepare", "ready", "step", "load", "pipeline", "evaluate", "memory")
    serve({name: getattr(side, name) for name in names} | {"devices": side.devices_found})
