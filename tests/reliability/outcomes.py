"""What a case of a matrix came to, and the check of a part of a matrix by pytest."""

import collections
import dataclasses
import pathlib
import types
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """One case.

    Attributes:
      what: the fault, and what it met: a row of the table, such as "kill -9 during a save".
      outcome: what came of it, a few words that many cases share, such as "went on, same bits".
      ok: whether that is what is promised.
      detail: for a case that is not ok, all that is needed to look into it: its random choices, commands, output.
    """

    what: str
    outcome: str
    ok: bool
    detail: str = ""


def in_parallel(case: Callable[[T], Outcome], choices: Iterable[T], workers: int = 2) -> Iterator[Outcome]:
    """Yields case(choice) for each choice, in their order. An exception of a case is an outcome that is not ok."""

    def tried(choice: T) -> Outcome:
        try:
            return case(choice)
        except Exception as error:
            return Outcome(str(choice), "the test itself failed", False, f"{type(error).__name__}: {error}")

    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(tried, choices)


def counted(outcomes: Iterable[Outcome]) -> dict[tuple[str, str, bool], int]:
    """Returns how often each (what, outcome, ok) was seen, in order."""
    counts = collections.Counter((each.what, each.outcome, each.ok) for each in outcomes)
    return dict(sorted(counts.items()))


def check(part: types.ModuleType, folder: pathlib.Path, seed: int = 0) -> None:
    """Runs as many cases of a part as CI does. Fails if one is not ok, or if fewer ran than the part says."""
    outcomes = list(part.run(part.IN_CI, seed, folder))
    wrong = [each for each in outcomes if not each.ok]
    assert not wrong, "\n\n".join(f"{each.what}: {each.outcome}\n{each.detail}" for each in wrong)
    assert len(outcomes) >= part.IN_CI, f"{len(outcomes)} cases ran of {part.IN_CI}"
