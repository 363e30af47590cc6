"""What --out may be, checked before anything slow is imported."""

import contextlib
import importlib.util
import pathlib
from collections.abc import Iterator

from sidae_jax.errors import UserError
from sidae_jax.files import FULL, disk_trouble

FILES = ("model.safetensors", "config.json", "README.md")  # in a folder for the Hugging Face hub


def check_file(out: pathlib.Path, given: str, endings: tuple[str, ...], example: str, overwrite: bool) -> None:
    """Raises UserError unless a file with one of these endings can be written at `out`, which was given as `given`."""
    if out.suffix not in endings:
        raise UserError(
            f"--out={given} does not end in {' or '.join(endings)}: give a name such as {example}{endings[0]}"
        )
    _check_parent(out, given)
    if out.is_dir():
        raise UserError(f"--out={given} is a folder: give a file, such as {given}/{example}{out.suffix}")
    if out.exists() and not overwrite:
        raise UserError(f"--out={given} is already there: give another name, or --overwrite to replace it")


def check_folder(out: pathlib.Path, given: str, overwrite: bool) -> None:
    """Raises UserError unless FILES can be written into a folder, new or there, without losing anything."""
    _check_parent(out, given)
    if out.exists() and not out.is_dir():
        raise UserError(
            f"--out={given} is a file that does not end in .safetensors or .onnx: give one that does, or a folder"
        )
    of_seeds = any(out.glob("seed[0-9]*/config.json"))
    if (out / "checkpoints").is_dir() or of_seeds:  # whose config.json would be lost, or none may lie there
        raise UserError(f"--out={given} is the folder of a run: give another one")
    if out.is_dir() and any(out.iterdir()) and not overwrite:
        raise UserError(
            f"--out={given} is a folder that is not empty: give another name, or --overwrite to replace "
            f"{', '.join(FILES)} in it"
        )


def require(package: str, extra: str, given: str) -> None:
    """Raises UserError if a package is missing that --out needs."""
    if importlib.util.find_spec(package) is None:
        raise UserError(
            f"--out={given} needs the package {package}, which is not installed: pip install 'sidae-jax[{extra}]', or "
            f"pip install {package}"
        )


@contextlib.contextmanager
def write_errors(out: pathlib.Path) -> Iterator[None]:
    """Raises DiskTrouble for an OSError of a full disk, and UserError for another one."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise disk_trouble(f"--out={out}", error.errno, "give the same command again") from error
        raise UserError(
            f"--out={out} cannot be written ({error.strerror}): give a file in a folder that is there and is yours"
        ) from error


def _check_parent(out: pathlib.Path, given: str) -> None:
    if not out.parent.is_dir():
        raise UserError(f"--out={given} is in no folder that is there: make {out.parent}, or give another --out")
