"""The documentation names files that are there, and its links lead somewhere, on GitHub and on the site."""

import pathlib
import re
import urllib.parse

import pytest

ROOT = pathlib.Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), ROOT / "tests" / "README.md", ROOT / "native" / "README.md"])
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def test_the_python_files_that_the_documentation_names_are_there():
    pages = [page.read_text() for page in PAGES]
    examples = {name for page in pages for name in re.findall(r'^```python title="(\S+)"$', page, re.MULTILINE)}
    named = {name for page in pages for name in re.findall(r"[\w/]+\.py\b", page)} - {"FILE.py"} - examples
    there = [
        str(p.relative_to(ROOT))
        for top in ("benchmarks", "configs", "docs", "native", "sidae_jax", "tests")
        for p in (ROOT / top).rglob("*.py")
    ]
    assert len(named) > 40
    for name in named:
        assert any(f"/{path}".endswith(f"/{name}") for path in there), name


def text(page):
    """A page without its blocks of code."""
    return _FENCED.sub("", page.read_text())


def anchors(page):
    """The anchors that GitHub and MkDocs give the headings, which are the same for headings of these characters."""
    found = set()
    for heading in re.findall(r"^#+ (.*)$", text(page), re.MULTILINE):
        plain = re.sub(r"[*`]|\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        assert not re.search(r" [^\w(] |--", plain), f"{page}: GitHub and MkDocs make other anchors of {heading!r}"
        found.add(re.sub(r"[^\w -]", "", plain).strip().lower().replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_links_of_a_page_lead_somewhere(page):
    for link in _LINK.findall(text(page)):
        path, _, anchor = urllib.parse.unquote(link).partition("#")
        if re.match(r"https?:", link):
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        inside = DOCS in target.parents
        assert inside or DOCS not in page.parents, f"{link} leads out of docs/, which the site does not hold"
        if anchor:
            assert anchor in anchors(target), link


def test_the_links_of_the_pages_are_found():
    links = {link for page in PAGES for link in _LINK.findall(text(page))}
    assert {"docs/pictures/report.png", "export.md#in-pytorch", "figures/07.svg"} <= links


def test_no_figure_is_kept_twice():
    """A report's HTML page has all its figures again, beside those that report.md links to."""
    assert not list(DOCS.rglob("report.html"))
    for folder in (DOCS / "results").iterdir():
        if folder.is_dir():
            linked = set(_LINK.findall((folder / "report.md").read_text()))
            assert linked == {f"figures/{path.name}" for path in (folder / "figures").iterdir()}
