"""native/setup.py on platforms for which oneDNN is not packaged."""

import pathlib
import subprocess
import sys

import pytest

SETUP = pathlib.Path(__file__).parents[1] / "native" / "setup.py"


@pytest.mark.parametrize(("system", "machine"), [("linux", "aarch64"), ("darwin", "arm64"), ("win32", "AMD64")])
def test_other_platforms_are_refused_in_a_sentence(system, machine):
    program = f"import platform, runpy, sys; sys.platform = {system!r}; platform.machine = lambda: {machine!r}; "
    program += f"runpy.run_path({str(SETUP)!r})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    wanted = "sidae-jax-native needs Linux on x86-64, for which oneDNN is packaged; sidae_jax works without it\n"
    assert done.stderr == wanted
