"""List the runs in a folder, look at one, compare some, delete them, or check their checksums.

python -m sidae_jax.runs [DIR]                 the runs in DIR (by default runs/): a line for each
python -m sidae_jax.runs show RUN              all about one run, with its curves
python -m sidae_jax.runs compare RUN RUN ...   what differs, the results, and the curves beside each other
python -m sidae_jax.runs rm RUN ...            says what it would delete, and asks
python -m sidae_jax.runs verify RUN ...        checks every checksum and file; exit code 1 if anything is wrong

A RUN is the folder of a run, or its name in runs/. Only rm changes anything.
"""

from sidae_jax import interrupt  # noqa: F401, I001 (first, because the other imports take a while)

import argparse
import os
import pathlib
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from absl import logging

from sidae_jax.errors import UserError, nearest
from sidae_jax.runs import ROOT, cells, compare, index, listing, remove, show
from sidae_jax.runs.overview import Overview
from sidae_jax.runs.values import printable

_COMMANDS = ("list", "show", "compare", "rm", "verify")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Raises UserError in place of printing the usage."""
        raise UserError(f"{message}: python -m sidae_jax.runs --help lists the commands")


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the program with these arguments, by default those of the command line.

    Raises:
      SystemExit: with code 0; 1 if `verify` finds something wrong or `rm` is not confirmed; 2 for a user's mistake.
    """
    try:
        code = _run(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
    except UserError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        code = error.exit_code
    except BrokenPipeError:  # the reader has seen enough, as head has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = 130
    sys.exit(code)


def _run(argv: list[str]) -> int:
    if not argv or argv[0] not in (*_COMMANDS, "-h", "--help"):
        argv = ["list", *argv]
    given = _parser().parse_args(argv)
    console = cells.console()
    if given.command == "list":
        return _list(console, given.dir, as_json=given.json)
    if given.command == "show":
        run = Overview(index.one_run(given.run), given.run)
        print(cells.as_json(show.as_values(run))) if given.json else show.show(console, run)
    elif given.command == "compare":
        if len(given.runs) < 2:
            raise UserError("compare needs two runs or more: give another RUN")
        compare.show(console, [Overview(index.one_run(name), name) for name in given.runs])
    elif given.command == "rm":
        return 0 if remove.remove(given.runs, yes=given.yes) else 1
    elif given.command == "verify":
        _prepare_for_jax()
        from sidae_jax.runs import verify  # imports JAX

        return verify.verify(given.runs)
    return 0


def _prepare_for_jax() -> None:
    os.environ["JAX_PLATFORMS"] = "cpu"  # an accelerator's memory is for those who train
    logging.set_verbosity(logging.FATAL)  # orbax tells of damage too, at length
    # threads of tensorstore would print "Event loop is closed" of a damaged checkpoint that orbax has given up
    sys.unraisablehook = lambda _: None


def _list(console, folder: str | None, *, as_json: bool) -> int:
    if folder is None and not ROOT.is_dir():
        raise UserError(f"there is no folder {ROOT.absolute()}: give that of the runs, python -m sidae_jax.runs DIR")
    path = pathlib.Path(ROOT if folder is None else folder).expanduser()
    if not path.is_dir():
        known = nearest(str(folder), _COMMANDS)
        hint = f"did you mean the command {known}?" if known else "give the folder of the runs, or a command of --help"
        raise UserError(f"{folder} does not exist or is no folder: {hint}")
    runs, problems = listing.overviews(path)
    if as_json:
        print(cells.as_json({"runs": [listing.as_values(run) for run in runs], "problems": problems}))
        return 0
    if runs or problems:
        listing.show(console, runs, problems)
    else:
        console.print(cells.cell(f"{path} holds no runs"), soft_wrap=True)
    return 0


def _parser() -> _Parser:
    parser = _Parser(
        prog="python -m sidae_jax.runs",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage=argparse.SUPPRESS,
    )
    commands = parser.add_subparsers(dest="command", required=True, parser_class=_Parser, metavar="")
    as_json: dict[str, Any] = {"action": "store_true", "help": "JSON instead of a table"}
    command = commands.add_parser("list", help="the runs in a folder; --json: as JSON")
    command.add_argument("dir", nargs="?", metavar="DIR", help="a folder with runs, or one run (default: runs/)")
    command.add_argument("--json", **as_json)
    command = commands.add_parser("show", help="all about one run; --json: as JSON")
    command.add_argument("run", metavar="RUN")
    command.add_argument("--json", **as_json)
    command = commands.add_parser("compare", help="two runs or more beside each other")
    command.add_argument("runs", nargs="+", metavar="RUN")
    command = commands.add_parser("rm", help="delete runs; --yes: without asking")
    command.add_argument("runs", nargs="+", metavar="RUN")
    command.add_argument("--yes", action="store_true", help="delete without asking")
    command = commands.add_parser("verify", help="check checksums and files of runs; a folder stands for all in it")
    command.add_argument("runs", nargs="+", metavar="RUN")
    return parser


if __name__ == "__main__":
    main()
