"""The programs that are compiled for accelerators: training's own, on shapes instead of arrays."""

import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import targets
from flax import nnx
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from sidae_jax import config, mesh
from sidae_jax.data.normalization import Normalization
from sidae_jax.evaluation import backbone
from sidae_jax.methods import make_method
from sidae_jax.methods.batch import Batch
from sidae_jax.training import several_seeds, step
from sidae_jax.training.mapped_step import make_mapped_step
from sidae_jax.training.resident import ResidentBatch, resident_spec

IMAGES = 50_000  # of CIFAR-10
_NORMALIZATION = Normalization((0.5,) * 3, (0.25,) * 3)
SEEDS = 2
PROGRAMS = ("resident", "stream", "seeds", "update", "features")


@dataclasses.dataclass(frozen=True)
class Case:
    """A program to compile: one of PROGRAMS, for a method in a precision, on a target.

    resident, stream: the whole step of training on either input; seeds: the resident step of SEEDS seeds; update: the
    step on ready views; features: the evaluation's forward pass. The images are of size x size pixels.
    """

    target: str
    program: str
    method: str
    precision: str
    batch_size: int
    size: int = 32

    @property
    def name(self) -> str:
        """A name for files."""
        return re.sub(r"\W+", "_", f"{self.target}-{self.program}-{self.method}-{self.precision}-{self.size}")

    @property
    def images(self) -> int:
        """Images that one execution takes."""
        return self.batch_size * (SEEDS if self.program == "seeds" else 1)


def compiled(case: Case) -> jax.stages.Compiled:
    """Compiles a case."""
    target = targets.TARGETS[case.target]
    devices = target.mesh(mesh.AXIS)
    function, arguments = _MAKERS[case.program](case, devices)
    return function.trace(*arguments).lower(lowering_platforms=(target.platform,)).compile()


def _settings(case):
    chosen = {"batch_size": case.batch_size, "precision": case.precision, "size": case.size}
    return config.pretraining(case.method, "cifar10", **chosen)


def _arguments(tree, devices: Mesh):
    """Returns the shapes of a tree that lies whole on every device."""
    put = NamedSharding(devices, P())
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(jnp.shape(x), jnp.result_type(x), sharding=put), tree)


def _start(case):
    """Returns config, structure, initial state and optimizer, as a run makes them."""
    settings = _settings(case)
    optimizer, _ = step.make_optimizer(
        settings.lr, settings.momentum, settings.weight_decay, 19400, settings.optimizer, settings.schedule
    )
    return settings, *step.create_state(make_method(settings, mesh.AXIS), optimizer), optimizer


def _step(case, devices, batch, num_seeds=1):
    settings, graphdef, state, optimizer = _start(case)
    choice = {"resident": isinstance(batch, ResidentBatch), "num_seeds": num_seeds}
    mapped = make_mapped_step(settings, graphdef, optimizer, _NORMALIZATION, devices, **choice)
    state = several_seeds.stack([state] * num_seeds)
    return mapped, (_arguments(state, devices), batch, _key(devices, () if num_seeds == 1 else (num_seeds,)))


def _key(devices, shape=()):
    return _shape(devices, shape, jax.random.key(0).dtype)


def _shape(devices, shape, dtype, spec=None):
    return jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(devices, spec or P()))


def _resident(case, devices, num_seeds=1):
    spec = resident_spec(num_seeds)
    order = (*([num_seeds] if num_seeds > 1 else []), IMAGES // case.batch_size, case.batch_size)
    batch = ResidentBatch(
        _shape(devices, (IMAGES, case.size * case.size * 3), np.uint8, spec.images),
        _shape(devices, (IMAGES,), np.int32, spec.labels),
        _shape(devices, order, np.int32, spec.order),
        _shape(devices, (), np.int32),
    )
    return _step(case, devices, batch, num_seeds)


def _stream(case, devices):
    rows = P(mesh.AXIS)
    images = _shape(devices, (case.batch_size, case.size, case.size, 3), np.uint8, rows)
    return _step(case, devices, step.ImageBatch(images, _shape(devices, (case.batch_size,), np.int32, rows)))


def _update(case, devices):
    _, graphdef, state, optimizer = _start(case)
    update = functools.partial(step.update, graphdef=graphdef, optimizer=optimizer, precision=case.precision)
    # the views are ready, so the step's key, from which they would be drawn, is not used
    mapped = step.data_parallel(lambda state, inputs, _: update(state, *inputs), devices)
    rows = P(mesh.AXIS)
    image = _shape(devices, (case.batch_size, case.size, case.size, 3), np.float32, rows)
    batch = Batch(image, image, image, _shape(devices, (case.batch_size,), np.int32, rows))
    keys = jax.ShapeDtypeStruct((case.batch_size,), jax.random.key(0).dtype, sharding=NamedSharding(devices, rows))
    return mapped, (_arguments(state, devices), (batch, keys), _key(devices))


def _features(case, devices):
    encoder = make_method(_settings(case), None).encoder.backbone
    graphdef, state = nnx.split(encoder)
    forward = jax.jit(lambda state, images: backbone.forward(graphdef, _NORMALIZATION, state, images))
    images = _shape(devices, (case.batch_size, case.size, case.size, 3), np.uint8, P(mesh.AXIS))
    return forward, (_arguments(state, devices), images)


_MAKERS = {"resident": _resident, "stream": _stream, "update": _update, "features": _features}
_MAKERS["seeds"] = functools.partial(_resident, num_seeds=SEEDS)
