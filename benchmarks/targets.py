"""Accelerators that programs are compiled for without one: their compilers' names, and what their data sheets allow."""

import dataclasses
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jax.sharding import Mesh


@dataclasses.dataclass(frozen=True)
class Target:
    """A kind of accelerator and how many of them.

    bandwidth: bytes a second of one device's memory; peak: operations a second of one device by precision, dense.
    """

    platform: str
    topology: str
    bandwidth: float
    peak: dict[str, float]

    def mesh(self, axis: str) -> "Mesh":
        """Returns a mesh of devices that exist for the compiler alone."""
        from jax.experimental import topologies  # not before `without_accelerators`
        from jax.sharding import Mesh

        if self.platform == "tpu":
            topology = topologies.get_topology_desc(platform="tpu", topology_name=self.topology)
        else:
            card, count = self.topology.split(":")
            topology = topologies.get_topology_desc(
                platform="cuda", topology_name=card, target_config=_CARDS[card], topology=f"1x1x{count}"
            )
        return Mesh(topology.devices, (axis,))


def _tensor_cores(float32: float, tensorfloat32: float, bfloat16: float) -> dict[str, float]:
    return {"float32": float32, "tensorfloat32": tensorfloat32, "bfloat16": bfloat16}


def _matrix_units(bfloat16: float) -> dict[str, float]:
    """A TPU multiplies in bfloat16 alone: one pass for XLA's default precision, six for full float32."""
    return {"float32": bfloat16 / 6, "tensorfloat32": bfloat16, "bfloat16": bfloat16}


_H100 = _tensor_cores(67e12, 494e12, 989e12)
TARGETS = {
    "h100": Target("cuda", "h100:1", 3.35e12, _H100),
    "h100x8": Target("cuda", "h100:8", 3.35e12, _H100),
    "a100": Target("cuda", "a100:1", 2.04e12, _tensor_cores(19.5e12, 156e12, 312e12)),
    "v5e:2x4": Target("tpu", "v5e:2x4", 0.82e12, _matrix_units(197e12)),
    "v4:2x2x1": Target("tpu", "v4:2x2x1", 0.6e12, _matrix_units(137.5e12)),  # of one of a chip's two cores
    "v6e:2x2": Target("tpu", "v6e:2x2", 1.64e12, _matrix_units(918e12)),
}


def without_accelerators() -> None:
    """Keeps JAX from looking for accelerators; call it before its first use."""
    os.environ.update(
        JAX_PLATFORMS="cpu", TPU_SKIP_MDS_QUERY="1", ALLOW_MULTIPLE_LIBTPU_LOAD="1", TPU_WORKER_HOSTNAMES="localhost"
    )
    os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v5litepod-8")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


# What XLA's compiler for NVIDIA asks a card for, as text of its protobuf GpuTargetConfigProto.
_CARD = """
gpu_device_info {{
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: {shared_memory_per_core}
  threads_per_core_limit: 2048
  core_count: {cores}
  fpus_per_core: {units_per_core}
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: {bandwidth}
  l2_cache_size: {l2_cache}
  clock_rate_ghz: {clock}
  device_memory_size: 84942979072
  shared_memory_per_block_optin: {shared_memory_per_block}
  cuda_compute_capability {{ major: {capability} }}
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
  thread_dim_limit_x: 1024
  thread_dim_limit_y: 1024
  thread_dim_limit_z: 64
  name: "{name}"
  driver_version: "12.8.0"
  runtime_version: "12.8.0"
  compile_time_toolkit_version: "12.8.0"
  dnn_version: "9.10.0"
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 patch: 0 }}
device_description_str: "{name}"
"""
_CARDS = {
    "h100": _CARD.format(
        name="NVIDIA H100 80GB HBM3",
        capability=9,
        cores=132,
        units_per_core=128,
        clock=1.98,
        bandwidth=3352320000000,
        l2_cache=52428800,
        shared_memory_per_core=233472,
        shared_memory_per_block=232448,
    ),
    "a100": _CARD.format(
        name="NVIDIA A100-SXM4-80GB",
        capability=8,
        cores=108,
        units_per_core=64,
        clock=1.41,
        bandwidth=2039000000000,
        l2_cache=41943040,
        shared_memory_per_core=167936,
        shared_memory_per_block=166912,
    ),
}
