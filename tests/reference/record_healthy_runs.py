"""Writes healthy_runs.json: the metrics of short healthy runs of every method on every small data set.

python tests/reference/record_healthy_runs.py DATA_DIR [METHOD ...]

DATA_DIR holds cifar10 and fashion_mnist as TFDS prepares them. tests/reliability/numbers.py reads the metrics: none of
these runs may be called collapsed or diverged. A run takes some 20 seconds on two cores.
"""

import fcntl
import json
import pathlib
import sys
import tempfile

from sidae_jax.config import pretraining
from sidae_jax.methods import METHODS
from sidae_jax.settings import own_settings
from sidae_jax.training.train import train

_OUT = pathlib.Path(__file__).with_name("healthy_runs.json")
_KEPT = ("step", "loss", "feature_std")


def _lines(method: str, dataset: str, data_dir: str) -> list[dict]:
    config = pretraining(method, dataset, epochs=3, batch_size=32, width=4, log_every=2, monitor_every=0)
    config.train_split = "train[:640]"
    if dataset != "digits":
        config.data_dir = data_dir
    if "d_hid" in config and not own_settings(method):
        config.d_hid = 256
    lines: list[dict] = []
    with tempfile.TemporaryDirectory() as folder:
        train(config, f"{folder}/run", lines.append)
    return lines


def _keep(name: str, curves: dict[str, list]) -> None:
    with _OUT.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        runs = json.loads(file.read() or "{}") | {name: curves}
        file.truncate(0)
        file.write(json.dumps(dict(sorted(runs.items())), separators=(",", ":")) + "\n")


def main(data_dir: str, methods: list[str]) -> None:
    for dataset in ("digits", "fashion_mnist", "cifar10"):
        for method in methods:
            lines = _lines(method, dataset, data_dir)
            _keep(f"{method} on {dataset}", {key: [float(f"{line[key]:.4g}") for line in lines] for key in _KEPT})


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:] or list(METHODS))
