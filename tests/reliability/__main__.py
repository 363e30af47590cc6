"""Tries every matrix, prints what came of it, and keeps the counts for docs/reliability.md.

python -m tests.reliability [--full] [--only=kill,damage] [--seed=0]

Without --full it runs as many cases as CI does, and writes nothing. With --full it runs all of them; when a part ends,
its counts go into docs/results/reliability.json, and the tables made of that file into docs/reliability.md. The exit
code is 1 if something was lost, silent, or a traceback.
"""

import argparse
import pathlib
import shlex
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from reliability.parts import NAMES, part


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.reliability", description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="all cases, and write the tables of docs/reliability.md")
    parser.add_argument("--only", default=",".join(NAMES), help="parts, with commas between: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the random choices")
    arguments = parser.parse_args()
    names = arguments.only.split(",")
    if unknown := sorted(set(names) - set(NAMES)):
        parser.error(f"--only has {', '.join(unknown)}: give some of {', '.join(NAMES)}")
    import conftest  # noqa: F401 (the caches of the tests' own; all this is slow, which --help should not be)

    from reliability import tables
    from reliability.outcomes import counted

    failed = False
    for name in names:
        module, start, outcomes = part(name), time.time(), []
        count = module.IN_FULL if arguments.full else module.IN_CI
        with tempfile.TemporaryDirectory(prefix=f"sidae-jax-{name}-") as folder:
            for outcome in module.run(count, arguments.seed, pathlib.Path(folder)):
                outcomes.append(outcome)
                mark = "" if outcome.ok else f"   NOT OK\n{outcome.detail}"
                print(f"{name} {len(outcomes)}/{count}  {outcome.what}: {outcome.outcome}{mark}", flush=True)
        counts = counted(outcomes)
        for (what, outcome, ok), number in counts.items():
            print(f"{name}  {number:4}  {what}: {outcome}{'' if ok else '   NOT OK'}")
        wrong = sum(not outcome.ok for outcome in outcomes)
        failed |= wrong > 0 or len(outcomes) < count
        seconds = time.time() - start
        print(f"{name}: {len(outcomes)} cases, {wrong} of them not ok, {seconds:.0f} s\n", flush=True)
        if arguments.full:
            command = shlex.join(
                ["python", "-m", "tests.reliability", "--full", f"--only={name}", f"--seed={arguments.seed}"]
            )
            tables.keep(name, command, seconds, counts)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
