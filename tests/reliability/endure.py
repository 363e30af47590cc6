"""Trains a tiny run that measures, logs, saves and is evaluated after each step, in one process.

python -m tests.reliability.endure FOLDER COUNT prints a JSON line on the process after each.
"""

import contextlib
import io
import json
import os
import pathlib
import sys

import tensorflow_datasets as tfds
import tensorstore

from sidae_jax import mesh
from sidae_jax.config import pretraining
from sidae_jax.evaluation.config import protocol
from sidae_jax.evaluation.run import evaluate
from sidae_jax.runs import checkpoint
from sidae_jax.training.segments import Segment
from sidae_jax.training.start import open_run


def _process(folder: pathlib.Path) -> dict[str, int]:
    """Returns the bytes in memory, open files and threads of this process, and the bytes of the run on the disk."""
    status = dict(line.split(":", 1) for line in pathlib.Path("/proc/self/status").read_text().splitlines())
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "metrics.jsonl"]
    return {
        "memory": 1024 * int(status["VmRSS"].split()[0]),
        "open files": len(os.listdir("/proc/self/fd")),
        "threads": int(status["Threads"]),
        "disk": sum(path.stat().st_size for path in files),
    }


def _keep_no_json() -> None:
    """Calls tensorstore's KvStore.Spec.to_json once for each place.

    Version 0.1.86 keeps 226 bytes of each call for ever (by tracemalloc, over 10,000 calls); orbax makes one an array.
    """
    to_json, known = tensorstore.KvStore.Spec.to_json, {}

    def once(spec: tensorstore.KvStore.Spec) -> dict:
        if spec.url not in known:
            known[spec.url] = to_json(spec)
        return dict(known[spec.url])

    tensorstore.KvStore.Spec.to_json = once


def _forget_builders() -> None:
    """Empties the cache in which TFDS keeps each builder for ever; an evaluation makes two, of 24 kB together."""
    tfds.core.DatasetBuilder.info.fget.__wrapped__.cache_clear()


def main(folder: pathlib.Path, count: int) -> None:
    _keep_no_json()
    config = pretraining("simsiam", "digits", width=2, d_hid=16, batch_size=16, epochs=count, monitor_every=1)
    config.update(train_split="train[:16]", native="off", log_every=1)
    knn = protocol("knn")
    knn.update(train_split="train[:64]", test_split="test[:32]", native="off", knn={"k": 20})
    with contextlib.ExitStack() as exit_stack:
        run = open_run(config, str(folder), exit_stack)
        (seed,) = run.seeds
        step, state = run.mapped_step(1), mesh.put_tree(run.mesh, seed.restore(0))
        key = run.key(run.seeds)
        for number, (_, batch) in enumerate(run.batches(Segment(run.seeds, 0, count)), start=1):
            state, metrics = step(state, batch, key)
            values = {name: float(value) for name, value in metrics.items()} | run.measure(state)
            seed.log({"step": number, "epoch": float(number), **values})
            seed.save(number, state, values["loss"], scheduled=False)
            seed.checkpoints.settle()
            wanted = checkpoint.to_arrays(state)
            saved = seed.checkpoints.restore(number, wanted)
            same = checkpoint.arrays_sha256(saved) == checkpoint.arrays_sha256(wanted)
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                (untrained,) = evaluate(knn, str(folder), 0)
            _forget_builders()
            print(json.dumps({"same": same, "accuracy": untrained["accuracy"], **_process(folder)}), flush=True)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), int(sys.argv[2]))
