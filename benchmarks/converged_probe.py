"""Is the order of the methods the features' own, or that of the paper's probe? Logistic regression, fitted to its end.

python benchmarks/converged_probe.py --workdir=runs/claims --output=FILE.jsonl

The paper's probe takes 50 epochs of SGD at a constant learning rate, whatever the scale of the features. Here
scikit-learn fits the labels of standardized features of each run's last checkpoint. With 1% of the labels,
cross-validation on them chooses the penalty (C); with all, some 50,000 images for 128 features, there is nothing to
choose. Needs scikit-learn and the package, of which it uses sidae_jax.embed and the rows that keep their labels. A line
for each run and fraction is appended to FILE. It leaves out, and says so, runs that have not finished and those whose
name is there with their last step: give the runs of another folder another FILE.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sidae_jax.evaluation.run import labeled_rows

C = {0.01: [0.001, 0.01, 0.1, 1.0], 1.0: [1.0]}


def features(run: pathlib.Path, dataset: str, split: str) -> tuple[np.ndarray, np.ndarray, dict]:
    """Features [n, d], labels [n], and what made them."""
    with tempfile.TemporaryDirectory() as folder:
        out = f"{folder}/{split}.npz"
        command = [sys.executable, "-m", "sidae_jax.embed", f"--workdir={run}", f"--dataset={dataset}"]
        subprocess.run([*command, f"--split={split}", f"--out={out}"], check=True)
        with np.load(out) as file:
            return file["features"], file["labels"], json.loads(str(file["metadata"]))


def accuracy(train: np.ndarray, labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray, cs) -> dict:
    """The penalty chosen, and the accuracy on the test images."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=cs[0], max_iter=5000))
    if len(cs) > 1:
        fewest = int(np.unique(labels, return_counts=True)[1].min())
        if fewest < 2:
            raise SystemExit(
                f"error: a class has {fewest} of {len(labels)} labeled images: too few to choose a penalty"
            )
        model = GridSearchCV(model, {"logisticregression__C": cs}, cv=min(5, fewest)).fit(train, labels).best_estimator_
    else:
        model.fit(train, labels)
    return {"C": model[-1].C, "iterations": int(model[-1].n_iter_.max()), "accuracy": model.score(test, test_labels)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", required=True, type=pathlib.Path, help="the folder of a sweep")
    parser.add_argument("--output", required=True, type=pathlib.Path)
    arguments = parser.parse_args()
    lines = arguments.output.read_text().splitlines() if arguments.output.exists() else []
    done = {(line["run"], line["step"]) for line in map(json.loads, lines) if line["label_fraction"] == 1.0}
    runs = sorted(arguments.workdir.glob("*/seed*/status.json"))
    if not runs:
        raise SystemExit(
            f"error: --workdir={arguments.workdir} has no runs with their checkpoints, NAME/seedN, of a sweep"
        )
    for path in runs:
        status, run = json.loads(path.read_text()), path.parent.relative_to(arguments.workdir).as_posix()
        if status["state"] != "finished" or (run, status["saved_step"]) in done:
            why = status["state"] if status["state"] != "finished" else f"in {arguments.output} already"
            print(f"left out: {run} ({why})")
            continue
        dataset = json.loads((path.parent / "config.json").read_text())["config"]["dataset"]
        train, labels, made_by = features(path.parent, dataset, "train")
        test, test_labels, _ = features(path.parent, dataset, "test")
        made_by = {"run": run, "step": int(made_by["step"]), "weights": made_by["sha256"], "dataset": dataset}
        found = []
        for fraction, cs in C.items():
            rows = labeled_rows(len(train), fraction)
            of_probe = accuracy(train[rows], labels[rows], test, test_labels, cs)
            found.append({**made_by, "label_fraction": fraction, "n_train": len(rows), **of_probe})
            print(found[-1], flush=True)
        with arguments.output.open("a") as file:
            file.write("".join(json.dumps(line) + "\n" for line in found))


if __name__ == "__main__":
    main()
