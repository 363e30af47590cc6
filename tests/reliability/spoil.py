"""Trains runs that are to diverge or to collapse, one after another in one process.

python -m tests.reliability.spoil FOLDER reads a JSON line per run from standard input, a config's changes, and prints
after each what the run raised, and then "end".
"""

import json
import pathlib
import sys

from sidae_jax.config import pretraining
from sidae_jax.errors import UserError
from sidae_jax.training.train import train
from tests.reliability import spoiled_methods  # noqa: F401 (registers them)

if __name__ == "__main__":
    for number, line in enumerate(sys.stdin):
        changes = json.loads(line)
        method = changes.pop("method")
        changes = {key: tuple(v) if isinstance(v, list) else v for key, v in changes.items()}
        try:
            train(pretraining(method, "digits", **changes), str(pathlib.Path(sys.argv[1]) / str(number)))
        except UserError as error:
            print(f"{type(error).__name__}, exit code {error.exit_code}: {error}")
        print("end", flush=True)
