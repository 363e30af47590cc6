"""The settings of the damage matrix's runs, and the command lines of its programs."""

import pathlib
from typing import Any

TINY = {"width": 4, "d_hid": 32, "batch_size": 64, "train_split": "train[:256]", "native": "off"}
OFTEN = {"epochs": 3, "checkpoint_every": 1, "log_every": 1, "monitor_every": 1}
PROBE = {"train_split": "train[:100]", "test_split": "test[:100]", "native": "off", "probe.epochs": 1}


def _keys(settings: dict[str, Any]) -> list[str]:
    return [f"--config.{key}={value}" for key, value in settings.items()]


def command(name: str, world: pathlib.Path) -> list[str] | None:
    """Returns the module and the arguments of a program; None if it has no command."""
    part, whole, data = f"--workdir={world / 'part'}", f"--workdir={world / 'whole'}", str(world / "data")
    commands = {
        "main": ["main", "--config=digits:simsiam", part, *_keys({**TINY, **OFTEN, "data_dir": data})],
        "linear_eval": ["linear_eval", whole, *_keys(PROBE)],
        "report": ["report", whole],
        "runs show": ["runs", "show", str(world / "whole")],
        "export": ["export", whole, f"--out={world / 'out.safetensors'}", "--part=method"],
        "embed": ["embed", whole, "--dataset=digits", f"--data_dir={data}", f"--out={world / 'out.npz'}"],
    }
    return commands.get(name)
