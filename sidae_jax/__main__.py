"""The console script sidae-jax, also python -m sidae_jax: one name for each program of the package."""

from sidae_jax import interrupt  # noqa: F401, I001 (first: what follows takes a while to import)

import runpy
import sys

import sidae_jax
from sidae_jax.errors import nearest

# name: the module that `python -m` starts, and what it does
PROGRAMS = {
    "pretrain": ("sidae_jax.main", "pre-train an encoder"),
    "evaluate": ("sidae_jax.linear_eval", "evaluate a run's checkpoints by a linear probe or another protocol"),
    "sweep": ("sidae_jax.sweep", "run an experiment: many pre-trainings and their evaluations"),
    "report": ("sidae_jax.report", "write a report on runs: tables, curves and pictures"),
    "pictures": ("sidae_jax.pictures", "compute the views and reconstructions that a report shows of a run"),
    "runs": ("sidae_jax.runs", "list, show, compare and remove runs"),
    "export": ("sidae_jax.export", "write an encoder to a file for other libraries"),
    "embed": ("sidae_jax.embed", "write the features of images to a file"),
}


def usage() -> str:
    """Returns the text of --help."""
    lines = [f"  {name:<10}{what}" for name, (_, what) in PROGRAMS.items()]
    return "\n".join(
        ["usage: sidae-jax PROGRAM [--OPTION=VALUE ...]", "", *lines, "", "sidae-jax PROGRAM --help lists its options."]
    )


def main() -> None:
    """Starts the program that the first argument names, with the other arguments.

    Raises:
      SystemExit: as the program does; with code 2 and one sentence if there is no such program.
    """
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("--help", "-h", "-help"):
        print(usage())
    elif name == "--version":
        print(f"sidae-jax {sidae_jax.__version__}")
    elif name in PROGRAMS:
        del sys.argv[1]
        runpy.run_module(PROGRAMS[name][0], run_name="__main__", alter_sys=True)
    else:
        near = nearest(name, PROGRAMS)
        hint = f"did you mean {near}?" if near else f"give one of {', '.join(PROGRAMS)}"
        print(f"error: {name} is not a program of sidae-jax: {hint}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
