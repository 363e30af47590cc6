"""The summary of first_hour.sh: each step's state and time, the speeds beside PyTorch, the accuracies. No packages."""

import json
import pathlib
import sys


def main(out: pathlib.Path) -> None:
    states = sorted((out / "state").glob("*.[df]*"), key=lambda path: path.stat().st_mtime)
    steps = [(path.stem, path.suffix[1:], f"{path.read_text().strip()} s") for path in states]
    rows(("step", "", "time"), steps)
    for name in ("throughput", "growth"):
        if (out / f"{name}.json").exists():
            speeds(json.loads((out / f"{name}.json").read_text()))
    rows(("evaluation", "step", "accuracy"), list(accuracies(out / "runs")))
    print(f"\nlogs: {out}/logs, report: {out}/report/report.html")


def speeds(found: dict) -> None:
    machine = found["machine"]
    print(f"\n{', '.join(machine['gpus']) or machine['processor']}, {machine['versions']}")
    compared = {name: row for name, row in found.items() if isinstance(row, dict) and "ratio" in row}
    columns = ("part", "ours images/s", "PyTorch images/s", "ratio", "PyTorch's setting")
    figures = [
        (name, f"{row['ours']:.0f}", f"{row['theirs']:.0f}", f"{row['ratio']:.2f}", row.get("setting", ""))
        for name, row in compared.items()
    ]
    rows(columns, figures)
    for row in found.get("growth", []):
        print(", ".join(f"{key} {value if isinstance(value, str) else round(value)}" for key, value in row.items()))
    for name, problem in found["failed"].items():
        print(f"failed, {name}: {problem}")


def accuracies(runs: pathlib.Path):
    """Of the untrained backbone and the last checkpoint, in each file of results."""
    for path in sorted(runs.glob("*/eval/*.jsonl")):
        records = [json.loads(line) for line in path.read_text().splitlines()]
        for record in [record for record in (records[0], records[-1]) if "accuracy" in record]:
            yield f"{path.parts[-3]} {path.stem}", str(record.get("step", "")), f"{100 * record['accuracy']:.2f}%"


def rows(columns: tuple[str, ...], values: list[tuple[str, ...]]) -> None:
    if values:
        widths = [max(map(len, column)) for column in zip(columns, *values, strict=True)]
        print()
        for row in (columns, *values):
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
