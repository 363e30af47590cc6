"""Images a second, seconds and memory of this package beside PyTorch on the same machine, on its CPU or on one GPU.

    pip install -e '.[parity]' && python benchmarks/throughput.py [--quick] [--parts=step,pipeline] [--output=FILE.json]

The two sides are processes that do a few steps in turn (ours, theirs, ours, ...) while the other is stopped, so that
what slows the machine slows both; the ratio is taken pair by pair. Parts:

    step      training steps of SidAE on tensors that are ready, against the fastest of PyTorch's settings
    pipeline  the step with its data: ours from the resident images, theirs from a DataLoader with PIL transforms
    evaluate  one checkpoint: features once and 50 epochs of probe, against encoding anew in every epoch
    start     from the start of the process to the end of the first step, cold and with compiled programs cached
    growth    the pipeline's speed and memory by batch size, images, devices and seeds (ours alone)

--quick measures the first three. They are repeated for each of --precisions, with the same one on both sides: float32
(without TF32), tensorfloat32, and bfloat16 (ours by config.precision, theirs by autocast). Without it, a GPU is
measured in all three, and a CPU in the fastest of each side ("fastest"), which may differ, in float32, and in bfloat16
if it has instructions for that; --quick measures the last two by steps alone. Install native/ for oneDNN on our side.

On a GPU both sides use the first one that is visible, and `growth` has ours on all of them. JAX and PyTorch for CUDA
may need two virtual environments: --pytorch_python names the Python of PyTorch's, which also has NumPy and Pillow.
"""

import argparse
import json
import os
import pathlib
import platform
import signal
import sys
import tempfile
import time

import alone
import numpy as np
import visible_devices
from comparison import Comparison
from plans import FASTEST, PRECISIONS, Plan, instruction_sets, make_plan
from throughput_tables import PARTS, print_tables
from workers import Worker, WorkerError

_KNOWN_PARTS = [*PARTS, "start", "growth"]


class Benchmark:
    """The files that both sides read, and the parts in their order."""

    def __init__(self, folder: str, plan: Plan):
        self.folder, self.plan = pathlib.Path(folder), plan
        rng = np.random.default_rng(0)
        coarse = rng.integers(0, 256, (plan.images, 8, 8, 3), np.uint8)
        images, labels = coarse.repeat(4, 1).repeat(4, 2), rng.integers(0, 10, plan.images)
        self.files = {
            "weights": str(self.folder / "weights.npz"),  # PyTorch writes it
            "batch": self._save("batch", rng.standard_normal((3, plan.batch_size, 3, 32, 32), np.float32)),
            "images": self._save("images", images),
            "evaluated_images": self._save("evaluated_images", images[: plan.evaluated_images]),
            "evaluated_labels": self._save("evaluated_labels", labels[: plan.evaluated_images]),
        }

    def _save(self, name: str, array: np.ndarray) -> str:
        path = str(self.folder / f"{name}.npy")
        np.save(path, array, allow_pickle=False)
        return path

    def run(self, parts: list[str], num_gpus: int) -> dict:
        """What was found, part by part, and under "failed" what could not be measured."""
        found, failed = {}, {}

        def attempt(name, function):
            try:
                return function()
            except WorkerError as error:
                failed[name] = str(error)
                return {}

        if set(parts) & set(PARTS):
            devices = visible_devices.environment(self.plan.device, 1)
            for precision in self.plan.precisions:
                comparison = Comparison(self.plan, self.files, devices, precision)
                if not (of_it := self.plan.parts(precision, parts)):
                    continue
                rows = attempt(precision, lambda comparison=comparison, of_it=of_it: comparison.run(of_it))
                found |= {f"{name} {precision}": row for name, row in rows.items()}
        if "start" in parts:
            found["start"] = attempt("start", lambda: alone.start(self.plan, self.files))
        if "growth" in parts:
            found["growth"] = alone.growth(self.plan, num_gpus, self._save)
        return found | {"failed": failed}


def _processor() -> str:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _list(text: str, option: str, known, parser) -> list[str]:
    chosen = text.split(",") if text else []
    if unknown := set(chosen) - set(known):
        parser.error(f"--{option}={text}: {', '.join(sorted(unknown))} is not one of {', '.join(known)}")
    return chosen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="within three minutes on two cores")
    parser.add_argument("--batch_size", type=int, default=512)
    parser.add_argument("--parts", default="", help="comma-separated; all by default")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "gpu"), help="auto: a GPU that both see")
    parser.add_argument("--precisions", default="", help="comma-separated; see above")
    parser.add_argument("--pytorch_python", default=sys.executable, help="the Python that has PyTorch")
    parser.add_argument("--output", help="write the figures to this JSON file")
    arguments = parser.parse_args()
    parts = _list(arguments.parts, "parts", _KNOWN_PARTS, parser) or _KNOWN_PARTS[: 3 if arguments.quick else 5]
    precisions = tuple(_list(arguments.precisions, "precisions", (FASTEST, *PRECISIONS), parser))
    Worker.pythons["pytorch"] = arguments.pytorch_python
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the workers, which are stopped, end too
    since = time.perf_counter()
    devices = visible_devices.find(arguments.device, with_pytorch=parts != ["growth"])
    plan = make_plan(devices["device"], arguments.quick, arguments.batch_size, precisions)
    with tempfile.TemporaryDirectory() as folder:
        found = Benchmark(folder, plan).run(parts, len(devices["gpus"]))
    found |= {
        "machine": {"cpus": os.cpu_count(), "processor": _processor(), "instructions": instruction_sets(), **devices},
        "arguments": vars(arguments),
        "seconds": time.perf_counter() - since,
    }
    print_tables(found)
    if arguments.output:
        pathlib.Path(arguments.output).write_text(json.dumps(found, indent=2) + "\n")
    sys.exit(1 if found["failed"] else 0)


if __name__ == "__main__":
    main()
