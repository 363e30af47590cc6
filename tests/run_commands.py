"""Starts `python -m sidae_jax.runs` and reads what it says: for the tests of it."""

import json
import os
import pathlib
import subprocess
import sys

from report_files import write_results
from saved_runs import PRETRAINING, save, trained_arrays

from sidae_jax.config_values import plain
from sidae_jax.runs.workdir import FORMAT

ROOT = pathlib.Path(__file__).parent.parent
ENVIRONMENT = os.environ | {
    "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
    "PYTHONPATH": str(ROOT),
    "COLUMNS": "160",
}


def runs(folder, *arguments, stdin=""):
    command = [sys.executable, "-m", "sidae_jax.runs", *map(str, arguments)]
    return subprocess.run(
        command, cwd=folder, env=ENVIRONMENT, input=stdin, capture_output=True, text=True, timeout=120
    )


def listed(folder, *arguments):
    done = runs(folder, "list", *arguments, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    return {run["name"]: run for run in json.loads(done.stdout)["runs"]}


def lines(run):
    path = run / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def write_run(folder, name="run", steps=(20, 40)):
    run = folder / "runs" / name
    save(run, {step: trained_arrays(step) for step in steps})
    content = {"format": FORMAT, "config": plain(PRETRAINING), "data_sha256": "a" * 64}
    (run / "config.json").write_text(json.dumps(content))
    lines = [{"step": step, "epoch": step / 2, "loss": 1 / step, "feature_std": 0.9} for step in range(10, 41, 10)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_results(run, [0.2, 0.4, 0.6], dataset="digits", seed=0)
    return run
