"""docs/results/reliability.json, and the tables of docs/reliability.md that are made of it."""

import datetime
import importlib.metadata
import json
import pathlib
import platform

from reliability.parts import NAMES, part

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_COUNTS = _ROOT / "docs" / "results" / "reliability.json"
_PAGE = _ROOT / "docs" / "reliability.md"
_MARK = "<!-- what follows is written by python -m tests.reliability --full -->\n"


def keep(name: str, command: str, seconds: float, counts: dict[tuple[str, str, bool], int]) -> None:
    """Puts the counts of a part in place of its earlier ones, and writes the page anew."""
    kept = json.loads(_COUNTS.read_text()) if _COUNTS.exists() else {}
    versions = {package: importlib.metadata.version(package) for package in ("sidae_jax", "jax", "orbax-checkpoint")}
    kept[name] = {
        "command": command,
        "date": datetime.date.today().isoformat(),
        "seconds": round(seconds),
        "versions": {**versions, "python": platform.python_version()},
        "counts": [{"what": w, "outcome": o, "ok": ok, "cases": number} for (w, o, ok), number in counts.items()],
    }
    _COUNTS.write_text(json.dumps({name: kept[name] for name in NAMES if name in kept}, indent=1) + "\n")
    text = _PAGE.read_text().partition(_MARK)[0]
    _PAGE.write_text(text + _MARK + "".join(_section(name, kept[name]) for name in NAMES if name in kept))


def _time(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 90 else f"{seconds / 60:.0f} minutes"


def _section(name: str, kept: dict) -> str:
    module, counts = part(name), kept["counts"]
    wrong = sum(row["cases"] for row in counts if not row["ok"])
    rows = "".join(
        f"| {row['what']} | {row['outcome']}{'' if row['ok'] else ' (**not ok**)'} | {row['cases']} |\n"
        for row in counts
    )
    versions = ", ".join(f"{package} {version}" for package, version in kept["versions"].items())
    return (
        f"\n## {module.TITLE}\n\n{module.TEXT.strip()}\n\n```bash\n{kept['command']}\n```\n\n"
        f"{sum(row['cases'] for row in counts)} cases, {wrong} of them not as promised; "
        f"{_time(kept['seconds'])}, {kept['date']}, {versions}."
        f"\n\n| what happens | what comes of it | cases |\n|---|---|---|\n{rows}"
    )
