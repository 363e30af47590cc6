"""A process that has imported everything once and runs one program after the other, as the command line would.

python -m reliability.worker WORLD: a line of JSON with the program's name in, a line with what came of it out.
"""

import json
import os
import pathlib
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator

from absl import logging

from reliability import programs
from sidae_jax.errors import UserError
from sidae_jax.runs.values import printable


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    world = pathlib.Path(sys.argv[1])
    prepare(world)
    for answer in _answers(world):
        print(json.dumps(answer), file=answers, flush=True)


def prepare(world: pathlib.Path) -> None:
    """Makes this process one that runs programs as the command line does."""
    os.environ["XDG_CACHE_HOME"] = str(world / "cache")
    logging.use_absl_handler()
    logging.set_verbosity(logging.WARNING)
    warnings.simplefilter("always")
    programs.keep_compiled_steps()


def _answers(world: pathlib.Path) -> Iterator[dict]:
    for line in sys.stdin:
        name = json.loads(line)
        yield _make(world) if name == "make" else run(world, name)


def _make(world: pathlib.Path) -> dict:
    make(world)
    programs.embed_by_command(world, None)  # which fills the cache of compiled programs
    (world / "out.npz").unlink()
    return {}


def make(world: pathlib.Path) -> None:
    os.dup2(2, 1)
    programs.make_world(world)


def run(world: pathlib.Path, name: str) -> dict:
    """Runs a program and returns its exit code, its output and its result, which is None if it did not end well."""
    before, result, start = (os.dup(1), os.dup(2)), None, time.monotonic()
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)

        def said() -> str:
            sys.stdout.flush()
            sys.stderr.flush()
            return os.pread(file.fileno(), 1 << 24, 0).decode(errors="replace")

        try:
            code, result = 0, programs.PROGRAMS[name](world, said)
        except UserError as error:
            print(f"error: {printable(str(error))}", file=sys.stderr)
            code = error.exit_code
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except BaseException:
            traceback.print_exc()
            code = 1
        output = said()
        for number, kept in zip((1, 2), before, strict=True):
            os.dup2(kept, number)
            os.close(kept)
    return {"code": code, "output": output, "result": result, "seconds": time.monotonic() - start}


if __name__ == "__main__":
    main()
