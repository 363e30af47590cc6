"""Thousands of saves, measures and evaluations in one process: whether its memory, files, threads and disk grow."""

import json
import pathlib
from collections.abc import Iterator

from reliability import commands
from reliability.outcomes import Outcome

TITLE = "Endurance"
TEXT = """
A tiny run in one process logs, measures its features, saves (the older checkpoint goes), reads the checkpoint back,
compares its bits and evaluates the untrained backbone by nearest neighbors, thousands of times. Promised: the bits and
the accuracy are always the same, and from the first quarter to the end memory, open files, threads and the disk (but
for the lines of metrics.jsonl) stay flat. What two libraries keep for ever is left out of this: tensorstore 0.1.86
226 bytes of each array that is saved or read back (52 kB of a checkpoint of 230 arrays), TFDS 4.9.10 some 12 kB of each
data set that is opened.
"""
IN_CI, IN_FULL = 20, 2000

# how much each may grow from the first quarter to the end
_FLAT = {"memory": 40 << 20, "open files": 2, "threads": 4, "disk": 100_000}


def run(count: int, seed: int, folder: pathlib.Path) -> Iterator[Outcome]:
    """Yields an outcome per round, and one per figure that is to stay flat."""
    env = commands.environment(folder)
    ended = commands.run("tests.reliability.endure", folder / "run", count, env=env, timeout=6 * 3600)
    rounds = [json.loads(line) for line in ended.output.splitlines() if line.startswith("{")]
    assert (ended.code, len(rounds)) == (0, count), str(ended)
    for each in rounds:
        good = each["same"] and each["accuracy"] == rounds[0]["accuracy"]
        yield Outcome("a line, measures, a save, an evaluation", "same bits, same accuracy", good, str(each))
    quarter = rounds[count // 4 - 1 :]
    for name, most in _FLAT.items():
        first, *_, last = values = [each[name] for each in quarter]
        if name in ("memory", "disk"):
            figures = f"{first / 1e6:.1f} MB after {count // 4} rounds, {last / 1e6:.1f} MB after {count}"
        else:
            figures = f"{first} after {count // 4} rounds, {last} after {count}"
        grown = min(values[-5:]) - first  # they go up and down
        yield Outcome(f"{name} of the process", figures, grown <= most, f"grew by {grown}, may grow by {most}")
