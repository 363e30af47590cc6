"""Checks the report against means and errors computed by hand and the papers' numbers, from result files alone."""

import base64
import dataclasses
import html
import io
import json
import pathlib
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree

import numpy as np
import pytest
from PIL import Image

from sidae_jax import cli
from sidae_jax.evaluation import picture_file
from sidae_jax.report import curves, image_figures, pages, published, reference, summaries, tables, training_curves
from sidae_jax.report.run_index import Pretraining, Run, find_runs
from sidae_jax.settings import METHOD_SETTINGS

ROOT = pathlib.Path(__file__).parent.parent
ACCURACIES = {  # of seeds 0, 1, 2 at steps 0, 20, 40
    ("sidae", 0.5): [[0.2, 0.4, 0.60], [0.2, 0.5, 0.62], [0.2, 0.6, 0.67]],
    ("sidae", 0.25): [[0.2, 0.3, 0.5]],
    ("simsiam", None): [[0.2, 0.3, 0.4], [0.3, 0.4, 0.5]],
}


def write_config(run, method, dataset="cifar10", **changes):
    """Writes a run's config.json: the data set's config file with the changes."""
    views = {key.partition(".")[2]: changes.pop(key) for key in list(changes) if key.startswith("views.")}
    config = cli.load_config(f"{ROOT}/configs/{dataset}.py:{method}", ()).to_dict() | changes
    run.mkdir(parents=True, exist_ok=True)
    content = {"config": config | {"views": config["views"] | views}, "data_sha256": "0", "versions": {}}
    (run / "config.json").write_text(json.dumps(content))


def write_results(run, accuracies, steps=(0, 20, 40), name="probe", **changes):
    """Writes one result per step, of the linear probe on CIFAR-10 except for the changes."""
    record = {"protocol": "linear", "dataset": "cifar10", "label_fraction": 1.0, "n_train": 50_000, "n_test": 10_000}
    (run / "eval").mkdir(exist_ok=True)
    lines = [
        json.dumps({**record, "step": step, "epoch": 200 * step / max(steps), "accuracy": accuracy, **changes})
        for step, accuracy in zip(steps, accuracies, strict=True)
    ]
    (run / "eval" / f"{name}.jsonl").write_text("\n".join(lines) + "\n")


def summary(mean=40.0, step=20, epoch=200.0, seeds=1, error=None, **changes):
    """Returns a summary of a linear probe on CIFAR-10 after SidAE, at the published settings but for the changes."""
    task = {"protocol": "linear", "evaluated_on": "cifar10", "label_fraction": 1.0, "settings": ""}
    task |= {"n_train": 50_000, "n_test": 10_000, "train_split": "train", "test_split": "test", "labeled_rows": ""}
    task |= {key.removeprefix("task_"): changes.pop(key) for key in list(changes) if key.startswith("task_")}
    run = {"label": "a", "dataset": "cifar10", "method": "sidae", "w": 0.5, "d_hid": 2048, "images": "train"}
    run |= {"epochs": 200, "batch_size": 512, "settings": ""} | changes
    measured = summaries.Measured(summaries.Task(**task), Pretraining(**run), step, epoch)
    return summaries.Summary(measured, seeds, mean, error)


def by_name(table):
    return {row.pretraining: row for row in table.rows if row.dataset != "stl10"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Returns a folder with what a sweep leaves, except for checkpoints."""
    folder = tmp_path_factory.mktemp("runs")
    for (method, w), seeds in ACCURACIES.items():
        for seed, accuracies in enumerate(seeds):
            run = folder / f"cifar10-{method}{'' if w is None else f'-w{w}'}" / f"seed{seed}"
            (run / "eval").mkdir(parents=True)
            write_config(run, method, seed=seed, train_split="train[:64]", **({} if w is None else {"w": w}))
            lines = [{"step": step, "epoch": step / 20, "loss": 1 / step, "feature_std": 0.9} for step in (10, 20, 40)]
            (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
            common = {"protocol": "linear", "dataset": "cifar10", "label_fraction": 1.0, "n_train": 50, "n_test": 30}
            path = run / "eval" / f"linear-cifar10-1-seed{seed}.jsonl"
            for step, accuracy in zip((0, 20, 40), accuracies, strict=True):
                with path.open("a") as file:
                    file.write(json.dumps({**common, "step": step, "epoch": step / 20, "accuracy": accuracy}) + "\n")
            picture_file.write(run / "eval" / picture_file.NAME, colored(0 if method == "simsiam" else 8))
    return folder


def color(kind, i):
    """Returns a color for each kind of picture and each image i, far from the others."""
    return np.array([60 * kind, 20 * i, 100 + 30 * (i % 2)])


def colored(reconstructed):
    """Returns pictures of one color each: kind 0 are images, 1 and 2 their views, 3 and 4 their reconstructions."""

    def pictures_of(kind, n=8):
        return np.array([np.full((32, 32, 3), color(kind, i)) for i in range(n)], np.uint8).reshape(n, 32, 32, 3)

    return picture_file.Pictures(
        epoch=2.0,
        images=pictures_of(0),
        views=np.stack([pictures_of(1), pictures_of(2)], 1),
        reconstructions=np.stack([pictures_of(3, reconstructed), pictures_of(4, reconstructed)], 1),
        tsne=np.stack([np.arange(30) % 3, np.arange(30)], 1).astype(np.float32),
        labels=(np.arange(30) % 3).astype(np.int32),
        class_names=np.array(["cat", "dog", "bird"]),
    )


TITLE = "linear probe on cifar10, 100% of the labels (50 images), 30 test images"


def test_means_and_standard_errors(folder):
    found = {
        (s.measured.pretraining.label, s.measured.step): s
        for s in summaries.summarize(summaries.read(find_runs(folder)))
    }
    assert len(found) == 9
    last = found["cifar10-sidae-w0.5", 40]
    assert (last.seeds, last.mean) == (3, pytest.approx(63))
    assert last.standard_error == pytest.approx(100 * np.std([0.6, 0.62, 0.67], ddof=1) / 3**0.5)
    assert found["cifar10-sidae-w0.25", 40].standard_error is None
    assert found["cifar10-simsiam", 0].mean == pytest.approx(25)


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
        summary(label="lr", **whole, settings="lr = 1"),
        summary(label="short", **whole, epochs=100, epoch=100.0),
        summary(label="begun", **whole, epoch=100.0),
        summary(label="few", **whole, images="train[:10240]"),
        summary(label="small", **whole, batch_size=256),
    ]
    (table,) = tables.accuracy_tables(runs)
    rows = by_name(table)
    figures = {name: rows[name].published for name in ("a", "b", "c", "lr", "short", "begun", "few", "small")}
    exact, scaled = "57.44 (0.31)", "57.44 (0.31) [1]"
    assert figures == {"a": exact, "b": "", "c": exact, "lr": "", **dict.fromkeys(("short", "begun"), scaled)} | {
        **dict.fromkeys(("few", "small"), scaled)
    }
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
        assert table.notes[0].endswith("see 'What differs from the report's code' in docs/experiments.md")
    assert f"\\[1\\] {table.notes[0]}" in pages.markdown_table(table)
    assert f"<p>[1] {table.notes[0].replace(chr(39), '&#x27;')}</p>" in pages.html_table(table)
    fashion = {"dataset": "fashion_mnist", "task_evaluated_on": "fashion_mnist", "task_n_train": 60_000}
    (table,) = tables.accuracy_tables([summary(**fashion)])
    assert by_name(table)["a"].published == "88.78 (0.12) [1] / 88.63 (0.12)"
    assert "w = 0.75" in table.notes[0]


@pytest.mark.parametrize("dataset", ["cifar10", "mnist", "fashion_mnist", "stl10"])
def test_the_reference_is_the_config_file(dataset, tmp_path):
    for method in METHOD_SETTINGS:
        write_config(tmp_path / method, method, dataset)
        (run,) = find_runs(tmp_path / method)
        of_file = json.loads((tmp_path / method / "config.json").read_text())["config"]
        settings = reference.published_settings(method, dataset)
        assert run.pretraining.settings == tables.settings_of(run.pretraining) == ""
        for key in ("w", "d_hid", "train_split", "epochs", "batch_size"):
            assert settings.get(key) == of_file.get(key)


def test_other_settings_are_named(tmp_path):
    changes = {"lr": 1.0, "stem": "cifar", "views.hue": 0.3, "views.crop_scale": [0.08, 1.0], "data_dir": "/x"}
    write_config(tmp_path, "sidae", **changes, log_every=3, w=0.25, seed=4)
    (run,) = find_runs(tmp_path)
    assert run.pretraining.settings == "lr = 1, stem = cifar, crop_scale = [0.08, 1.0], hue = 0.3"
    assert tables.settings_of(run.pretraining) == f"w = 0.25, {run.pretraining.settings}"
    config = json.loads((tmp_path / "config.json").read_text())
    del config["config"]["momentum"]  # unlike that of a run of this program
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert "momentum = missing" in find_runs(tmp_path)[0].pretraining.settings


def test_several_probes_of_one_pretraining_count_as_one(tmp_path):
    accuracies = {0: [0.60, 0.62], 1: [0.70, 0.70, 0.73], 2: [0.5]}
    for seed, of_seed in accuracies.items():
        write_config(tmp_path / f"seed{seed}", "sidae", seed=seed)
        for number, accuracy in enumerate(of_seed):
            write_results(tmp_path / f"seed{seed}", [accuracy], [40], f"probe{number}", seed=number)

    def last():
        (found,) = summaries.summarize(summaries.read(find_runs(tmp_path)))
        return found.seeds, found.mean, found.standard_error

    means = [61.0, 71.0, 50.0]
    assert last() == (3, pytest.approx(np.mean(means)), pytest.approx(np.std(means, ddof=1) / 3**0.5))
    for seed in (1, 2):
        (tmp_path / f"seed{seed}" / "config.json").unlink()
    assert last() == (1, pytest.approx(61), None)  # two probes, one pre-training: no standard error


def test_seeds_of_other_settings_are_no_seeds_of_the_same_run(tmp_path):
    for seed, lr in ((0, 0.03), (1, 0.03), (2, 0.3)):
        write_config(tmp_path / f"seed{seed}", "sidae", seed=seed, lr=lr)
        write_results(tmp_path / f"seed{seed}", [0.2, 0.4, 0.6])
    (table,) = tables.accuracy_tables(summaries.summarize(summaries.read(find_runs(tmp_path))))
    found = {row.other_settings: row for row in table.rows if row.pretraining == tmp_path.name}
    assert {settings: row.seeds for settings, row in found.items()} == {"": "2", "lr = 0.3": "1"}
    assert (found[""].published != "", found["lr = 0.3"].published) == (True, "")
    (svg,) = curves.accuracy_by_epoch(summaries.summarize(summaries.read(find_runs(tmp_path)))).values()
    assert {tmp_path.name, f"{tmp_path.name}; lr = 0.3"} <= set(texts(svg))


def test_of_two_folders_with_the_same_name_and_seed_the_first_counts(tmp_path, caplog):
    for run, accuracy in ((tmp_path / "a", 0.5), (tmp_path / "a" / "seed0", 0.9), (tmp_path / "a" / "seed1", 0.7)):
        write_config(run, "sidae", seed=int(run.name == "seed1"))
        write_results(run, [accuracy], [40])
    (found,) = summaries.summarize(summaries.read(find_runs(tmp_path)))
    assert (found.seeds, found.mean) == (2, pytest.approx(60))
    assert f"{tmp_path}/a/seed0 has the same name, seed and settings as {tmp_path}/a and is skipped" in caplog.text
    assert caplog.text.count("skipped") == 1


def test_features_of_the_projector_are_kept_apart(tmp_path):
    write_config(tmp_path, "sidae")
    write_results(tmp_path, [0.5], [40], "a")
    write_results(tmp_path, [0.6], [40], "b", features="backbone")
    write_results(tmp_path, [0.9], [40], "c", features="projector")
    found = {s.measured.task.settings: s.mean for s in summaries.summarize(summaries.read(find_runs(tmp_path)))}
    assert found == {"": pytest.approx(55), "features = projector": pytest.approx(90)}


def test_results_of_other_splits_or_labeled_rows_are_kept_apart(tmp_path):
    write_config(tmp_path, "dae")
    whole = {"train_split": "train", "test_split": "test", "labeled_rows_sha256": "a" * 64}
    write_results(tmp_path, [0.5], [40], "before")  # without these keys
    write_results(tmp_path, [0.6], [40], "whole", **whole)
    write_results(tmp_path, [0.9], [40], "seen", **whole | {"test_split": "train[:10000]"})
    write_results(tmp_path, [0.4], [40], "last", **whole | {"train_split": "train[-50000:]"})

    def found():
        made = tables.accuracy_tables(summaries.summarize(summaries.read(find_runs(tmp_path))))
        first = {table.title: table.rows[0] for table in made}
        return {title: (row.accuracy, row.published) for title, row in first.items()}

    start = "linear probe on cifar10, 100% of the labels"
    exact, scaled = "57.44 (0.31)", "57.44 (0.31) [1]"
    others = {
        f"{start} (50000 images), 10000 test images of train[:10000]": ("90.00", scaled),
        f"{start} (50000 images of train[-50000:]), 10000 test images": ("40.00", scaled),
    }
    assert found() == others | {PLAIN: ("55.00", exact)}
    write_results(tmp_path, [0.2], [40], "rows", **whole | {"labeled_rows_sha256": "b" * 64})
    rows = {f"{start}, labeled rows {12 * c} (50000 images), 10000 test images": c for c in "ab"}
    ours = {"a": ("60.00", exact), "b": ("20.00", exact)}
    assert found() == others | {PLAIN: ("50.00", exact)} | {title: ours[c] for title, c in rows.items()}


def test_the_untrained_backbone_fine_tuned_is_the_supervised_baseline():
    changes = {"step": 0, "epoch": 0.0, "settings": "lr = 1, stem = cifar", "task_protocol": "finetune"}
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


def texts(svg):
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def test_the_figures_have_a_curve_a_run_and_their_labels(folder):
    summarized = summaries.summarize(summaries.read(find_runs(folder)))
    ((title, svg),) = curves.accuracy_by_epoch(summarized).items()
    assert title == TITLE
    labels = {"cifar10-sidae-w0.5", "cifar10-sidae-w0.25", "cifar10-simsiam", "test accuracy, %"}
    assert labels <= set(texts(svg))
    assert "epochs of pre-training on cifar10 (0: untrained)" in texts(svg)
    ((title, svg),) = curves.accuracy_by_weight(summarized).items()
    assert title.startswith("The weight w: linear probe")
    assert {"ours, pre-trained on cifar10; epoch 2 of 200", "published: 200 epochs, all images, five seeds"} <= set(
        texts(svg)
    )
    assert "w (0: SimSiam, 1: denoising autoencoder)" in texts(svg)
    for number, text in enumerate(("", '{"step": 1, "epoch": 0.1, "lo')):  # runs that have just begun
        write_config(folder / f"cifar10-dae{number}" / "seed0", "dae")
        (folder / f"cifar10-dae{number}" / "seed0" / "metrics.jsonl").write_text(text)
    drawn = training_curves.training_curves(find_runs(folder))
    assert [title.partition(" ")[0] for title in drawn] == ["Loss", "Collapse"]


PLAIN = "linear probe on cifar10, 100% of the labels (50000 images), 10000 test images"


@pytest.mark.parametrize(("steps", "drawn"), [((0, 20), 0), ((20,), 0), ((10, 20), 1), ((0, 10, 20), 1)])
def test_a_curve_by_epoch_needs_two_checkpoints_beside_the_untrained(steps, drawn):
    runs = [summary(step=step, epoch=10.0 * step, task_protocol="online") for step in steps]
    assert len(curves.accuracy_by_epoch(runs)) == drawn


def test_the_figure_of_the_dimension_has_a_curve_for_each_method_run_with_several():
    def run(method, w, d, step, mean):
        return summary(mean, step, 10.0 * step, label=f"{method}-{d}", method=method, w=w, d_hid=d)

    runs = [run("sidae", 0.5, d, step, d / 100 + step) for d in (512, 1024, 2048) for step in (0, 10, 20)]
    runs += [run("simsiam", None, d, 20, 40.0) for d in (512, 2048)] + [run("dae", None, 2048, 20, 30.0)]
    ((title, svg),) = curves.accuracy_by_dimension(runs).items()
    assert title == f"The dimension d: {PLAIN}"
    assert {"512", "1024", "2048", "sidae, w = 0.5", "simsiam"} <= set(texts(svg))
    assert "dae" not in texts(svg)
    assert not curves.accuracy_by_weight(runs)  # one w alone


def test_a_curve_has_one_run_at_each_x_and_none_of_other_settings(caplog, monkeypatch):
    drawn, draw = [], curves._draw

    def draw_and_tell(axes, points, label, *style):
        drawn.append((label, points))
        draw(axes, points, label, *style)

    monkeypatch.setattr(curves, "_draw", draw_and_tell)

    def run(name, w, **changes):
        return summary(label=name, w=w, **changes)

    runs = [run("a", 0.25, mean=1.0), run("b", 0.5, mean=2.0), run("c", 0.5, mean=3.0)]
    runs += [run("d", 0.25, mean=4.0, settings="lr = 1"), run("e", 0.5, mean=5.0, settings="lr = 1")]
    runs += [run("f", 0.75, mean=6.0, images="train[:64]"), run("g", 0.75, mean=7.0, epoch=100.0)]
    runs += [summary(8.0, label="s", method="simsiam", w=None)]
    curves.accuracy_by_weight(runs)
    found = {label: [(x, s.mean) for x, s in points] for label, points in drawn}
    ours = "ours, pre-trained on cifar10"
    assert found == {ours: [(0.0, 8.0), (0.25, 1.0), (0.5, 2.0)], f"{ours}; lr = 1": [(0.25, 4.0), (0.5, 5.0)]}
    assert "b and c have the same settings and w = 0.5" in caplog.text
    assert caplog.text.count("have the same settings") == 1

    drawn.clear()
    curves.accuracy_by_dimension(
        [
            summary(d / 100, label=f"{name}{d}", d_hid=d, **changes)
            for d in (512, 1024)
            for name, changes in RUNS.items()
        ]
    )
    assert [label for label, _ in drawn] == ["sidae, w = 0.5", "sidae, w = 0.5; stem = cifar"]
    assert all(len(points) == 2 for _, points in drawn)
    assert "again512 and plain512 have the same settings and d = 512" in caplog.text


RUNS = {"plain": {}, "again": {}, "other": {"settings": "stem = cifar"}}


def test_no_published_curve_beside_runs_of_other_settings_alone():
    runs = [summary(label=str(w), w=w, settings="lr = 1") for w in (0.25, 0.5)]
    (svg,) = curves.accuracy_by_weight(runs).values()
    assert not [text for text in texts(svg) if "published" in text]


def test_the_supervised_line_is_of_the_same_task_and_labels():
    def run(protocol, fraction, step, mean, settings="", **changes):
        of = {"task_protocol": protocol, "task_label_fraction": fraction, "task_settings": settings}
        return summary(mean, step, 10.0 * step, **of, **changes)

    probes = [run("linear", fraction, step, 40.0 + step) for fraction in (0.01, 1.0) for step in (0, 10, 20)]
    scratch = [run("finetune", 0.01, 0, 35.0), run("finetune", 0.01, 0, 30.0, "epochs = 3")]
    scratch += [run("finetune", 1.0, 0, 35.0, dataset="stl10"), run("finetune", 1.0, 0, 35.0, task_n_test=5)]
    one, all_labels = curves.accuracy_by_epoch([*probes, *scratch]).values()
    assert {"supervised, from scratch", "supervised, from scratch (epochs = 3)"} <= set(texts(one))
    assert not [text for text in texts(all_labels) if "from scratch" in text]


def test_settings_that_are_not_the_protocols_defaults_are_named_and_kept_apart(tmp_path):
    write_config(tmp_path, "dae")
    (tmp_path / "eval").mkdir()
    common = {"protocol": "finetune", "dataset": "cifar10", "n_train": 50, "n_test": 30, "step": 8, "epoch": 1.0}
    defaults = {"epochs": 50, "batch_size": 256, "lr": 0.05, "momentum": 0.9}  # the paper, 4.1
    for fraction, settings in ((1.0, defaults), (0.01, {**defaults, "epochs": 3, "lr": 0.1})):
        record = {**common, "label_fraction": fraction, "accuracy": 0.5, "finetune": settings}
        (tmp_path / "eval" / f"{fraction}.jsonl").write_text(json.dumps(record))
    titles = [table.title for table in tables.accuracy_tables(summaries.summarize(summaries.read(find_runs(tmp_path))))]
    assert [title.partition(" (")[0] for title in titles] == [
        "fine-tuning on cifar10, 1% of the labels, epochs = 3, lr = 0.1",
        "fine-tuning on cifar10, 100% of the labels",
    ]


def test_a_transfer_has_a_figure_of_its_own():
    runs = [
        summary(40.0 + step, step, 10.0 * step, label=f"{on}-sidae-w{w}", dataset=on, w=w)
        for on in ("cifar10", "stl10")
        for w in (0.25, 0.5)
        for step in (0, 10, 20)
    ]
    assert list(curves.accuracy_by_epoch(runs)) == [PLAIN, f"{PLAIN}, pre-trained on stl10"]
    by_weight = [f"The weight w: {PLAIN}, d = 2048", f"The weight w: {PLAIN}, pre-trained on stl10, d = 2048"]
    assert list(curves.accuracy_by_weight(runs)) == by_weight


def embedded(svg):
    (data,) = re.findall(r'href="data:image/png;base64,([^"]*)"', svg)
    assert re.search(r"<image [^>]*scale\(1 -1\)", svg)  # it is stored upside down
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))[::-1]


def middles(mosaic, rows, columns):
    """Returns the color in the middle of each picture."""
    height, width = (np.array(mosaic.shape[:2]) + 2) / (rows, columns)
    places = [[(int(height * (i + 0.45)), int(width * (j + 0.45))) for j in range(columns)] for i in range(rows)]
    return np.array([[mosaic[place] for place in row] for row in places])


def test_the_pictures_stand_beside_their_labels(folder):
    seen = image_figures.read(find_runs(folder))
    assert [run.name for run, _ in seen] == ["cifar10-sidae-w0.25", "cifar10-sidae-w0.5", "cifar10-simsiam"]
    assert {run.seed for run, _ in seen} == {0}
    ((title, svg),) = image_figures.augmentations(seen).items()
    assert title == "Augmentations of cifar10"
    assert texts(svg) == ["image", "first view", "second view"]
    wanted = [[color(kind, i) for i in range(8)] for kind in (0, 1, 2)]
    np.testing.assert_array_equal(middles(embedded(svg), 3, 8), wanted)
    ((title, svg),) = image_figures.reconstructions(seen).items()
    runs = ["cifar10-sidae-w0.25", "cifar10-sidae-w0.5"]  # the third has no decoder
    of_images, of_views = ([f"{run}, epoch 2, of the {what}" for run in runs] for what in ("image", "view"))
    assert " ".join(texts(svg)) == " ".join(["image", *of_images, "view", *of_views])  # long labels have two lines
    wanted = [[color(kind, i) for i in range(8)] for kind in (0, 3, 3, 1, 4, 4)]
    np.testing.assert_array_equal(middles(embedded(svg), 6, 8), wanted)


def test_the_projection_has_a_panel_a_run_and_its_classes(folder):
    found = image_figures.read(find_runs(folder))
    ((title, svg),) = image_figures.projections(found).items()
    assert title == "t-SNE of the features of 30 test images of cifar10"
    names = ("cifar10-sidae-w0.25", "cifar10-sidae-w0.5", "cifar10-simsiam")
    assert sorted(texts(svg)) == sorted(["bird", "cat", "dog", *(f"{name}, seed 0, epoch 2" for name in names)])
    (svg,) = image_figures.projections([*found, found[0]]).values()
    assert len(re.findall(r'<g id="axes_\d+">', svg)) == 4  # no empty ones in the second row


def test_a_corrupt_picture_file_is_skipped_with_a_warning(tmp_path, caplog):
    picture_file.write(tmp_path / "whole.npz", colored(8))
    whole = (tmp_path / "whole.npz").read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes(byte ^ 255 for byte in whole[middle : middle + 8]) + whole[middle + 8 :]
    (tmp_path / "whole.npz").unlink()
    for name, content in (("cut", whole[:middle]), ("empty", b""), ("flipped", flipped), ("text", b"no archive")):
        path = tmp_path / name / "eval" / picture_file.NAME
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    runs = [Run(summary().measured.pretraining, 0, path) for path in sorted(tmp_path.iterdir())]
    assert image_figures.read(runs) == []
    assert caplog.text.count("is corrupt and skipped") == 4


def test_a_run_is_named_alike_wherever_the_report_starts(tmp_path):
    for seed in (0, 1):
        write_config(tmp_path / "sweep" / "cifar10-dae" / f"seed{seed}", "dae", seed=seed)

    def names(*parts):
        return [run.name for run in find_runs(tmp_path.joinpath("sweep", *parts))]

    assert names() == names("cifar10-dae") == ["cifar10-dae"] * 2
    assert names("cifar10-dae", "seed1") == ["cifar10-dae"]


HOSTILE = r"x$\frac$ <script>alert(1)<\script> | `a` [b](javascript:c) *d* _e_"


def hostile_runs(folder):
    """Writes corrupt runs and files; returns those that the warnings have to name."""
    named = []
    config = cli.load_config(f"{ROOT}/configs/cifar10.py:sidae", ()).to_dict()
    bad = {"method": "magic", "w": "half", "seed": True, "dataset": ["cifar10"], "epochs": 2.5, "d_hid": None}
    bad |= {"train_split": 3, "batch_size": -1}
    contents = [json.dumps({"config": config | {key: value}}) for key, value in bad.items()]
    more = [{"w": float("nan")}, *({"d_hid": 10**n} for n in (300, 400)), {"batch_size": 10**4000}, {"epochs": 10**10}]
    more += [{"dataset": "x" * 1000}, {f"key{number}": 0 for number in range(1000)}]
    contents += [*(json.dumps({"config": config | changes}) for changes in more), json.dumps({"model_type": "bert"})]
    contents += ["[" * 100_000, "{", "null", "[]", '{"config": 3}', '{"config": {"method": []}}', '"config"']
    contents += [json.dumps({"config": {"views": {"hue": config}}}), '{"config": {"seed": ' + "9" * 5000 + "}}"]
    for number, content in enumerate(contents):
        run = folder / f"bad{number}" / "seed0"
        (run / "eval").mkdir(parents=True)
        (run / "config.json").write_text(content)
        write_results(run, [0.2, 0.9, 0.99])
        named.append(run / "config.json")
    (folder / "binary").mkdir()
    (folder / "binary" / "config.json").write_bytes(b"\xff\xfe\x00")
    (folder / "directory" / "config.json").mkdir(parents=True)
    named += [folder / "binary" / "config.json", folder / "directory" / "config.json"]

    run = folder / "lines" / "seed0"
    write_config(run, "sidae", w=0.75)
    good = {"protocol": "linear", "dataset": "cifar10", "label_fraction": 1.0, "n_train": 50, "n_test": 30, "step": 40}
    good |= {"epoch": 2.0, "accuracy": 0.5}
    bad = {
        "accuracy": "0.5",
        "epoch": None,
        "step": "40",
        "n_train": 0,
        "n_test": [],
        "protocol": "guess",
        "dataset": 1,
    }
    bad |= {"label_fraction": float("nan"), "probe": [1]}
    lines = [json.dumps(good | {key: value}) for key, value in bad.items()]
    lines += [json.dumps({k: v for k, v in good.items() if k != key}) for key in good]
    lines += [json.dumps(good | {"accuracy": value}) for value in (float("nan"), float("inf"), 7, True)]
    (run / "eval").mkdir()
    for number, changes in enumerate(({"epoch": 1.7e308}, {"step": 10**400}, {"n_train": 10**4000})):
        (run / "eval" / f"large{number}.jsonl").write_text(json.dumps(good | changes) + "\n")
    (run / "eval" / "lines.jsonl").write_text("\n".join([*lines, "[]", "3", "null", "{}"]) + "\n")
    (run / "eval" / "deep.jsonl").write_text("[" * 100_000 + "\n")
    (run / "eval" / "binary.jsonl").write_bytes(b"\xff\xfe\x00")
    (run / "eval" / "folder.jsonl").mkdir()
    line = {"step": 1, "epoch": 1.0, "loss": 0.5, "feature_std": 0.9}
    bad = [line | {"loss": "0.5"}, line | {"epoch": None}, line | {"loss": True}, {"step": 1}, [], 3, "loss"]
    bad += [line | {"epoch": epoch} for epoch in (1e308, -1e308, 10**400, -1.0)]
    (run / "metrics.jsonl").write_text(
        "".join(json.dumps(record) + "\n" for record in bad) + "{\n" + "[" * 10**5 + "\n"
    )
    np.savez(run / "eval" / picture_file.NAME, **{**vars(colored(8)), "images": np.zeros((8, 3), np.uint8)})
    files = [*(run / "eval").iterdir(), run / "metrics.jsonl"]
    write_config(folder / "text" / "seed0", "sidae")
    (folder / "text" / "seed0" / "eval").mkdir()
    files.append(folder / "text" / "seed0" / "eval" / picture_file.NAME)
    np.savez(files[-1], **{**vars(colored(8)), "views": np.full((8, 2, 32, 32, 3), "text")})
    return named + files


def test_the_report_of_a_good_run_beside_hostile_ones_is_as_without_them(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "alone" / "runs")
    shutil.copytree(folder, tmp_path / "beside" / "runs")
    named = hostile_runs(tmp_path / "beside" / "runs")
    ended = {name: report(f"--workdir={tmp_path / name / 'runs'}") for name in ("alone", "beside")}
    for name in ("alone", "beside"):
        assert ended[name].returncode == 0, ended[name].stderr
    assert "Traceback" not in ended["beside"].stderr
    for path in named:
        assert str(path) in ended["beside"].stderr, path
    alone, beside = (tmp_path / name / "runs" / "report" for name in ("alone", "beside"))
    files = sorted(path.relative_to(alone) for path in alone.rglob("*.*"))
    assert files == sorted(path.relative_to(beside) for path in beside.rglob("*.*"))
    for file in files:
        assert (alone / file).read_bytes() == (beside / file).read_bytes(), file


def test_hostile_names_are_shown_and_have_no_effect(tmp_path):
    """The pages and figures show a hostile name, data set and settings literally."""
    for number, name in enumerate(("_baseline", r"x$\frac$", "<img src=x onerror=alert(1)>", "b\udcffad\x01")):
        run = tmp_path / "runs" / name / "seed0"
        config = cli.load_config(f"{ROOT}/configs/cifar10.py:sidae", ()).to_dict()
        config |= {"dataset": HOSTILE + "\ud800", "stem": "<b>_$c$", "w": 0.2 * (1 + number)}
        config |= {"\ud800": 1, "x\n\n# Injected | a": "\ud800" * 50, "y" * 5000: 1}
        (run / "eval").mkdir(parents=True)
        (run / "config.json").write_text(json.dumps({"config": config}))
        write_results(run, [0.2, 0.4, 0.6], dataset=HOSTILE)
        line = {"step": 1, "epoch": 1.0, "loss": 0.5, "feature_std": float("nan")}
        losses = [0.5, float("inf"), -float("inf"), 1e308, -1e308, 10**400, 0.4]  # a run that diverges has gaps
        (run / "metrics.jsonl").write_text("".join(json.dumps(line | {"loss": loss}) + "\n" for loss in losses))
        picture_file.write(
            run / "eval" / picture_file.NAME,
            dataclasses.replace(colored(8), class_names=np.array(["_cat", "<dog>\ud800", "$x$"])),
        )
    ended = report(f"--workdir={tmp_path / 'runs'}")
    assert ended.returncode == 0, ended.stderr
    assert "corrupt" not in ended.stderr
    out = tmp_path / "runs" / "report"
    shown = []
    for path in sorted((out / "figures").glob("*.svg")):
        xml.etree.ElementTree.fromstring(path.read_text())
        shown += [html.unescape(text).strip() for text in texts(path.read_text())]
    for text in (
        "_baseline",
        r"x$\frac$",
        "<img src=x onerror=alert(1)>",
        r"b\udcffad\x01",
        "_cat",
        r"<dog>\ud800",
        "$x$",
    ):
        assert text in shown
    page, markdown = (out / "report.html").read_text(), (out / "report.md").read_text()
    for text in (page, markdown):
        assert "<script" not in text
        assert "<img" not in text
        assert "<b>" not in text
    assert html.escape(HOSTILE) in page
    for mark in ("$", "`", "*", "]("):  # but for the figures, whose paths are ours
        assert not re.search(rf"(?<!\\){re.escape(mark)}(?!figures/)", markdown), mark
    (table,) = (part for part in markdown.split("### ") if "| pre-training" in part)
    lines = [line for line in table.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {12}
    assert r"| \_baseline |" in table
    assert r"x\\n\\n# Injected \| a = \\ud800" in table
    assert "y" * 37 + "... = 1" in table
    assert "y" * 38 not in table
    assert "fashion_mnist" in pages.markdown_text("fashion_mnist")  # nothing special in it


def test_a_table_fits_a_page_of_1200_pixels():
    """Adds up the widest parts that a browser cannot break; the style lets it break long words anywhere."""
    long = {"dataset": "fashion_mnist", "task_evaluated_on": "fashion_mnist", "task_n_train": 60_000}
    long |= {"label": "fashion_mnist-sidae-w0.125-zero_init_residualTrue-train_splitunlabelled10240"}
    runs = [summary(63.0, seeds=5, error=1.0, epoch=175.0, **long, images="train[:10240]")]
    untrained = dataclasses.replace(runs[0].measured, step=0, epoch=0.0)
    runs.append(dataclasses.replace(runs[0], measured=untrained))
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


def report(*arguments):
    command = [sys.executable, "-m", "sidae_jax.report", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_program_writes_the_same_report_from_the_same_files(folder, tmp_path):
    for name in ("one", "two"):
        ended = report(f"--workdir={folder}", f"--out={tmp_path / name}")
        assert ended.returncode == 0, ended.stderr
    assert ended.stdout == f"1 tables and 7 figures of 18 results in {tmp_path}/two/report.html\n"
    names = [*(f"figures/{number:02d}.svg" for number in range(1, 8)), "report.html", "report.md"]
    for folder_of in ("one", "two"):
        files = sorted(p.relative_to(tmp_path / folder_of).as_posix() for p in (tmp_path / folder_of).rglob("*.*"))
        assert files == names

    def lines(folder_of, name):
        return [line for line in (tmp_path / folder_of / name).read_text().splitlines() if "Made on" not in line]

    for name in names:
        assert lines("one", name) == lines("two", name)
    page = (tmp_path / "one" / "report.html").read_text()
    assert page.count("<svg") == page.count("</svg>") == 7
    assert "src=" not in page
    assert set(re.findall(r'href="(.{5})', page)) <= {"data:"} | {f"#{c}" for c in re.findall(r'href="#(.{4})', page)}
    assert '<td class="short">63.00 (2.08)</td>' in page


def test_a_folder_without_results_is_reported(tmp_path):
    ended = report(f"--workdir={tmp_path}")  # without a --workdir: tests/test_default_workdir.py
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: ")
    assert "holds no results" in ended.stderr
    assert not list(tmp_path.iterdir())
