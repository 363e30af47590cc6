"""How the processes of one run exchange values outside the steps.

All functions are collective: every process calls them, in the same order.
"""

import json
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from sidae_jax.errors import UserError

T = TypeVar("T")


def gather(value: Any) -> list[Any]:
    """Returns the value of each process, in the order of their numbers; a value is anything that JSON can hold."""
    if jax.process_count() == 1:
        return [value]
    text = np.frombuffer(json.dumps(value).encode(), np.uint8)
    lengths = multihost_utils.process_allgather(np.int32(len(text)))
    padded = np.zeros(lengths.max(), np.uint8)
    padded[: len(text)] = text
    rows = multihost_utils.process_allgather(padded)
    return [json.loads(row[:length].tobytes()) for row, length in zip(rows, lengths, strict=True)]


def raise_in_all(action: Callable[[], T]) -> T:
    """Returns action(). A UserError in any process is raised in all, so that none waits for one that has ended."""
    problem = None
    try:
        result = action()
    except UserError as error:
        problem = error
    problems = gather(problem and str(problem))
    if problem is not None:
        raise problem
    if any(problems):
        number, text = next((i, text) for i, text in enumerate(problems) if text)
        raise UserError(f"process {number} of this run has stopped: {text}")
    return result


def check_agreement(facts: dict[str, Any]) -> None:
    """Raises UserError in all processes if a fact differs between them, naming each such fact and its values."""
    everyone = gather(facts)
    differences = []
    for name in sorted(set().union(*everyone)):
        values = [theirs.get(name) for theirs in everyone]
        other = next((i for i, value in enumerate(values) if value != values[0]), None)
        if other is not None:
            differences.append(f"{name} is {values[0]} in process 0 and {values[other]} in process {other}")
    if differences:
        raise UserError(
            f"the processes of this run do not agree: {'; '.join(differences)}. Start all of them by the same command, "
            "with the same packages and data, in a --workdir that all machines share"
        )
