"""The documentation names files that are there."""

import pathlib
import re

ROOT = pathlib.Path(__file__).parent.parent


def test_the_python_files_that_the_documentation_names_are_there():
    pages = [*(ROOT / folder / "README.md" for folder in ("", "tests", "native")), *(ROOT / "docs").glob("*.md")]
    named = {name for page in pages for name in re.findall(r"[\w/]+\.py\b", page.read_text())} - {"FILE.py"}
    there = [
        str(p.relative_to(ROOT))
        for top in ("benchmarks", "configs", "native", "sidae_jax", "tests")
        for p in (ROOT / top).rglob("*.py")
    ]
    assert len(named) > 40
    for name in named:
        assert any(f"/{path}".endswith(f"/{name}") for path in there), name
