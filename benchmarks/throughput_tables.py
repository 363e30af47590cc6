"""What `throughput.py` found, for people."""

import sys

import rich.console
import rich.table

PARTS = ("step", "pipeline", "evaluate")
_REMARKS = {
    "step": "ours {precision}, PyTorch {setting}; peak {ours_peak_mb:.0f}, {theirs_peak_mb:.0f} MB",
    "pipeline": "{workers} data workers",
    "evaluate": "{images} images, {epochs} epochs",
}


def print_tables(found: dict) -> None:
    """Keys of `found` are parts; with several precisions, a part and a precision."""
    # a log has no width of its own, and at rich's 80 columns the settings' names would be cut
    width = None if sys.stdout.isatty() else 160
    console = rich.console.Console(soft_wrap=True, highlight=False, width=width)
    for gpu in found["machine"]["gpus"]:
        console.print(f"GPU: {gpu}")
    if not found["machine"]["gpus"]:
        machine = found["machine"]
        console.print(f"CPU: {machine['processor']}, {machine['cpus']} cores, {' '.join(machine['instructions'])}")
        for name in [name for name in found if name.startswith("onednn")]:
            console.print(f"ours{_of(name)}: convolutions by {'oneDNN' if found[name] else 'XLA'}")
    for name in [name for name in found if name.startswith("our_precisions")]:
        speeds = ", ".join(f"{precision} {speed:.0f}" for precision, speed in found[name].items())
        console.print(f"ours, images/s of a few steps: {speeds}")
    for name in [name for name in found if name.startswith("pytorch_settings")]:
        speeds = ", ".join(f"{setting} {speed:.0f}" for setting, speed in found[name].items())
        console.print(f"PyTorch's settings{_of(name)}, best images/s of a few steps: {speeds}")
    for name in [name for name in found if name.startswith("pytorch_failed")]:
        for setting, problem in found[name].items():
            console.print(f"PyTorch's setting {setting} failed: {problem}", markup=False)
    table = rich.table.Table(caption=_caption(found))
    for column in ("part", "ours images/s", "PyTorch images/s", "ratio (median)", "quartiles", "remarks"):
        table.add_column(column)
    for name in [name for name in found if name.split()[0] in PARTS]:
        row = found[name]
        low, high = row["ratio_quartiles"]
        speeds = f"{row['ours']:.1f}", f"{row['theirs']:.1f}"
        remark = _REMARKS[name.split()[0]].format_map(row)
        table.add_row(name, *speeds, f"{row['ratio']:.2f}", f"{low:.2f}-{high:.2f}", remark)
    if table.rows:
        console.print(table)
    for name, seconds in found.get("start", {}).items():
        console.print(f"first step done after, {name}: {seconds:.1f} s")
    for row in found.get("growth", []):
        values = (f"{key} {value if isinstance(value, str) else f'{value:.0f}'}" for key, value in row.items())
        console.print(", ".join(values), markup=False)
    for name, problem in found["failed"].items():
        console.print(f"failed, {name}: {problem}", markup=False)


def _of(name):
    precision = name.partition(" ")[2]
    return f" for {precision}" if precision else ""


def _caption(found):
    """Says what is compared with what."""
    return (
        "Both sides of a row have the same precision (float32: TF32 off; bfloat16: PyTorch's autocast), but for "
        "fastest, where each has the one in which it is fastest. PyTorch has its fastest setting, named in the remarks."
    )
