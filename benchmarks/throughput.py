"""Images a second, seconds and memory of this package beside PyTorch on the same machine.

    pip install -e '.[parity]' && python benchmarks/throughput.py [--quick] [--parts=step,pipeline] [--output=FILE.json]

The two sides are processes that do a few steps in turn (ours, theirs, ours, ...) while the other is stopped, so that
what slows the machine slows both; the ratio is taken pair by pair. Parts:

    step      training steps of SidAE on tensors that are ready, against the fastest of PyTorch's settings
    pipeline  the step with its data: ours from the resident images, theirs from a DataLoader with PIL transforms
    evaluate  one checkpoint: features once and 50 epochs of probe, against encoding anew in every epoch
    start     from the start of the process to the end of the first step, cold and with compiled programs cached
    growth    the pipeline's speed and memory by batch size, images, devices and seeds (ours alone)

--quick measures the first three.
"""

import argparse
import json
import os
import pathlib
import platform
import sys
import tempfile
import time

import numpy as np
import rich.console
import rich.table
from workers import Worker

SETTINGS = ["float32", "channels_last", "bfloat16 channels_last"]
FURTHER_SETTINGS = ["bfloat16", "compiled", "compiled channels_last", "compiled bfloat16 channels_last"]
EPOCHS = 50  # of the linear probe


class Benchmark:
    """The files that both sides read, and how much is measured."""

    def __init__(self, folder: str, quick: bool, batch_size: int):
        self.folder, self.quick, self.batch_size = pathlib.Path(folder), quick, batch_size
        self.pairs, self.steps = (3, 3) if quick else (15, 5)  # turns of each side, and steps a turn
        self.settings = SETTINGS if quick else SETTINGS + FURTHER_SETTINGS
        rng = np.random.default_rng(0)
        self.weights = str(self.folder / "weights.npz")
        self.batch = self._save("batch", rng.standard_normal((3, batch_size, 3, 32, 32), np.float32))
        coarse = rng.integers(0, 256, (10_240, 8, 8, 3), np.uint8).repeat(4, 1).repeat(4, 2)
        self.images = self._save("images", coarse)
        self.labels = self._save("labels", rng.integers(0, 10, len(coarse)))

    def _save(self, name: str, array: np.ndarray) -> str:
        path = str(self.folder / f"{name}.npy")
        np.save(path, array, allow_pickle=False)
        return path

    def run(self, parts: list[str]) -> dict:
        found = self.beside_pytorch(parts) if {"step", "pipeline", "evaluate"} & set(parts) else {}
        if "start" in parts:
            found["start"] = self.start()
        if "growth" in parts:
            found["growth"] = self.growth()
        return found

    def beside_pytorch(self, parts: list[str]) -> dict:
        """The parts in which the two sides take turns."""
        found = {}
        with Worker("pytorch") as theirs, Worker("jax") as ours:
            fastest = self.fastest_setting(theirs)
            found["pytorch_settings"] = fastest
            setting = max(fastest, key=fastest.get)
            ours("prepare", batch_size=self.batch_size, weights=self.weights)
            ours("ready", batch=self.batch)
            self.check_same_loss(ours, theirs)
            theirs("prepare", setting=setting, weights=self.weights)
            if "step" in parts:
                found["step"] = self.compare(
                    lambda: ours("step", times=self.steps)["seconds"],
                    lambda: theirs("step", setting=setting, times=self.steps)["seconds"],
                )
                found["step"] |= {"ours_peak_mb": ours("memory")["peak_mb"], "setting": setting}
                found["step"] |= {"theirs_peak_mb": theirs("memory")["peak_mb"]}
            if "pipeline" in parts:
                found["pipeline"] = self.pipeline(ours, theirs, setting)
            if "evaluate" in parts:
                found["evaluate"] = self.evaluate(ours, theirs)
        return found

    def fastest_setting(self, theirs: Worker) -> dict[str, float]:
        """Images a second of each of PyTorch's settings, the best of a few steps taken in turn."""
        theirs("weights", path=self.weights)
        theirs("ready", batch=self.batch)
        for setting in self.settings:
            theirs("prepare", setting=setting, weights=self.weights)
            theirs("step", setting=setting)
        times = {setting: [] for setting in self.settings}
        for _ in range(1 if self.quick else 5):
            for setting in self.settings:
                times[setting].append(theirs("step", setting=setting)["seconds"])
        theirs("drop", settings=self.settings)
        return {setting: self.batch_size / min(seconds) for setting, seconds in times.items()}

    def check_same_loss(self, ours: Worker, theirs: Worker) -> None:
        """From the same weights on the same batch, PyTorch in float32."""
        theirs("prepare", setting="float32", weights=self.weights)
        wanted, found = theirs("step", setting="float32")["loss"], ours("step")["loss"]
        theirs("drop", settings=["float32"])
        if abs(found - wanted) > 1e-5 * abs(wanted):
            sys.exit(f"the losses differ, ours {found}, PyTorch's {wanted}: nothing is worth timing")

    def compare(self, ours, theirs, images: int | None = None) -> dict:
        """Images a second of both, and theirs / ours in seconds, pair by pair."""
        pairs = np.array([(ours(), theirs()) for _ in range(self.pairs)])
        ratios = pairs[:, 1] / pairs[:, 0]
        low, middle, high = np.percentile(ratios, [25, 50, 75])
        speeds = (images or self.batch_size) / np.median(pairs, axis=0)
        return {
            "ours": speeds[0],
            "theirs": speeds[1],
            "ratio": middle,
            "ratio_quartiles": [low, high],
            "pairs": pairs.tolist(),
        }

    def pipeline(self, ours: Worker, theirs: Worker, setting: str) -> dict:
        """The DataLoader has as many workers as serve it best, and is stopped with its queues as they are."""
        theirs_by_workers = {}
        for workers in (0, 2) if self.quick else (0, 1, 2, 4):
            theirs("load", images=self.images, batch_size=self.batch_size, workers=workers)
            theirs("pipeline", setting=setting)  # fills the queues
            theirs_by_workers[workers] = theirs("pipeline", setting=setting, times=2 if self.quick else 5)["seconds"]
        workers = min(theirs_by_workers, key=theirs_by_workers.get)
        theirs("load", images=self.images, batch_size=self.batch_size, workers=workers)
        theirs("pipeline", setting=setting)
        ours("load", images=self.images)
        ours("pipeline")  # compiles
        compared = self.compare(
            lambda: ours("pipeline", times=self.steps)["seconds"],
            lambda: theirs("pipeline", setting=setting, times=self.steps)["seconds"],
        )
        return compared | {"workers": workers, "seconds_by_workers": theirs_by_workers}

    def evaluate(self, ours: Worker, theirs: Worker) -> dict:
        """Theirs is an epoch's time, all being alike, times the number of epochs."""
        n = 2_048 if self.quick else 10_240
        images = self._save("eval_images", np.load(self.images)[:n])
        labels = self._save("eval_labels", np.load(self.labels)[:n])
        both = {"images": images, "labels": labels}
        ours("evaluate", **both, epochs=EPOCHS)  # compiles
        return self.compare(
            lambda: ours("evaluate", **both, epochs=EPOCHS)["seconds"],
            lambda: EPOCHS * theirs("evaluate", **both)["seconds"],
            images=n,
        ) | {"images": n, "epochs": EPOCHS}

    def start(self) -> dict:
        """Seconds from the start of a process to the end of its first step."""
        found = {}
        with tempfile.TemporaryDirectory() as cache:
            for name in ("ours, cold", "ours, cached"):
                since = time.perf_counter()
                with Worker("jax", {"JAX_COMPILATION_CACHE_DIR": cache}) as worker:
                    worker("prepare", batch_size=self.batch_size)
                    worker("ready", batch=self.batch)
                    worker("step")
                    found[name] = time.perf_counter() - since
        if not pathlib.Path(self.weights).exists():
            with Worker("pytorch") as worker:
                worker("weights", path=self.weights)
        for setting in ("float32",) if self.quick else ("float32", "compiled"):
            since = time.perf_counter()
            with (
                tempfile.TemporaryDirectory() as cache,
                Worker("pytorch", {"TORCHINDUCTOR_CACHE_DIR": cache}) as worker,
            ):
                worker("prepare", setting=setting, weights=self.weights)
                worker("ready", batch=self.batch)
                worker("step", setting=setting)
                found[f"PyTorch, {setting}"] = time.perf_counter() - since
        return found

    def growth(self) -> list[dict]:
        """Ours by batch size, number of images, devices and seeds: images/s and peak memory, each a new process."""
        cases = [{"batch_size": size} for size in (64, 256, 1024)]
        cases += [{"images": n} for n in (10_000, 50_000, 100_000)] + [{"devices": n} for n in (1, 2, 4, 8)]
        cases += [{"num_seeds": n} for n in (1, 2)]
        return [case | self._grown(**case) for case in cases]

    def _grown(self, batch_size: int = 512, images: int = 10_000, devices: int = 1, num_seeds: int = 1) -> dict:
        flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
        path = self._save("grown", np.zeros((images, 32, 32, 3), np.uint8))
        with Worker("jax", {"XLA_FLAGS": flags}) as worker:
            worker("prepare", batch_size=batch_size, num_seeds=num_seeds)
            worker("load", images=path)
            worker("pipeline")
            seconds = np.median([worker("pipeline", times=5)["seconds"] for _ in range(3)])
            return {"images_per_second": num_seeds * batch_size / seconds, **worker("memory")}


def print_tables(found: dict) -> None:
    console = rich.console.Console(soft_wrap=True, highlight=False)
    if "pytorch_settings" in found:
        settings = ", ".join(f"{name} {speed:.0f}" for name, speed in found["pytorch_settings"].items())
        console.print(f"PyTorch's settings, best images/s of a few steps: {settings}")
    table = rich.table.Table()
    for column in ("part", "ours images/s", "PyTorch images/s", "ratio (median)", "quartiles", "remarks"):
        table.add_column(column)
    remarks = {
        "step": "{setting}; peak {ours_peak_mb:.0f}, {theirs_peak_mb:.0f} MB",
        "pipeline": "{workers} data workers",
        "evaluate": "{images} images, {epochs} epochs",
    }
    for part in [part for part in remarks if part in found]:
        row = found[part]
        low, high = row["ratio_quartiles"]
        speeds = f"{row['ours']:.1f}", f"{row['theirs']:.1f}"
        table.add_row(part, *speeds, f"{row['ratio']:.2f}", f"{low:.2f}-{high:.2f}", remarks[part].format_map(row))
    if table.rows:
        console.print(table)
    for name, seconds in found.get("start", {}).items():
        console.print(f"first step done after, {name}: {seconds:.1f} s")
    for row in found.get("growth", []):
        console.print(", ".join(f"{key} {value:.0f}" for key, value in row.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="within three minutes on two cores")
    parser.add_argument("--batch_size", type=int, default=512)
    parser.add_argument("--parts", default="", help="comma-separated; all by default")
    parser.add_argument("--output", help="write the figures to this JSON file")
    arguments = parser.parse_args()
    known = ["step", "pipeline", "evaluate", "start", "growth"]
    parts = arguments.parts.split(",") if arguments.parts else known[: 3 if arguments.quick else 5]
    if unknown := set(parts) - set(known):
        parser.error(f"--parts={arguments.parts}: {', '.join(sorted(unknown))} is not one of {', '.join(known)}")
    since = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        found = Benchmark(folder, arguments.quick, arguments.batch_size).run(parts)
    found |= {
        "machine": {"cpus": os.cpu_count(), "processor": platform.processor() or platform.machine()},
        "arguments": vars(arguments),
        "seconds": time.perf_counter() - since,
    }
    print_tables(found)
    if arguments.output:
        pathlib.Path(arguments.output).write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
