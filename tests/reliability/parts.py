"""The parts, by name. A part is a module with

TITLE: a line; TEXT: what a case does and what is promised; IN_CI and IN_FULL: the numbers of cases;
run(count, seed, folder): yields the Outcomes of that many cases, whose random choices follow from the seed.
"""

import importlib
import types

NAMES = ("kill", "damage", "disk", "numbers", "peers", "wrong_input", "hostile", "endurance", "cost")


def part(name: str) -> types.ModuleType:
    """Returns the part, imported only now: all of them together take seconds, which --help should not."""
    return importlib.import_module(f"reliability.{name}")
