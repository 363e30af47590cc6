"""Which devices the two sides of `throughput.py` see: the environment decides it before JAX or CUDA starts."""

import os
import sys

from workers import Worker, WorkerError


def find(wanted: str, with_pytorch: bool) -> dict:
    """{"device": "cpu" or "gpu", "gpus": [what each is called], "versions": ...}; ends the program if it is not there.

    wanted: cpu, gpu, or auto: a GPU if both sides see one. with_pytorch: False if only ours is measured.
    """
    sides = ("jax", "pytorch") if with_pytorch else ("jax",)
    found, problems = {}, []
    variables = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"} if wanted == "auto" else environment(wanted)
    for side in sides:
        try:
            with Worker(side, variables) as worker:
                found[side] = worker("devices")
                problem = "" if found[side]["gpus"] else "it sees none"
        except WorkerError as error:
            found[side], problem = {"gpus": []}, str(error)
        if problem:
            problems.append(f"{side}: {problem}")
    if wanted == "gpu" and problems:
        sys.exit(f"--device=gpu, but not both have a GPU ({'; '.join(problems)}): see --help, or give --device=cpu")
    device = "gpu" if wanted != "cpu" and not problems else "cpu"
    versions = {side: devices.get("version") for side, devices in found.items()}
    return {"device": device, "gpus": found["jax"]["gpus"] if device == "gpu" else [], "versions": versions}


def environment(device: str, count: int | None = None) -> dict[str, str]:
    """What a worker needs to see the CPU alone, or the first `count` GPUs (by default those that this process sees).

    Without preallocation, since JAX would otherwise take most of a GPU's memory, and PyTorch lies on the same one.
    """
    if device == "cpu":
        return {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    found = {"JAX_PLATFORMS": "cuda,cpu", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    if count is not None:
        seen = os.environ.get("CUDA_VISIBLE_DEVICES")
        names = seen.split(",") if seen else [str(i) for i in range(count)]
        found["CUDA_VISIBLE_DEVICES"] = ",".join(names[:count])
    return found


def counted_cpus(count: int) -> dict[str, str]:
    """What a worker needs to see so many devices that share the CPU's cores."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={count}"
    return environment("cpu") | {"XLA_FLAGS": flags}
