"""The examples of the pages about extending run as they stand: files are written, commands and Python run, in order."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PAGES = ROOT / "docs" / "extending"
_BLOCK = re.compile(r'^```(python|bash)(?: title="(\S+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


def blocks(page):
    """The language, the file's name or "", and the code of each block with a language."""
    return _BLOCK.findall(page.read_text())


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ["method", "data_set", "backbone", "protocol"])
def test_the_examples_of_a_page_run(name, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XLA_FLAGS": ""}
    environment["PATH"] = f"{pathlib.Path(sys.executable).parent}:{environment['PATH']}"
    ran = 0
    for language, file, code in blocks(PAGES / f"{name}.md"):
        if file:
            (tmp_path / file).write_text(code)
            continue
        command = [sys.executable, "-c", code] if language == "python" else ["bash", "-euc", code]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"
        ran += 1
    assert ran


def test_every_example_of_the_pages_is_one_that_runs():
    """A block that the pattern misses, by an indent or another language, would not be run."""
    for page in PAGES.glob("*.md"):
        fences = [line for line in page.read_text().splitlines() if line.lstrip().startswith("```")]
        assert len(fences) % 2 == 0
        opened = [line for line in fences[::2] if line != "```"]
        assert len(opened) == len(blocks(page)), page
