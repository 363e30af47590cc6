"""The report's pages: their width, what the program writes, and what it answers where there is nothing."""

import dataclasses
import html
import re
import shutil

import pytest
from report_files import run_report, summary, write_config, write_sweep

from sidae_jax.report import left_out, pages, tables


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_sweep(tmp_path_factory.mktemp("runs"))


def test_a_table_fits_a_page_of_1200_pixels():
    """Adds up the widest parts that a browser cannot break; the style lets it break long words anywhere."""
    long = {"dataset": "fashion_mnist", "task_evaluated_on": "fashion_mnist", "task_n_train": 60_000}
    long |= {"label": "fashion_mnist-sidae-w0.125-zero_init_residualTrue-train_splitunlabelled10240"}
    runs = [summary(63.0, seeds=5, error=1.0, epoch=175.0, **long, images="train[:10240]")]
    runs.append(dataclasses.replace(runs[0], step=0, epoch=0.0))
    runs += [summary(1.0, **long | {"label": "x" * 200}, settings=("zero_init_residual = True", f"stem = {'y' * 40}"))]
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
    assert "holds no run: give a folder with runs, each of which has a config.json" in ended.stderr
    assert not list(tmp_path.iterdir())
    write_config(tmp_path / "dae" / "seed0", "dae")
    ended = run_report(f"--workdir={tmp_path}")
    assert "holds no results: evaluate its runs with sidae_jax.linear_eval first" in ended.stderr


def test_what_is_left_out_is_named_in_the_report(folder, tmp_path):
    """Also a run without its config.json, as a copy without checkpoints may be; the page has no path of the machine."""
    shutil.copytree(folder, tmp_path / "runs")
    (tmp_path / "runs" / "cifar10-simsiam" / "seed1" / "config.json").unlink()
    (tmp_path / "runs" / "cifar10-simsiam" / "seed1" / "metrics.jsonl").unlink()  # its results alone are there
    with (tmp_path / "runs" / "cifar10-sidae-w0.5" / "seed0" / "metrics.jsonl").open("a") as file:
        file.write("{\n")
    (tmp_path / "runs" / "cifar10-sidae-w0.5" / "seed1" / "metrics.jsonl").write_text("")
    (tmp_path / "runs" / "cifar10-sidae-w0.5" / "seed2" / "metrics.jsonl").unlink()
    ended = run_report(f"--workdir={tmp_path / 'runs'}")
    assert ended.returncode == 0, ended.stderr
    text = (tmp_path / "runs" / "report" / "report.md").read_text()
    left_out = text.partition("\n## Left out of this report\n\n")[2].splitlines()
    assert left_out[0] == "* cifar10-simsiam/seed1/config.json is missing; the run is skipped"
    assert left_out[1].startswith("* Line 4 of cifar10-sidae-w0.5/seed0/metrics.jsonl is corrupt and skipped: ")
    assert left_out[2:] == [
        f"* cifar10-sidae-w0.5/seed{seed}/metrics.jsonl is missing or empty; the training curves are without the run"
        for seed in (1, 2)
    ]
    quiet = run_report(f"--workdir={tmp_path / 'runs'}", f"--out={tmp_path / 'quiet'}", "--verbosity=-2")
    assert "skipped" not in quiet.stderr
    assert (tmp_path / "quiet" / "report.md").read_text() == text
    page = (tmp_path / "runs" / "report" / "report.html").read_text()
    assert "<li>cifar10-simsiam/seed1/config.json is missing; the run is skipped</li>" in page
    assert str(tmp_path) not in page


def test_of_very_many_messages_the_first_hundred_are_shown(tmp_path):
    with left_out.noted() as messages:
        for number in range(150):
            left_out.warn("%s/run%d is corrupt", tmp_path, number)
            left_out.warn("%s/run%d is corrupt", tmp_path, number)
    left_out.warn("after it")
    shown = [*(f"run{number} is corrupt" for number in range(100)), "... and 50 more"]
    assert left_out.shown(messages, tmp_path) == shown
