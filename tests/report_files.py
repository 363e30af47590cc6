"""Writes the files that the report reads, and reads what it makes of them: for the tests of the report."""

import json
import pathlib
import re
import subprocess
import sys

import numpy as np

from sidae_jax import config_files
from sidae_jax.evaluation import picture_file
from sidae_jax.report import summaries
from sidae_jax.report.run_index import Pretraining

ROOT = pathlib.Path(__file__).parent.parent
ACCURACIES = {  # of seeds 0, 1, 2 at steps 0, 20, 40
    ("sidae", 0.5): [[0.2, 0.4, 0.60], [0.2, 0.5, 0.62], [0.2, 0.6, 0.67]],
    ("sidae", 0.25): [[0.2, 0.3, 0.5]],
    ("simsiam", None): [[0.2, 0.3, 0.4], [0.3, 0.4, 0.5]],
}
# the titles of the tables of the runs that write_sweep writes, and of those of write_results and summary
TITLE = "linear probe on cifar10, 100% of the labels (50 images), 30 test images"
PLAIN = "linear probe on cifar10, 100% of the labels (50000 images), 10000 test images"


def write_config(run, method, dataset="cifar10", **changes):
    """Writes a run's config.json: the data set's config file with the changes."""
    views = {key.partition(".")[2]: changes.pop(key) for key in list(changes) if key.startswith("views.")}
    config = config_files.load_config(f"{ROOT}/configs/{dataset}.py:{method}", ()).to_dict() | changes
    run.mkdir(parents=True, exist_ok=True)
    content = {"config": config | {"views": config["views"] | views}, "data_sha256": "0", "versions": {}}
    (run / "config.json").write_text(json.dumps(content))


def write_results(run, accuracies, steps=(0, 20, 40), name="probe", **changes):
    """Writes one result per step, of the linear probe on CIFAR-10 except for the changes."""
    record = {"protocol": "linear", "dataset": "cifar10", "label_fraction": 1.0, "n_train": 50_000, "n_test": 10_000}
    (run / "eval").mkdir(exist_ok=True)
    lines = [
        json.dumps({**record, "step": step, "epoch": 200 * step / max(*steps, 1), "accuracy": accuracy, **changes})
        for step, accuracy in zip(steps, accuracies, strict=True)
    ]
    (run / "eval" / f"{name}.jsonl").write_text("\n".join(lines) + "\n")


def summary(mean=40.0, step=20, epoch=200.0, seeds=1, error=None, **changes):
    """Returns a summary of a linear probe on CIFAR-10 after SidAE, at the published settings but for the changes."""
    task = {"protocol": "linear", "evaluated_on": "cifar10", "label_fraction": 1.0, "settings": ()}
    task |= {"n_train": 50_000, "n_test": 10_000, "train_split": "train", "test_split": "test", "labeled_rows": ""}
    task |= {key.removeprefix("task_"): changes.pop(key) for key in list(changes) if key.startswith("task_")}
    run = {"label": "a", "dataset": "cifar10", "method": "sidae", "w": 0.5, "d_hid": 2048, "images": "train"}
    run |= {"epochs": 200, "batch_size": 512, "width": 64, "settings": ()} | changes
    return summaries.Summary(summaries.Task(**task), Pretraining(**run), step, epoch, seeds, mean, error)


def write_sweep(folder):
    """Writes what a sweep leaves, except for checkpoints."""
    for (method, w), seeds in ACCURACIES.items():
        for seed, accuracies in enumerate(seeds):
            run = folder / f"cifar10-{method}{'' if w is None else f'-w{w}'}" / f"seed{seed}"
            (run / "eval").mkdir(parents=True)
            write_config(run, method, seed=seed, train_split="train[:64]", **({} if w is None else {"w": w}))
            lines = [{"step": step, "epoch": step / 20, "loss": 1 / step, "feature_std": 0.9} for step in (10, 20, 40)]
            (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
            common = {"protocol": "linear", "dataset": "cifar10", "label_fraction": 1.0, "n_train": 50, "n_test": 30}
            path = run / "eval" / f"linear-cifar10-1-seed{seed}.jsonl"
            for step, accuracy in zip((0, 20, 40), accuracies, strict=True):
                with path.open("a") as file:
                    file.write(json.dumps({**common, "step": step, "epoch": step / 20, "accuracy": accuracy}) + "\n")
            picture_file.write(run / "eval" / picture_file.NAME, colored(0 if method == "simsiam" else 8))
    return folder


def color(kind, i):
    """Returns a color for each kind of picture and each image i, far from the others."""
    return np.array([60 * kind, 20 * i, 100 + 30 * (i % 2)])


def colored(reconstructed):
    """Returns pictures of one color each: kind 0 are images, 1 and 2 their views, 3 and 4 their reconstructions."""

    def pictures_of(kind, n=8):
        return np.array([np.full((32, 32, 3), color(kind, i)) for i in range(n)], np.uint8).reshape(n, 32, 32, 3)

    return picture_file.Pictures(
        epoch=2.0,
        images=pictures_of(0),
        views=np.stack([pictures_of(1), pictures_of(2)], 1),
        reconstructions=np.stack([pictures_of(3, reconstructed), pictures_of(4, reconstructed)], 1),
        tsne=np.stack([np.arange(30) % 3, np.arange(30)], 1).astype(np.float32),
        labels=(np.arange(30) % 3).astype(np.int32),
        class_names=np.array(["cat", "dog", "bird"]),
    )


def texts(svg):
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def run_report(*arguments):
    command = [sys.executable, "-m", "sidae_jax.report", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
