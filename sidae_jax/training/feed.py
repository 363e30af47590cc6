"""The order of the images, and the two ways in which batches reach the devices.

The batch of step k is a function of the seed and k alone, so a resumed run needs no saved position.
"""

import concurrent.futures
import os
from collections.abc import Iterable, Iterator, Sequence

import grain
import jax
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from jaxtyping import Int, Int32
from ml_collections import ConfigDict

from sidae_jax import processes, streams
from sidae_jax.data import Images
from sidae_jax.mesh import AXIS, process_rows, put
from sidae_jax.streams import Stream


def batch_order(images: int, batch_size: int, seed: int) -> grain.MapDataset:
    """Element k is the Int[batch_size] of the rows of step k's batch; endless.

    Every epoch is a new order of all images; those at its end that do not fill a batch are left out of it, as in
    SimSiam's released code.
    """
    shuffled = grain.MapDataset.range(images).shuffle(seed=streams.integer(Stream.BATCH_ORDER, seed))
    return shuffled.batch(batch_size, drop_remainder=True).repeat()


def epoch_order(order: grain.MapDataset, steps_per_epoch: int, epoch: int) -> Int32[np.ndarray, "steps batch"]:
    """The rows of every batch of one epoch."""
    first = epoch * steps_per_epoch
    return np.stack([order[first + i] for i in range(steps_per_epoch)]).astype(np.int32)


def fits_resident(data: Images, mesh: Mesh) -> bool:
    """Whether, in every process, a copy of the images on each device takes at most a quarter of its memory.

    Collective.
    """
    device = mesh.local_devices[0]
    limit = (device.memory_stats() or {}).get("bytes_limit")
    if limit is None:  # a CPU: its devices share the machine's memory
        limit = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // len(mesh.local_devices)
    return all(processes.gather(data.images.nbytes <= limit // 4))


def input_is_resident(config: ConfigDict, data: Images, mesh: Mesh) -> bool:
    """Whether the data set lies on the devices, as config.input says, or, for "auto", as it fits. Collective."""
    fits = fits_resident(data, mesh)  # asked in any case: every process has to
    return config.num_seeds > 1 or config.input == "resident" or (config.input == "auto" and fits)


def call_sizes(start: int, end: int, steps_per_epoch: int, log_every: int, most: int) -> Iterator[int]:
    """The numbers of steps that are done in one call each, from step `start` to step `end`.

    A call does up to `most` steps, and ends with the next step that is logged, or that ends an epoch and may be saved.
    """
    while start < end:
        next_event = min(start - start % every + every for every in (log_every, steps_per_epoch))
        size = min(most, next_event - start, end - start)
        yield size
        start += size


def resident_calls(
    epochs: Iterator[tuple[jax.Array, ...]],
    sizes: Iterable[int],
    key: jax.Array,
    steps_per_epoch: int,
    mesh: Mesh,
    start: int,
) -> Iterator[tuple[int, tuple[jax.Array, ...]]]:
    """For each call of `map_resident_step`'s function how many steps it does, and what it takes beside the state."""
    counts, epoch, done = {}, None, start
    for size in sizes:
        if epoch is None or done % steps_per_epoch == 0:
            epoch = next(epochs)
        if size not in counts:
            counts[size] = put(mesh, np.int32(size))
        yield size, (*epoch, key, counts[size])
        done += size


def stream_calls(
    batches: Iterator[tuple[jax.Array, jax.Array]], steps: int, key: jax.Array
) -> Iterator[tuple[int, tuple[jax.Array, ...]]]:
    """The same for `map_stream_step`'s function, a step a call."""
    for _ in range(steps):
        yield 1, (*next(batches), key)


def resident_epochs(
    data: Images, orders: Sequence[grain.MapDataset], steps_per_epoch: int, mesh: Mesh, start: int
) -> Iterator[tuple[jax.Array, jax.Array, jax.Array]]:
    """For the epoch of step `start` and each after it: all images, all labels and the order, for `map_resident_step`.

    With several orders, one a seed, that is Int[seeds, steps, batch]. Between the steps of an epoch nothing is sent;
    the next epoch's order is prepared meanwhile.
    """

    def epoch_orders(epoch: int) -> np.ndarray:
        several = [epoch_order(order, steps_per_epoch, epoch) for order in orders]
        return np.stack(several) if len(several) > 1 else several[0]

    images, labels = put(mesh, data.images), put(mesh, data.labels)
    spec = P(None, AXIS) if len(orders) == 1 else P(None, None, AXIS)
    with concurrent.futures.ThreadPoolExecutor(1) as ahead:
        epoch = start // steps_per_epoch
        next_order = ahead.submit(epoch_orders, epoch)
        while True:
            device_order = put(mesh, next_order.result(), spec)
            epoch += 1
            next_order = ahead.submit(epoch_orders, epoch)
            yield images, labels, device_order


def stream_batches(
    data: Images, order: grain.MapDataset, batch_size: int, mesh: Mesh, start: int
) -> Iterator[tuple[jax.Array, jax.Array]]:
    """For step start, start + 1, ...: the batch's images and labels, for `map_stream_step`.

    Each process reads its own rows from the decoded data on disk, some batches ahead of the step.
    """
    mine = process_rows(batch_size)
    sharding = jax.sharding.NamedSharding(mesh, P(AXIS))

    def read(rows: Int[np.ndarray, " batch"]) -> tuple[np.ndarray, np.ndarray]:
        return data.images[rows[mine]], data.labels[rows[mine]]

    ahead = grain.ReadOptions(num_threads=4, prefetch_buffer_size=8)
    for images, labels in order[start:].map(read).to_iter_dataset(ahead):
        yield (
            jax.make_array_from_process_local_data(sharding, images),
            jax.make_array_from_process_local_data(sharding, labels),
        )
