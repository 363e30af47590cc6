"""What training's own programs do on GPUs and TPUs, from the compilers for them, which need no accelerator.

    pip install -e '.[aot]'
    python benchmarks/accelerators.py --quick
    python benchmarks/accelerators.py --targets=h100,v5e:2x4 --methods=sidae --dump=DIR --output=FILE.json

No time is measured: `least ms` is what the bytes over the memory's bandwidth or the operations over the peak take, the
larger of the two, and images/s follow from it. It is an estimate: caches keep some bytes from the memory, and no real
program reaches both peaks. All figures are of one device. Bytes and
operations of TPUs are XLA's own count, those of GPUs that of program_cost.py.
"""

import argparse
import dataclasses
import functools
import json
import pathlib
import re
import time

import targets

targets.without_accelerators()  # before JAX is first used

import rich.console  # noqa: E402
import rich.table  # noqa: E402
from program_cost import Kernel, program_cost  # noqa: E402
from programs import IMAGES, PROGRAMS, Case, compiled  # noqa: E402

from sidae_jax import settings  # noqa: E402


def measure(case: Case, dump: pathlib.Path | None) -> tuple[dict, list[Kernel]]:
    """Returns the figures of a case, all of one device, and its costliest kernels.

    Writes the compiled text into the folder `dump`, if there is one.
    """
    start = time.monotonic()
    program = compiled(case)
    seconds = time.monotonic() - start
    text = program.as_text()
    if dump:
        dump.mkdir(parents=True, exist_ok=True)
        (dump / f"{case.name}.hlo").write_text(text)
    cost, memory = program_cost(text), program.memory_analysis()
    reported = program.cost_analysis() or {}  # XLA's own count, which it gives for TPUs alone
    moved = reported.get("bytes accessed", cost.bytes)
    flops = reported.get("flops", cost.flops)
    target = targets.TARGETS[case.target]
    bound = max(moved / target.bandwidth, flops / target.peak[case.precision])
    figures = {
        **dataclasses.asdict(case),
        "kernels": len(cost.kernels),
        "gigabytes": moved / 1e9,
        "gigaflops": flops / 1e9,
        "largest_window": cost.largest_window,
        "peak_megabytes": (memory.temp_size_in_bytes + memory.argument_size_in_bytes) / 1e6,
        "temporary_megabytes": memory.temp_size_in_bytes / 1e6,
        "collectives": cost.collectives(),
        "data_set_copies": data_set_copies(text),
        "seconds_to_compile": seconds,
        "least_milliseconds": bound * 1e3,
        "images_per_second": case.images / bound,
    }
    return figures, cost.costliest(40)


def data_set_copies(text: str) -> int:
    """Returns how often the program copies the whole data set."""
    return len(re.findall(rf"= u8\[{IMAGES},[\d,]*\]\S* (?:copy|fusion|transpose)\(", text))


def main() -> None:
    """Compiles the cases of the command line and prints a table of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    several = functools.partial(functools.partial, _names_of)
    parser.add_argument("--targets", type=several(targets.TARGETS), default=list(targets.TARGETS))
    parser.add_argument("--methods", type=several(settings.METHOD_SETTINGS), default=list(settings.METHOD_SETTINGS))
    parser.add_argument("--precisions", type=several(settings.PRECISIONS), default=list(settings.PRECISIONS))
    parser.add_argument("--programs", type=several(PROGRAMS), default=list(PROGRAMS))
    parser.add_argument("--batch_size", type=int, default=512, help="of all devices together")
    parser.add_argument(
        "--sizes", type=several([str(size) for size in settings.SIZES]), default=["32"], help="of the images, in pixels"
    )
    parser.add_argument("--quick", action="store_true", help="H100 and v5e, SidAE and SimSiam, the resident step")
    parser.add_argument("--output", type=pathlib.Path, help="JSON file for all figures")
    parser.add_argument("--dump", type=pathlib.Path, help="folder for the compiled text")
    parser.add_argument("--costliest", type=int, default=0, help="also print so many kernels that move the most bytes")
    options = parser.parse_args()
    if options.quick:
        options.targets, options.methods, options.programs = ["h100", "v5e:2x4"], ["sidae", "simsiam"], ["resident"]
    measure_all(options)


def _names_of(known, text: str) -> list[str]:
    if unknown := set(names := text.split(",")) - set(known):
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))} is not one of {', '.join(known)}")
    return names


def measure_all(options: argparse.Namespace) -> None:
    """Measures every case of the options, writing each figure as soon as it is known."""
    cases = [
        Case(target, program, method, precision, options.batch_size, int(size))
        for target in options.targets
        for program in options.programs
        for method in options.methods
        for precision in options.precisions
        for size in options.sizes
    ]
    console = rich.console.Console(width=180)
    rows = []
    for i, case in enumerate(cases):
        console.print(f"{i + 1} of {len(cases)}: {case.name}", highlight=False)
        figures, costliest = measure(case, options.dump)
        rows.append(figures)
        if options.output:
            options.output.write_text(json.dumps(rows, indent=1))
        for kernel in costliest[: options.costliest]:
            line = f"  {kernel.bytes / 1e6:7.1f} MB  {kernel.operation} {kernel.shape[:60]} {kernel.source[-90:]}"
            console.print(line, highlight=False, markup=False)
    console.print(table(rows))


def table(rows: list[dict]) -> rich.table.Table:
    """Returns the figures as a table."""
    columns = {
        "target": "{target}",
        "program": "{program}",
        "method": "{method}",
        "precision": "{precision}",
        "size": "{size}",
        "kernels": "{kernels}",
        "GB": "{gigabytes:.2f}",
        "GFLOP": "{gigaflops:.0f}",
        "window": "{largest_window}",
        "peak MB": "{peak_megabytes:.0f}",
        "collectives": "{collective_count}",
        "copies of data": "{data_set_copies}",
        "s to compile": "{seconds_to_compile:.0f}",
        "least ms": "{least_milliseconds:.2f}",
        "images/s": "{images_per_second:,.0f}",
    }
    result = rich.table.Table(*columns)
    for row in rows:
        count = sum(count for count, _ in row["collectives"].values())
        result.add_row(*(cell.format(**row, collective_count=count) for cell in columns.values()))
    return result


if __name__ == "__main__":
    main()
