"""The commands of a sweep that have succeeded in a run's folder: done.jsonl."""

import json
import pathlib

from sidae_jax.errors import UserError
from sidae_jax.files import read_regular
from sidae_jax.runs import sums


def commands(folder: pathlib.Path) -> list[list[str]]:
    """Returns the commands that have succeeded in the folder; a damaged line is skipped, and its command run again.

    Raises UserError if the file cannot be read.
    """
    found = []
    path = folder / "done.jsonl"
    try:
        lines = read_regular(path).splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}): move it away, and all of it is run again"
        ) from error
    for line in lines:
        try:
            found.append(sums.unsealed(json.loads(line))["command"])
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
    return found
