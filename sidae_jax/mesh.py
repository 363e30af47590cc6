"""The devices, and how arrays are laid out on them: data parallelism over one axis."""

import collections
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Key

from sidae_jax.errors import UserError

AXIS = "data"
_REPLICATED = P()


def check_devices() -> None:
    """Raises UserError, in all processes, if they have different numbers of devices and so could not communicate."""
    counts = collections.Counter(device.process_index for device in jax.devices())
    if len(set(counts.values())) > 1:
        seen = ", ".join(f"{counts[process]} in process {process}" for process in sorted(counts))
        raise UserError(
            f"the processes of this run have different numbers of devices ({seen}): start them on machines, or with "
            "JAX_LOCAL_DEVICE_IDS, CUDA_VISIBLE_DEVICES or XLA_FLAGS, that give each process the same number"
        )


def data_mesh(batch_size: int, accumulate: int = 1) -> Mesh:
    """Returns the mesh of all devices of all processes along the axis "data".

    Raises UserError if their number does not divide each of the `accumulate` parts of `batch_size`.
    """
    devices = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))  # as process_rows assumes
    divisor = len(devices) * accumulate
    if batch_size % divisor:
        lower = batch_size - batch_size % divisor
        near = [size for size in (lower, lower + divisor) if size > 0]
        parts = f" times config.accumulate={accumulate}" if accumulate > 1 else ""
        raise UserError(
            f"config.batch_size={batch_size} is not divisible by the {len(devices)} devices{parts}: "
            f"give --config.batch_size={' or '.join(map(str, near))}, or use fewer devices"
        )
    return Mesh(np.array(devices), (AXIS,))


def local_mesh(batch_size: int) -> Mesh:
    """Returns a mesh of this process's devices along the axis "data": as many of them as divide `batch_size`."""
    devices = jax.local_devices()
    most = max(n for n in range(1, len(devices) + 1) if batch_size % n == 0)
    return Mesh(np.array(devices[:most]), (AXIS,))


def rows_sharding(mesh: Mesh, n: int) -> NamedSharding:
    """Returns the sharding of n rows: equal parts on the devices, or whole on each if they do not divide n."""
    return NamedSharding(mesh, P(AXIS) if n % mesh.size == 0 else _REPLICATED)


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding that keeps an array whole on every device."""
    return NamedSharding(mesh, _REPLICATED)


def put(mesh: Mesh, value: np.ndarray | np.generic, spec: P = _REPLICATED) -> jax.Array:
    """Lays out `value`, which every process holds whole, by `spec`; each process sends its own part."""
    sharding = NamedSharding(mesh, spec)
    return jax.make_array_from_callback(value.shape, sharding, lambda index: np.asarray(value)[index])


def put_tree(mesh: Mesh, tree: Any) -> Any:
    """Puts every array of a pytree whole on every device."""
    return jax.tree.map(lambda leaf: put(mesh, np.asarray(leaf)), tree)


def replicated_keys(mesh: Mesh, seeds: Sequence[int]) -> Key[Array, "*seeds"]:
    """Returns jax.random.key(seed) on every device; with several seeds, an array of their keys."""

    def keys():
        several = [jax.random.key(seed) for seed in seeds]
        return jnp.stack(several) if len(several) > 1 else several[0]

    return jax.jit(keys, out_shardings=replicated(mesh))()


def process_rows(batch_size: int) -> slice:
    """Returns the rows of a global batch that this process's devices hold."""
    rows = batch_size // jax.process_count()
    return slice(jax.process_index() * rows, (jax.process_index() + 1) * rows)
