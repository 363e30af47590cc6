"""The parts of `throughput.py` without turns: the start of each side, and ours by batch, data, devices and seeds."""

import pathlib
import tempfile
import time
from collections.abc import Callable

import numpy as np
from plans import Plan
from visible_devices import counted_cpus, environment
from workers import Worker, WorkerError


def start(plan: Plan, files: dict[str, str]) -> dict[str, float]:
    """Seconds from the start of a process to the end of its first step, in the package's default precision."""
    devices = environment(plan.device, 1)
    found = {}
    with tempfile.TemporaryDirectory() as cache:
        for name in ("ours, cold", "ours, cached"):
            since = time.perf_counter()
            with Worker("jax", devices | {"JAX_COMPILATION_CACHE_DIR": cache}) as worker:
                worker("prepare", batch_size=plan.batch_size)
                worker("ready", batch=files["batch"])
                worker("step")
                found[name] = time.perf_counter() - since
    if not pathlib.Path(files["weights"]).exists():
        with Worker("pytorch", devices) as worker:
            worker("weights", path=files["weights"])
    precision = "tensorfloat32" if plan.device == "gpu" else "float32"
    compiled = f"{precision} compiled" if plan.device == "gpu" else "compiled"
    for setting in (precision,) if plan.quick else (precision, compiled):
        since = time.perf_counter()
        with tempfile.TemporaryDirectory() as cache:
            caches = {"TORCHINDUCTOR_CACHE_DIR": cache, "TRITON_CACHE_DIR": cache}
            with Worker("pytorch", devices | caches) as worker:
                worker("prepare", setting=setting, weights=files["weights"])
                worker("ready", batch=files["batch"])
                worker("step", setting=setting)
                found[f"PyTorch, {setting}"] = time.perf_counter() - since
    return found


def growth(plan: Plan, num_gpus: int, save: Callable[[str, np.ndarray], str]) -> list[dict]:
    """Images/s and peak memory of ours, varied in one respect at a time, each case in a new process."""
    return [case | _grown_or_failed(plan, save, **case) for case in _cases(plan, num_gpus)]


def _cases(plan, num_gpus):
    if plan.device == "cpu":
        cases = [{"batch_size": size} for size in (64, 256, 1024)]
        cases += [{"images": n} for n in (10_000, 50_000, 100_000)] + [{"devices": n} for n in (1, 2, 4, 8)]
        return cases + [{"num_seeds": n} for n in (1, 2)]
    # By powers of two up to all cards, once with the same batch of all together and once with the same batch of each.
    numbers = sorted({2**i for i in range(num_gpus.bit_length())} | {num_gpus})
    numbers = [n for n in numbers if plan.batch_size % n == 0 and n <= num_gpus]
    cases = [{"devices": n} for n in numbers]
    cases += [{"devices": n, "batch_size": n * plan.batch_size} for n in numbers[1:]]
    if plan.quick:
        return cases
    cases += [{"batch_size": size} for size in (64, 256, 1024, 4096)]
    return cases + [{"images": n} for n in (10_000, 500_000)] + [{"num_seeds": n} for n in (1, 2, 5)]


def _grown_or_failed(plan, save, **case):
    try:
        return _grown(plan, save, **case)
    except WorkerError as error:
        return {"failed": str(error)}


def _grown(plan, save, batch_size=None, images=None, devices=1, num_seeds=1):
    batch_size = batch_size or plan.batch_size
    path = save("grown", np.zeros((images or (10_000 if plan.device == "cpu" else 50_000), 32, 32, 3), np.uint8))
    visible = counted_cpus(devices) if plan.device == "cpu" else environment("gpu", devices)
    with Worker("jax", visible) as worker:
        used = worker("prepare", batch_size=batch_size, num_seeds=num_seeds)["devices"]
        if used != devices:
            raise WorkerError(f"{used} devices are there, not {devices}")
        worker("load", images=path)
        worker("pipeline", times=plan.warm_up)
        steps = 5 if plan.device == "cpu" else plan.steps
        seconds = np.median([worker("pipeline", times=steps)["seconds"] for _ in range(3)])
        return {"images_per_second": num_seeds * batch_size / seconds, **worker("memory")}
