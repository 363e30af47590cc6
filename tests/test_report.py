"""The report: means and errors by hand, the papers' figures, and the pages, from result files alone."""

import base64
import io
import json
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from sidae_jax.evaluation import picture_file
from sidae_jax.report import figures, pictures, results, tables

ROOT = pathlib.Path(__file__).parent.parent
ACCURACIES = {  # of seeds 0, 1, 2 at steps 0, 20, 40
    ("sidae", 0.5): [[0.2, 0.4, 0.60], [0.2, 0.5, 0.62], [0.2, 0.6, 0.67]],
    ("sidae", 0.25): [[0.2, 0.3, 0.5]],
    ("simsiam", None): [[0.2, 0.3, 0.4], [0.3, 0.4, 0.5]],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What a sweep leaves, but for its checkpoints."""
    folder = tmp_path_factory.mktemp("runs")
    for (method, w), seeds in ACCURACIES.items():
        for seed, accuracies in enumerate(seeds):
            run = folder / f"cifar10-{method}{'' if w is None else f'-w{w}'}" / f"seed{seed}"
            (run / "eval").mkdir(parents=True)
            config = {"dataset": "cifar10", "method": method, "seed": seed, "train_split": "train[:64]", "d_hid": 2048}
            config |= {} if w is None else {"w": w}
            (run / "config.json").write_text(json.dumps({"config": config}))
            lines = [{"step": step, "epoch": step / 20, "loss": 1 / step, "feature_std": 0.9} for step in (10, 20, 40)]
            (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
            common = {"protocol": "linear", "dataset": "cifar10", "label_fraction": 1.0, "n_train": 50, "n_test": 30}
            path = run / "eval" / f"linear-cifar10-1-seed{seed}.jsonl"
            for step, accuracy in zip((0, 20, 40), accuracies, strict=True):
                with path.open("a") as file:
                    file.write(json.dumps({**common, "step": step, "epoch": step / 20, "accuracy": accuracy}) + "\n")
            picture_file.write(run / "eval" / picture_file.NAME, coloured(0 if method == "simsiam" else 8))
    return folder


def colour(kind, i):
    """Of one kind of picture of the image i, not close to that of another."""
    return np.array([60 * kind, 20 * i, 100 + 30 * (i % 2)])


def coloured(reconstructed):
    """Pictures of one colour each: kind 0 are the images, 1 and 2 their views, 3 and 4 the reconstructions."""

    def pictures_of(kind, n=8):
        return np.array([np.full((32, 32, 3), colour(kind, i)) for i in range(n)], np.uint8).reshape(n, 32, 32, 3)

    return picture_file.Pictures(
        epoch=2.0,
        images=pictures_of(0),
        views=np.stack([pictures_of(1), pictures_of(2)], 1),
        reconstructions=np.stack([pictures_of(3, reconstructed), pictures_of(4, reconstructed)], 1),
        tsne=np.stack([np.arange(30) % 3, np.arange(30)], 1).astype(np.float32),
        labels=(np.arange(30) % 3).astype(np.int32),
        class_names=np.array(["cat", "dog", "bird"]),
    )


def test_means_and_standard_errors(folder):
    found = {(s.measured.label, s.measured.step): s for s in results.summarise(results.read(results.runs(folder)))}
    assert len(found) == 9
    last = found["cifar10-sidae-w0.5", 40]
    assert (last.seeds, last.mean) == (3, pytest.approx(63))
    assert last.standard_error == pytest.approx(100 * np.std([0.6, 0.62, 0.67], ddof=1) / 3**0.5)
    assert found["cifar10-sidae-w0.25", 40].standard_error is None
    assert found["cifar10-simsiam", 0].mean == pytest.approx(25)


def test_the_table_has_ours_beside_the_published_and_empty_cells_for_what_was_not_run(folder):
    (table,) = tables.tables(results.summarise(results.read(results.runs(folder))))
    assert table.title == "linear probe on cifar10, 100% of the labels (50 images), 30 test images"
    on_cifar10 = [row for row in table.rows if row[1] == "cifar10"]  # others: published pre-training on STL-10
    rows = {row[0]: dict(zip(table.header, row, strict=True)) for row in on_cifar10}
    assert len(rows) == len(on_cifar10) == len(table.rows) - (3 + 5)
    ours = rows["cifar10-sidae-w0.5"]
    assert (ours["ours, %"], ours["seeds"], ours["epochs"]) == ("63.00 (2.08)", "3", "2")
    assert (ours["published, %"], ours["untrained, %"]) == ("64.75 (0.27) / 64.75 (0.27)", "20.00 (0.00)")
    assert rows["cifar10-sidae-w0.25"]["ours, %"] == "50.00"
    assert rows["cifar10-sidae-w0.25"]["published, %"] == "66.14 (0.18)"
    assert rows["cifar10-simsiam"]["published in"] == "paper, Table 1"
    assert (rows["dae"]["ours, %"], rows["dae"]["published, %"]) == ("", "57.44 (0.31)")
    assert (rows["sidae, w = 0.125"]["ours, %"], rows["sidae, w = 0.125"]["published, %"]) == ("", "66.20 (0.31)")
    text = tables.markdown(table)
    assert text.splitlines()[4].startswith("| cifar10-sidae-w0.25 | cifar10 | train[:64] | 2 | 1 | 50.00 | 20.00 |")
    assert {line.count("|") for line in text.splitlines()[2:]} == {10}


def test_every_run_has_the_published_figure_but_with_another_d():
    def summary(label, d):
        task = ("linear", "cifar10", 1.0, "", "cifar10", "dae", None, d, label, 20, 200.0, "train", 50000, 10000)
        return results.Summary(results.Measured(*task), 1, 57.0, None)

    (table,) = tables.tables([summary("a", 2048), summary("b", 512), summary("c", 2048)])
    figures = {row[0]: row[table.header.index("published, %")] for row in table.rows}
    assert {run: figures[run] for run in ("a", "b", "c")} == {"a": "57.44 (0.31)", "b": "", "c": "57.44 (0.31)"}
    assert "dae" not in {row[0] for row in table.rows if row[1] == "cifar10"}  # no row of its own beside


def test_the_untrained_backbone_fine_tuned_is_the_supervised_baseline():
    task = ("finetune", "mnist", 1.0, "", "mnist", "sidae", 0.5, 2048, "mnist-sidae", 0, 0.0, "train", 50, 30)
    (table,) = tables.tables([results.Summary(results.Measured(*task), 2, 98.5, 0.5)])
    (row,) = table.rows
    cells = dict(zip(table.header, row, strict=True))
    assert (cells["pre-training"], cells["ours, %"], cells["on"]) == ("supervised, from scratch", "98.50 (0.50)", "")


def test_the_published_figures_are_those_of_the_papers():
    """Spot checks by eye, and that each table is whole."""
    rows = tables.published()
    by_source = {}
    for row in rows:
        by_source.setdefault(row["source"].partition(" (")[0], []).append(row)
        assert 0 < row["accuracy"] < 100
        # the report's supervised network is measured by its own classifier
        of_report = "online" if row["method"] == "supervised" else "mlp"
        assert row["protocol"] == (of_report if row["source"].startswith("report") else "linear")
    assert {source: len(found) for source, found in by_source.items()} == {
        "paper, Table 1": 4 * 2 * 3,
        "paper, Appendix A, Table 1": 4 * 2 * 5,
        "report, Table 1": 2 * 4,
    }

    def figure(**wanted):
        (row,) = (row for row in rows if wanted.items() <= row.items())
        return row["accuracy"], row["standard_error"]

    table1 = {"source": "paper, Table 1", "evaluated_on": "mnist", "label_fraction": 0.01, "method": "simsiam"}
    assert figure(**table1) == (79.42, 5.15)
    appendix = {"source": "paper, Appendix A, Table 1", "pretrained_on": "stl10", "evaluated_on": "cifar10"}
    assert figure(**appendix, w=0.875) == (61.59, 0.20)
    assert figure(source="report, Table 1", evaluated_on="cifar10", method="simclr") == (81.9, None)


def texts(svg):
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def test_the_figures_have_a_curve_a_run_and_their_labels(folder):
    summaries = results.summarise(results.read(results.runs(folder)))
    ((title, svg),) = figures.accuracy_by_epoch(summaries).items()
    assert title == "linear probe on cifar10, 100% of the labels"
    labels = {"cifar10-sidae-w0.5", "cifar10-sidae-w0.25", "cifar10-simsiam", "test accuracy, %"}
    assert labels <= set(texts(svg))
    assert "epochs of pre-training on cifar10 (0: untrained)" in texts(svg)
    ((title, svg),) = figures.accuracy_by_weight(summaries).items()
    assert title.startswith("The weight w: linear probe")
    assert {"ours, pre-trained on cifar10", "published: 200 epochs, all images, five seeds"} <= set(texts(svg))
    assert "w (0: SimSiam, 1: denoising autoencoder)" in texts(svg)
    for number, text in enumerate(("", '{"step": 1, "epoch": 0.1, "lo')):  # runs that have just begun
        begun = folder / f"cifar10-dae{number}" / "seed0"
        begun.mkdir(parents=True)
        (begun / "metrics.jsonl").write_text(text)
        config = {"dataset": "cifar10", "method": "dae", "seed": 0, "train_split": "train"}
        (begun / "config.json").write_text(json.dumps({"config": config}))
    curves = figures.training_curves(results.runs(folder))
    assert [title.partition(" ")[0] for title in curves] == ["Loss", "Collapse"]


def test_the_figure_of_the_dimension_has_a_curve_for_each_method_run_with_several():
    def summary(method, w, d, step, mean):
        label = f"cifar10-{method}-d_hid{d}"
        task = ("linear", "cifar10", 1.0, "", "cifar10", method, w, d, label, step, step / 10, "train", 50, 30)
        return results.Summary(results.Measured(*task), 1, mean, None)

    summaries = [summary("sidae", 0.5, d, step, d / 100 + step) for d in (512, 1024, 2048) for step in (0, 10, 20)]
    summaries += [summary("simsiam", None, d, 20, 40.0) for d in (512, 2048)] + [summary("dae", None, 2048, 20, 30.0)]
    ((title, svg),) = figures.accuracy_by_dimension(summaries).items()
    assert title == "The dimension d: linear probe on cifar10, 100% of the labels"
    assert {"512", "1024", "2048", "sidae, w = 0.5", "simsiam"} <= set(texts(svg))
    assert "dae" not in texts(svg)
    assert not figures.accuracy_by_weight(summaries)  # one w alone


def test_the_supervised_line_is_of_the_same_task_and_labels():
    def summary(protocol, fraction, step, mean, settings=""):
        task = (protocol, "cifar10", fraction, settings, "cifar10", "sidae", 0.5, 2048, "a", step, step / 10)
        return results.Summary(results.Measured(*task, "train", 50, 30), 1, mean, None)

    probes = [summary("linear", fraction, step, 40.0 + step) for fraction in (0.01, 1.0) for step in (0, 10, 20)]
    scratch = [summary("finetune", 0.01, 0, 35.0), summary("finetune", 0.01, 0, 30.0, "epochs = 3")]
    one, all_labels = figures.accuracy_by_epoch([*probes, *scratch]).values()
    assert {"supervised, from scratch", "supervised, from scratch (epochs = 3)"} <= set(texts(one))
    assert not [text for text in texts(all_labels) if "from scratch" in text]


def test_settings_that_are_not_the_protocols_defaults_are_named_and_kept_apart(tmp_path):
    config = {"dataset": "cifar10", "method": "dae", "seed": 0, "train_split": "train", "d_hid": 2048}
    (tmp_path / "eval").mkdir()
    (tmp_path / "config.json").write_text(json.dumps({"config": config}))
    common = {"protocol": "finetune", "dataset": "cifar10", "n_train": 50, "n_test": 30, "step": 8, "epoch": 1.0}
    defaults = {"epochs": 50, "batch_size": 256, "lr": 0.05, "momentum": 0.9}  # the paper, 4.1
    for fraction, settings in ((1.0, defaults), (0.01, {**defaults, "epochs": 3, "lr": 0.1})):
        record = {**common, "label_fraction": fraction, "accuracy": 0.5, "finetune": settings}
        (tmp_path / "eval" / f"{fraction}.jsonl").write_text(json.dumps(record))
    titles = [table.title for table in tables.tables(results.summarise(results.read(results.runs(tmp_path))))]
    assert [title.partition(" (")[0] for title in titles] == [
        "fine-tuning on cifar10, 1% of the labels, epochs = 3, lr = 0.1",
        "fine-tuning on cifar10, 100% of the labels",
    ]


def test_a_transfer_has_a_figure_of_its_own():
    def summary(pretrained_on, w, step):
        label = f"{pretrained_on}-sidae-w{w}"
        task = ("linear", "cifar10", 1.0, "", pretrained_on, "sidae", w, 2048, label, step, step / 10, "train", 50, 30)
        return results.Summary(results.Measured(*task), 1, 40.0 + step, None)

    summaries = [summary(on, w, step) for on in ("cifar10", "stl10") for w in (0.25, 0.5) for step in (0, 10, 20)]
    plain = "linear probe on cifar10, 100% of the labels"
    assert list(figures.accuracy_by_epoch(summaries)) == [plain, f"{plain}, pre-trained on stl10"]
    by_weight = [f"The weight w: {plain}, d = 2048", f"The weight w: {plain}, pre-trained on stl10, d = 2048"]
    assert list(figures.accuracy_by_weight(summaries)) == by_weight


def embedded(svg):
    (data,) = re.findall(r'href="data:image/png;base64,([^"]*)"', svg)
    assert re.search(r"<image [^>]*scale\(1 -1\)", svg)  # it is stored upside down
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))[::-1]


def middles(mosaic, rows, columns):
    """The colour in the middle of each of the pictures."""
    height, width = (np.array(mosaic.shape[:2]) + 2) / (rows, columns)
    places = [[(int(height * (i + 0.45)), int(width * (j + 0.45))) for j in range(columns)] for i in range(rows)]
    return np.array([[mosaic[place] for place in row] for row in places])


def test_the_pictures_stand_beside_their_labels(folder):
    seen = pictures.read(results.runs(folder))
    assert [run.name for run, _ in seen] == ["cifar10-sidae-w0.25", "cifar10-sidae-w0.5", "cifar10-simsiam"]
    assert {run.seed for run, _ in seen} == {0}
    ((title, svg),) = pictures.augmentations(seen).items()
    assert title == "Augmentations of cifar10"
    assert texts(svg) == ["image", "first view", "second view"]
    wanted = [[colour(kind, i) for i in range(8)] for kind in (0, 1, 2)]
    np.testing.assert_array_equal(middles(embedded(svg), 3, 8), wanted)
    ((title, svg),) = pictures.reconstructions(seen).items()
    runs = ["cifar10-sidae-w0.25", "cifar10-sidae-w0.5"]  # the third has no decoder
    of_images, of_views = ([f"{run}, epoch 2, of the {what}" for run in runs] for what in ("image", "view"))
    assert " ".join(texts(svg)) == " ".join(["image", *of_images, "view", *of_views])  # long labels have two lines
    wanted = [[colour(kind, i) for i in range(8)] for kind in (0, 3, 3, 1, 4, 4)]
    np.testing.assert_array_equal(middles(embedded(svg), 6, 8), wanted)


def test_the_projection_has_a_panel_a_run_and_its_classes(folder):
    found = pictures.read(results.runs(folder))
    ((title, svg),) = pictures.projections(found).items()
    assert title == "t-SNE of the features of 30 test images of cifar10"
    names = ("cifar10-sidae-w0.25", "cifar10-sidae-w0.5", "cifar10-simsiam")
    assert sorted(texts(svg)) == sorted(["bird", "cat", "dog", *(f"{name}, seed 0, epoch 2" for name in names)])
    (svg,) = pictures.projections([*found, found[0]]).values()
    assert len(re.findall(r'<g id="axes_\d+">', svg)) == 4  # no empty ones in the second row


def test_a_damaged_picture_file_is_left_out_with_a_warning(tmp_path, caplog):
    picture_file.write(tmp_path / "whole.npz", coloured(8))
    whole = (tmp_path / "whole.npz").read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes(byte ^ 255 for byte in whole[middle : middle + 8]) + whole[middle + 8 :]
    (tmp_path / "whole.npz").unlink()
    for name, content in (("cut", whole[:middle]), ("empty", b""), ("flipped", flipped), ("text", b"no archive")):
        path = tmp_path / name / "eval" / picture_file.NAME
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    runs = [results.Run(path.name, 0, {"dataset": "cifar10"}, path) for path in sorted(tmp_path.iterdir())]
    assert pictures.read(runs) == []
    assert caplog.text.count("is damaged and left out") == 4


def test_a_run_is_named_alike_wherever_the_report_starts(tmp_path):
    for seed in (0, 1):
        run = tmp_path / "sweep" / "cifar10-dae" / f"seed{seed}"
        run.mkdir(parents=True)
        config = {"dataset": "cifar10", "method": "dae", "seed": seed, "train_split": "train"}
        (run / "config.json").write_text(json.dumps({"config": config}))

    def names(*parts):
        return [run.name for run in results.runs(tmp_path.joinpath("sweep", *parts))]

    assert names() == names("cifar10-dae") == ["cifar10-dae"] * 2
    assert names("cifar10-dae", "seed1") == ["cifar10-dae"]


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
    assert "<td>63.00 (2.08)</td>" in page


def test_a_folder_without_results_is_told(tmp_path):
    for arguments, says in (([], "--workdir is missing"), ([f"--workdir={tmp_path}"], "holds no results")):
        ended = report(*arguments)
        assert ended.returncode == 2
        assert ended.stderr.startswith("error: ")
        assert says in ended.stderr
    assert not list(tmp_path.iterdir())
