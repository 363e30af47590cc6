"""The order of the images, and the two ways in which batches reach the devices.

The batch of step k is a function of the seed and k alone, so a resumed run needs no saved position. Both pipelines
yield, for each call of the step, how many steps it does and its batch.
"""

import concurrent.futures
import functools
import math
import os
from collections.abc import Iterator, Sequence
from typing import Any

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
from sidae_jax.training.resident import ResidentBatch, resident_spec
from sidae_jax.training.several_steps import steps_per_call
from sidae_jax.training.step import ImageBatch

_READ_AHEAD_BYTES = 1 << 30  # for the batches of a process that wait for their step


def batch_order(num_images: int, batch_size: int, seed: int) -> grain.MapDataset:
    """Returns an endless data set whose element k is the Int[batch_size] of the rows of step k's batch.

    Every epoch is a new order of all images; those at its end that do not fill a batch are left out of it, as in
    SimSiam's released code.
    """
    shuffled = grain.MapDataset.range(num_images).shuffle(seed=streams.integer(Stream.BATCH_ORDER, seed))
    return shuffled.batch(batch_size, drop_remainder=True).repeat()


def in_parts(order: grain.MapDataset, accumulate: int, num_devices: int) -> grain.MapDataset:
    """Returns the order with the rows of each batch arranged for `accumulate` parts, which follow each other in time.

    The first part is the first rows of the batch, and so on, whatever the number of devices. The devices divide the
    batch along its rows, so those of a device's share of the first part come first, then those of the second.
    """

    def arrange(rows: Int[np.ndarray, " batch"]) -> Int[np.ndarray, " batch"]:
        return rows.reshape(accumulate, num_devices, -1).swapaxes(0, 1).ravel()

    return order if accumulate == 1 else order.map(arrange)


def epoch_order(order: grain.MapDataset, steps_per_epoch: int, epoch: int) -> Int32[np.ndarray, "steps batch"]:
    """Returns the rows of every batch of one epoch."""
    first = epoch * steps_per_epoch
    return np.stack([order[first + i] for i in range(steps_per_epoch)]).astype(np.int32)


def fits_resident(data: Images, mesh: Mesh) -> bool:
    """Returns whether, in every process, a copy of the images on each device takes at most a quarter of its memory.

    Collective.
    """
    device = mesh.local_devices[0]
    limit = (device.memory_stats() or {}).get("bytes_limit")
    if limit is None:  # a CPU: its devices share the machine's memory
        limit = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // len(mesh.local_devices)
    return all(processes.gather(data.images.nbytes <= limit // 4))


def input_is_resident(config: ConfigDict, data: Images, mesh: Mesh) -> bool:
    """Returns whether the data set lies on the devices: as config.input says or, for "auto", if it fits.

    Collective.
    """
    fits = fits_resident(data, mesh)  # collective, so it is called in any case
    return config.num_seeds > 1 or config.input == "resident" or (config.input == "auto" and fits)


def resident_batches(
    data: Images,
    orders: Sequence[grain.MapDataset],
    mesh: Mesh,
    *,
    start: int,
    end: int,
    steps_per_epoch: int,
    log_every: int,
) -> Iterator[tuple[int, ResidentBatch]]:
    """Yields the calls that take a run from step `start` to step `end`, with `orders` holding one order per seed.

    The data set is sent to the devices once and the order once an epoch, prepared during the epoch before; between the
    steps of an epoch nothing is sent.
    """

    def epoch_orders(epoch: int) -> np.ndarray:
        several = [epoch_order(order, steps_per_epoch, epoch) for order in orders]
        return np.stack(several) if len(several) > 1 else several[0]

    decoded: Any = data.images  # which config.input=resident asked for
    images, labels = put(mesh, decoded.reshape(len(decoded), -1)), put(mesh, data.labels)
    most = steps_per_call(mesh)
    counts = {n: put(mesh, np.int32(n)) for n in range(1, most + 1)}
    spec: Any = resident_spec(len(orders)).order
    with concurrent.futures.ThreadPoolExecutor(1) as ahead:
        next_order = ahead.submit(epoch_orders, start // steps_per_epoch)
        step = start
        while step < end:
            epoch = step // steps_per_epoch
            order = put(mesh, next_order.result(), spec)
            next_order = ahead.submit(epoch_orders, epoch + 1)
            epoch_end = min(end, (epoch + 1) * steps_per_epoch)
            while step < epoch_end:
                n = min(most, log_every - step % log_every, epoch_end - step)  # logs and saves are between calls
                yield n, ResidentBatch(images, labels, order, counts[n])
                step += n


def stream_batches(
    data: Images, order: grain.MapDataset, batch_size: int, mesh: Mesh, *, start: int, end: int
) -> Iterator[tuple[int, ImageBatch]]:
    """Yields a call for each step from `start` to `end`.

    Each process reads its own rows from the decoded data on disk, some batches ahead of the step, or decodes them.
    """
    mine = process_rows(batch_size)
    send = functools.partial(jax.make_array_from_process_local_data, jax.sharding.NamedSharding(mesh, P(AXIS)))

    def read(rows: Int[np.ndarray, " batch"]) -> tuple[np.ndarray, np.ndarray]:
        return data.images[rows[mine]], data.labels[rows[mine]]

    threads = 4 if isinstance(data.images, np.ndarray) else min(16, os.cpu_count() or 1)
    batch_bytes = math.prod(data.images.shape[1:]) * batch_size // jax.process_count()
    most = max(1, min(2 * threads, _READ_AHEAD_BYTES // batch_bytes))
    ahead = grain.ReadOptions(num_threads=min(threads, most), prefetch_buffer_size=most)
    for images, labels in order[start:end].map(read).to_iter_dataset(ahead):
        yield 1, ImageBatch(send(images), send(labels))
