"""The report's tables of accuracies: ours beside those of the papers, which are checked number by number."""

import re

import pytest
from report_files import TITLE, summary, write_sweep

from sidae_jax.report import pages, published, summaries, tables
from sidae_jax.report.run_index import find_runs


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_sweep(tmp_path_factory.mktemp("runs"))


def by_name(table):
    return {row.pretraining: row for row in table.rows if row.dataset != "stl10"}


def test_the_table_has_ours_beside_the_published_and_empty_cells_for_what_was_not_run(folder):
    (table,) = tables.accuracy_tables(summaries.summarize(summaries.read(find_runs(folder))))
    assert table.title == TITLE
    on_cifar10 = [row for row in table.rows if row.dataset == "cifar10"]  # others: published pre-training on STL-10
    rows = {row.pretraining: row for row in on_cifar10}
    assert len(rows) == len(on_cifar10) == len(table.rows) - (3 + 5)
    ours = rows["cifar10-sidae-w0.5"]
    assert (ours.accuracy, ours.seeds, ours.epochs) == ("63.00 (2.08)", "3", "2 of 200")
    assert (ours.published, ours.untrained_accuracy) == ("64.75 (0.27) [1] / 64.75 (0.27) [1]", "20.00 (0.00)")
    assert rows["cifar10-sidae-w0.25"].accuracy == "50.00"
    assert rows["cifar10-sidae-w0.25"].published == "66.14 (0.18) [1]"
    assert table.notes[0] == tables.SCALE_NOTE
    assert rows["cifar10-simsiam"].source == "paper, Table 1"
    assert (rows["dae"].accuracy, rows["dae"].published) == ("", "57.44 (0.31)")
    assert (rows["sidae, w = 0.125"].accuracy, rows["sidae, w = 0.125"].published) == ("", "66.20 (0.31)")
    text = pages.markdown_table(table)
    assert text.splitlines()[4].startswith(
        r"| cifar10-sidae-w0.25 | cifar10 | train\[:64\] | 2 of 200 | 512 | w = 0.25 | 1 | 50.00 | 20.00 |"
    )
    assert {line.count("|") for line in text.splitlines()[2 : 4 + len(table.rows)]} == {12}


def test_a_run_of_the_published_settings_alone_has_the_published_figure():
    whole = {"method": "dae", "w": None}
    runs = [
        summary(label="a", **whole),
        summary(label="b", **whole, d_hid=512),
        summary(label="c", **whole),
        summary(label="lr", **whole, settings=("lr = 1",)),
        summary(label="short", **whole, epochs=100, epoch=100.0),
        summary(label="begun", **whole, epoch=100.0),
        summary(label="few", **whole, images="train[:10240]"),
        summary(label="small", **whole, batch_size=256),
        summary(label="thin", **whole, width=16, d_hid=512),
        summary(label="wide d", **whole, width=16),
    ]
    (table,) = tables.accuracy_tables(runs)
    rows = by_name(table)
    figures = {
        name: rows[name].published for name in ("a", "b", "c", "lr", "short", "begun", "few", "small", "thin", "wide d")
    }
    exact, scaled = "57.44 (0.31)", "57.44 (0.31) [1]"
    assert figures == {
        "a": exact,
        "b": "",
        "c": exact,
        "lr": "",
        "wide d": "",
        **dict.fromkeys(("short", "begun"), scaled),
    } | {**dict.fromkeys(("few", "small", "thin"), scaled)}
    assert table.notes[0] == tables.SCALE_NOTE
    assert "dae" not in rows  # no row of its own beside
    assert (rows["b"].other_settings, rows["lr"].other_settings) == ("d_hid = 512", "lr = 1")
    assert (rows["short"].epochs, rows["begun"].epochs) == ("100", "100 of 200")
    (table,) = tables.accuracy_tables([runs[3]])
    assert by_name(table)["dae"].published == exact  # beside no run: a row of its own
    (table,) = tables.accuracy_tables([summary(label="a", **whole, task_n_test=5000)])
    assert by_name(table)["a"].published == scaled


def test_the_notes_of_sources_and_of_the_papers_own_contradictions():
    report = {"d_hid": 128, "w": None, "method": "ae", "epochs": 150, "batch_size": 256, "epoch": 150.0}
    supervised = report | {"method": "supervised", "d_hid": None}
    for changes, figure in ((supervised | {"task_protocol": "online"}, "83.20"), (report, "55.60")):
        (table,) = tables.accuracy_tables([summary(**{"task_protocol": "mlp", **changes})])
        assert by_name(table)["a"].published == f"{figure} [1]"
        for part in ("two-layer MLP on frozen", "released code", "measures only the classifier trained on the way"):
            assert part in table.notes[0]
        assert re.search(r"see '(What differs .*)' in docs/experiments.md$", table.notes[0])
    assert f"\\[1\\] {table.notes[0]}" in pages.markdown_table(table)
    assert f"<p>[1] {table.notes[0].replace(chr(39), '&#x27;')}</p>" in pages.html_table(table)
    for d, figure in ((128, "55.60 [1] [2]"), (32, "")):  # its z has 128 dimensions at any width
        (table,) = tables.accuracy_tables([summary(**{"task_protocol": "mlp", **report, "width": 16, "d_hid": d})])
        assert by_name(table)["a"].published == figure
    fashion = {"dataset": "fashion_mnist", "task_evaluated_on": "fashion_mnist", "task_n_train": 60_000}
    (table,) = tables.accuracy_tables([summary(**fashion)])
    assert by_name(table)["a"].published == "88.78 (0.12) [1] / 88.63 (0.12)"
    assert "w = 0.75" in table.notes[0]


def test_the_untrained_backbone_fine_tuned_is_the_supervised_baseline():
    changes = {"step": 0, "epoch": 0.0, "settings": ("lr = 1", "stem = cifar"), "task_protocol": "finetune"}
    runs = [summary(98.5, seeds=2, error=0.5, **changes), summary(90.0, dataset="stl10", **changes)]
    (table,) = tables.accuracy_tables(runs)
    for row, dataset, ours in zip(table.rows, ("cifar10", "stl10"), ("98.50 (0.50)", "90.00"), strict=True):
        # whose normalization it has
        assert (row.pretraining, row.dataset) == ("supervised, from scratch", dataset)
        assert (row.accuracy, row.images) == (ours, "")
        assert row.other_settings == "stem = cifar"  # the learning rate was the pre-training's


TABLE_1 = """
cifar10 1.0        64.75 (0.27) 57.08 (3.16) 57.44 (0.31)
cifar10 0.01       51.67 (0.28) 44.06 (3.74) 40.67 (0.25)
fashion_mnist 1.0  88.78 (0.12) 85.10 (0.09) 87.67 (0.05)
fashion_mnist 0.01 81.62 (0.22) 77.84 (0.19) 80.20 (0.31)
mnist 1.0          97.80 (0.13) 96.59 (0.60) 97.23 (0.11)
mnist 0.01         94.65 (0.49) 79.42 (5.15) 88.41 (0.46)
stl10 stl10        61.18 (0.22) 56.74 (0.74) 48.39 (0.22)
stl10 cifar10      66.20 (0.31) 56.64 (0.25) 57.08 (3.16)
"""
APPENDIX = """
cifar10 1.0        66.20 (0.31) 66.14 (0.18) 64.75 (0.27) 63.07 (0.25) 61.47 (0.23)
cifar10 0.01       55.61 (0.37) 55.34 (0.29) 51.67 (0.28) 49.21 (0.38) 47.18 (0.41)
fashion_mnist 1.0  87.31 (0.09) 87.89 (0.09) 88.63 (0.12) 88.78 (0.12) 88.71 (0.10)
fashion_mnist 0.01 81.49 (0.21) 81.78 (0.27) 81.90 (0.16) 81.62 (0.22) 80.47 (0.29)
mnist 1.0          97.78 (0.04) 97.70 (0.05) 97.80 (0.06) 97.98 (0.08) 98.10 (0.05)
mnist 0.01         94.91 (0.20) 94.90 (0.18) 94.65 (0.22) 93.11 (0.13) 92.00 (0.25)
stl10 stl10        60.07 (0.18) 61.18 (0.22) 60.44 (0.21) 56.92 (0.20) 53.77 (0.19)
stl10 cifar10      64.12 (0.40) 65.42 (0.16) 65.18 (0.19) 63.33 (0.15) 61.59 (0.20)
"""


def of_the_paper(source, table, columns):
    """Yields the cells of a table of the paper; its second column is a label fraction or the evaluated data set."""
    for line in table.strip().splitlines():
        dataset, second, *cells = line.split()
        on, fraction = (dataset, float(second)) if second[0] in "01" else (second, 1.0)
        for (method, w), accuracy, error in zip(columns, cells[::2], cells[1::2], strict=True):
            if (dataset, method, w) == ("stl10", "sidae", 0.5) and source == "paper, Table 1":
                w = 0.25  # the paper, 4.2
            yield source, dataset, method, w, on, fraction, float(accuracy), float(error.strip("()"))


def test_the_published_figures_are_those_of_the_papers():
    """Number by number, from the papers' tables."""
    methods = (("sidae", 0.5), ("simsiam", None), ("dae", None))
    weights = [("sidae", w) for w in (0.125, 0.25, 0.5, 0.75, 0.875)]
    wanted = [*of_the_paper("paper, Table 1", TABLE_1, methods)]
    wanted += of_the_paper("paper, Appendix A, Table 1", APPENDIX, weights)
    report = {"mnist": (98.3, 97.8, 98.5, 99.5), "cifar10": (55.6, 54.5, 81.9, 83.2)}
    for on, row in report.items():
        for method, accuracy in zip(("ae", "vae", "simclr", "supervised"), row, strict=True):
            wanted.append(("report, Table 1", on, method, None, on, 1.0, accuracy, None))
    rows = published.published_accuracies()
    found = [row[:4] + row[5:9] for row in rows]
    assert sorted(map(str, found)) == sorted(map(str, wanted))
    for row in rows:  # the report's supervised network is measured by its own classifier
        of_report = "online" if row.method == "supervised" else "mlp"
        assert row.protocol == (of_report if row.source.startswith("report") else "linear")
