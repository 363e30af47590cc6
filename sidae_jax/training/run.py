"""A run that has started: what its seeds share, and the mapped step and batches that it trains them with."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from sidae_jax import data
from sidae_jax.data import normalization
from sidae_jax.mesh import AXIS, replicated_keys
from sidae_jax.methods import make_method
from sidae_jax.monitoring import epochs_between
from sidae_jax.training import input_pipeline
from sidae_jax.training.mapped_step import make_mapped_step
from sidae_jax.training.monitor import Monitor
from sidae_jax.training.sample_pictures import SHOWN, SamplePictures
from sidae_jax.training.seed_run import SeedRun
from sidae_jax.training.segments import Segment
from sidae_jax.training.step import TrainState, create_state, make_optimizer


class Run:
    """What all seeds of a run share.

    Attributes:
      seeds: a SeedRun for each seed.
      mesh: all devices of all processes.
      total_steps: the steps of the whole run.
      schedule: the learning rate by step.
      resident: whether the data set lies on the devices.
      hint: what would make the run faster on this machine, for the user; None if nothing is known.
    """

    def __init__(self, config: ConfigDict, images: data.Images, mesh: Mesh, hint: str | None = None):
        """Sets up a run without seeds. All processes must call this together."""
        self.config = config
        self.images = images
        self.mesh = mesh
        self.hint = hint
        self.seeds: list[SeedRun] = []
        self.steps_per_epoch = len(images.images) // config.batch_size
        self.total_steps = config.epochs * self.steps_per_epoch
        self.normalization = normalization.measure(images.images)
        self.optimizer, self.schedule = make_optimizer(
            config.lr, config.momentum, config.weight_decay, self.total_steps, config.optimizer, config.schedule
        )
        self.resident = input_pipeline.input_is_resident(config, images, mesh)
        self._steps_between_measures = epochs_between(config) * self.steps_per_epoch
        self._monitor: Monitor | None = None

    def initial_state(self, config: ConfigDict) -> TrainState:
        """Returns the state at step 0 of a seed, on the host; `mapped_step` needs the structure that it notes."""
        self._graphdef, state = create_state(make_method(config, AXIS), self.optimizer)
        return jax.device_get(state)

    def mapped_step(self, num_seeds: int) -> Callable:
        """Returns the compiled step (state, batch, key) -> (state, metrics) for so many seeds."""
        return make_mapped_step(
            self.config,
            self._graphdef,
            self.optimizer,
            self.normalization,
            self.mesh,
            resident=self.resident,
            num_seeds=num_seeds,
        )

    def monitor_due(self, step: int) -> bool:
        """Returns whether the features are measured after this step: at the ends of epochs, and at that of the run."""
        every = self._steps_between_measures
        return every > 0 and (step % every == 0 or step == self.total_steps)

    def measure(self, state: TrainState) -> dict[str, float]:
        """Returns the measures of one seed's features. Collective."""
        if self._monitor is None:
            self._monitor = Monitor(self.config, self.images, self._graphdef, self.normalization, self.mesh)
        return self._monitor.measure(state)

    def sample_pictures(self, config: ConfigDict) -> SamplePictures | None:
        """Returns what makes the pictures of a seed for loggers; None if the run has none."""
        if not config.loggers:
            return None
        rows = input_pipeline.batch_order(len(self.images.images), config.batch_size, config.seed)[0][:SHOWN]
        return SamplePictures(config, self._graphdef, self.images.images[rows], self.normalization)

    def batches(self, segment: Segment) -> Iterator[tuple[int, Any]]:
        """Yields, for each call of the step in the segment, how many steps it does and its batch."""
        config, start, end = self.config, segment.start, segment.end
        num_images = len(self.images.images)
        orders = [input_pipeline.batch_order(num_images, config.batch_size, s.config.seed) for s in segment.seeds]
        orders = [input_pipeline.in_parts(order, config.accumulate, self.mesh.size) for order in orders]
        if not self.resident:
            return input_pipeline.stream_batches(
                self.images, orders[0], config.batch_size, self.mesh, start=start, end=end
            )
        return input_pipeline.resident_batches(
            self.images,
            orders,
            self.mesh,
            start=start,
            end=end,
            steps_per_epoch=self.steps_per_epoch,
            log_every=config.log_every,
        )

    def key(self, seeds: Sequence[SeedRun]) -> jax.Array:
        """Returns the random key of the seeds, which the step takes, on every device."""
        return replicated_keys(self.mesh, [seed.config.seed for seed in seeds])
