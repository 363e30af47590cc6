"""Peak memory of decoding and of streaming a folder of synthetic images, by their number.

python benchmarks/memory_of_data.py --folder=DIR [--counts=10000,100000] [--size=96] [--steps=200]

Makes DIR/images-COUNT of JPEG files of size x size pixels: 1,000 different ones; the others are hard links to them, but
found, read and decoded as any file is. The cache lies in DIR/cache. For each count a process decodes the folder into it
and another streams batches of 512 from it to the device, at random rows as a training does. Both print

* anonymous: the peak of RssAnon, memory of the process's own, which has to fit into the machine;
* file: the peak of RssFile, which counts pages of the memory-mapped array that were touched. They are the page cache's:
  the kernel takes them back when memory is short, and a process that is given less just reads from the disk again.

Both are of /proc/self/status, every 20 ms. Linux only.
"""

import argparse
import io
import os
import pathlib
import subprocess
import sys
import threading
import time

import numpy as np
from PIL import Image

BATCH = 512


def write_images(folder: pathlib.Path, count: int, size: int) -> None:
    """Writes count images, in folders of ten classes, unless they are there."""
    if len(list(folder.glob("9/*"))) == count // 10:
        return
    rng = np.random.default_rng(0)
    contents = []
    for _ in range(1000):  # smooth ones, as large as photographs of this size
        small = Image.fromarray(rng.integers(0, 256, (size // 8, size // 8, 3), np.uint8))
        buffer = io.BytesIO()
        small.resize((size, size), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
        contents.append(buffer.getvalue())
    first = {}
    for index in range(count):
        path = folder / str(index % 10) / f"{index:07d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        if index % 1000 in first and not path.exists():
            os.link(first[index % 1000], path)
        else:
            path.write_bytes(contents[index % 1000])
            first[index % 1000] = path


class Peaks:
    """The peaks of a process's memory in MB while it is open."""

    def __enter__(self):
        self.found = {"RssAnon": 0, "RssFile": 0}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        self._thread.join()

    def _watch(self):
        while not self._done.wait(0.02):
            for line in pathlib.Path("/proc/self/status").read_text().splitlines():
                name, _, value = line.partition(":")
                if name in self.found:
                    self.found[name] = max(self.found[name], int(value.split()[0]) / 1000)


def decode(folder: str, size: int) -> str:
    from sidae_jax import data
    from sidae_jax.settings import FolderSettings

    images = data.load("folder", "train", folder=FolderSettings(folder, test_share=0.0), size=size)
    return f"{images.images.nbytes / 1e9:.1f} GB"


def stream(folder: str, size: int, steps: int) -> str:
    from sidae_jax import data, mesh
    from sidae_jax.data import normalization
    from sidae_jax.settings import FolderSettings
    from sidae_jax.training import input_pipeline

    images = data.load("folder", "train", folder=FolderSettings(folder, test_share=0.0), size=size)
    images.sha256()
    normalization.measure(images.images)  # as a run does at its start
    order = input_pipeline.batch_order(len(images.images), BATCH, seed=0)
    for _, batch in input_pipeline.stream_batches(images, order, BATCH, mesh.data_mesh(BATCH), start=0, end=steps):
        batch.images.block_until_ready()
    return f"{steps} batches"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--counts", default="10000,100000")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--part", help="used by this script for its processes")
    arguments = parser.parse_args()
    if arguments.part:
        start = time.perf_counter()
        folder = str(arguments.folder)
        with Peaks() as peaks:
            what = (
                decode(folder, arguments.size)
                if arguments.part == "decode"
                else stream(folder, arguments.size, arguments.steps)
            )
        anonymous, file = peaks.found.values()
        seconds = time.perf_counter() - start
        print(f"{arguments.part} | {what} | {anonymous:.0f} | {file:.0f} | {seconds:.0f}", flush=True)
        return
    print("images | part | what | anonymous MB | file MB | s")
    for count in map(int, arguments.counts.split(",")):
        folder = arguments.folder / f"images-{count}"
        write_images(folder, count, arguments.size)
        for part in ("decode", "stream"):
            command = [sys.executable, __file__, f"--folder={folder}", f"--part={part}"]
            command += [f"--size={arguments.size}", f"--steps={arguments.steps}"]
            environment = os.environ | {"XDG_CACHE_HOME": str(arguments.folder / "cache")}
            print(f"{count} | ", end="", flush=True)
            subprocess.run(command, env=environment, check=True)


if __name__ == "__main__":
    main()
