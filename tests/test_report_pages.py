"""The report's pages: their width, what the program writes, and what it answers where there is nothing."""

import dataclasses
import html
import re

import pytest
from report_files import run_report, summary, write_sweep

from sidae_jax.report import pages, tables


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_sweep(tmp_path_factory.mktemp("runs"))


def test_a_table_fits_a_page_of_1200_pixels():
    """Adds up the widest parts that a browser cannot break; the style lets it break long words anywhere."""
    long = {"dataset": "fashion_mnist", "task_evaluated_on": "fashion_mnist", "task_n_train": 60_000}
    long |= {"label": "fashion_mnist-sidae-w0.125-zero_init_residualTrue-train_splitunlabelled10240"}
    runs = [summary(63.0, seeds=5, error=1.0, epoch=175.0, **long, images="train[:10240]")]
    runs.append(dataclasses.replace(runs[0], step=0, epoch=0.0))
    runs += [summary(1.0, **long | {"label": "x" * 200}, settings=f"zero_init_residual = True, stem = {'y' * 40}")]
    (table,) = tables.accuracy_tables(runs)
    rows = re.findall(r"<tr>(.*?)</tr>", pages.html_table(table), re.DOTALL)
    widest = [0] * len(tables.HEADER)
    for row in rows:
        cells = re.findall(r'<t[dh](?: class="(\w+)")?>(.*?)</t[dh]>', row)
        assert len(cells) == len(widest) == 11
        for column, (kind, cell) in enumerate(cells):
            words = {"short": [cell], "long": [""], "": re.split(r"(?<=-)|[ /\t]", cell)}[kind]
            widest[column] = max(widest[column], *(len(html.unescape(word)) for word in words))
    # a wide sans serif's letters have 0.6 of the height of 12.8 pixels, a cell 12.8 pixels beside; 48 of the page's
    assert sum(widest) * 0.6 * 12.8 + len(widest) * 12.8 <= 1200 - 48
    assert all(widest)


def test_the_program_writes_the_same_report_from_the_same_files(folder, tmp_path):
    for name in ("one", "two"):
        ended = run_report(f"--workdir={folder}", f"--out={tmp_path / name}")
        assert ended.returncode == 0, ended.stderr
    assert ended.stdout == f"1 tables and 7 figures of 18 results in {tmp_path}/two/report.html\n"
    names = [*(f"figures/{number:02d}.svg" for number in range(1, 8)), "report.html", "report.md"]
    for folder_of in ("one", "two"):
        files = sorted(p.relative_to(tmp_path / folder_of).as_posix() for p in (tmp_path / folder_of).rglob("*.*"))
        assert files == names

    def lines(folder_of, name):
        return (tmp_path / folder_of / name).read_bytes()

    for name in names:
        assert lines("one", name) == lines("two", name)
    page = (tmp_path / "one" / "report.html").read_text()
    assert page.count("<svg") == page.count("</svg>") == 7
    assert "src=" not in page
    assert set(re.findall(r'href="(.{5})', page)) <= {"data:"} | {f"#{c}" for c in re.findall(r'href="#(.{4})', page)}
    assert '<td class="short">63.00 (2.08)</td>' in page


def test_a_folder_without_results_is_reported(tmp_path):
    ended = run_report(f"--workdir={tmp_path}")  # without a --workdir: tests/test_default_workdir.py
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: ")
    assert "holds no results" in ended.stderr
    assert not list(tmp_path.iterdir())
