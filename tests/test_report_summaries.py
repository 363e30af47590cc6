"""Which runs and results count as the same in the report, and their means and errors computed by hand."""

import json

import numpy as np
import pytest
from report_files import PLAIN, texts, write_config, write_results, write_sweep

from sidae_jax.report import curves, reference, summaries, tables
from sidae_jax.report.run_index import find_runs
from sidae_jax.report.run_styles import RunStyles
from sidae_jax.settings import METHOD_SETTINGS


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_sweep(tmp_path_factory.mktemp("runs"))


def test_means_and_standard_errors(folder):
    found = {(s.pretraining.label, s.step): s for s in summaries.summarize(summaries.read(find_runs(folder)))}
    assert len(found) == 9
    last = found["cifar10-sidae-w0.5", 40]
    assert (last.seeds, last.mean) == (3, pytest.approx(63))
    assert last.standard_error == pytest.approx(100 * np.std([0.6, 0.62, 0.67], ddof=1) / 3**0.5)
    assert found["cifar10-sidae-w0.25", 40].standard_error is None
    assert found["cifar10-simsiam", 0].mean == pytest.approx(25)


@pytest.mark.parametrize("dataset", ["cifar10", "mnist", "fashion_mnist", "stl10"])
def test_the_reference_is_the_config_file(dataset, tmp_path):
    for method in METHOD_SETTINGS:
        write_config(tmp_path / method, method, dataset)
        (run,) = find_runs(tmp_path / method)
        of_file = json.loads((tmp_path / method / "config.json").read_text())["config"]
        settings = reference.published_settings(method, dataset)
        assert (run.pretraining.settings, tables.settings_of(run.pretraining)) == ((), "")
        for key in ("w", "d_hid", "train_split", "epochs", "batch_size"):
            assert settings.get(key) == of_file.get(key)


def test_other_settings_are_named(tmp_path):
    changes = {"lr": 1.0, "stem": "cifar", "views.hue": 0.3, "views.crop_scale": [0.08, 1.0], "data_dir": "/x"}
    write_config(tmp_path, "sidae", **changes, log_every=3, w=0.25, seed=4)
    (run,) = find_runs(tmp_path)
    assert run.pretraining.settings == ("lr = 1", "stem = cifar", "crop_scale = [0.08, 1.0]", "hue = 0.3")
    assert tables.settings_of(run.pretraining) == f"w = 0.25, {', '.join(run.pretraining.settings)}"
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
    summarized = summaries.summarize(summaries.read(find_runs(tmp_path)))
    styles = RunStyles(s.pretraining for s in summarized)
    (svg,) = curves.accuracy_by_epoch(summarized, styles).values()
    assert {tmp_path.name, f"{tmp_path.name}; lr = 0.3"} <= set(texts(svg))


def test_of_two_folders_with_the_same_name_and_seed_the_first_counts(tmp_path, caplog):
    for run, accuracy in ((tmp_path / "a", 0.5), (tmp_path / "a" / "seed0", 0.9), (tmp_path / "a" / "seed1", 0.7)):
        write_config(run, "sidae", seed=int(run.name == "seed1"))
        write_results(run, [accuracy], [40])
    (found,) = summaries.summarize(summaries.read(find_runs(tmp_path)))
    assert (found.seeds, found.mean) == (2, pytest.approx(60))
    assert f"{tmp_path}/a/seed0 has the same name, seed and settings as {tmp_path}/a and is skipped" in caplog.text


def test_seeds_that_were_trained_on_other_images_are_not_averaged(tmp_path, caplog):
    for seed, (images, accuracy) in enumerate((("a", 0.5), ("b", 0.9), ("a", 0.7), (None, 0.6))):
        folder = tmp_path / "a" / f"seed{seed}"
        write_config(folder, "sidae", seed=seed)
        write_results(folder, [accuracy], [40])
        content = json.loads((folder / "config.json").read_text())
        del content["data_sha256"]
        content |= {"data_sha256": 64 * images} if images else {}
        (folder / "config.json").write_text(json.dumps(content))
    (found,) = summaries.summarize(summaries.read(find_runs(tmp_path)))
    assert (found.seeds, found.mean) == (3, pytest.approx(60))
    assert f"{tmp_path}/a/seed1 was trained on other images than {tmp_path}/a/seed0" in caplog.text
    (tmp_path / "a" / "seed1").rename(tmp_path / "a" / "seed1-png")
    first, second = summaries.summarize(summaries.read(find_runs(tmp_path)))
    assert sorted((first.seeds, second.seeds)) == [1, 3]
    assert caplog.text.count("skipped") == 1


def test_features_of_the_projector_are_kept_apart(tmp_path):
    write_config(tmp_path, "sidae")
    write_results(tmp_path, [0.5], [40], "a")
    write_results(tmp_path, [0.6], [40], "b", features="backbone")
    write_results(tmp_path, [0.9], [40], "c", features="projector")
    found = {s.task.settings: s.mean for s in summaries.summarize(summaries.read(find_runs(tmp_path)))}
    assert found == {(): pytest.approx(55), ("features = projector",): pytest.approx(90)}


def test_evaluations_on_several_folders_of_images_are_kept_apart(tmp_path):
    write_config(tmp_path, "sidae", "folder")
    on = {"a": ("/a/pets", 0.1, 0.2), "b": ("/b/pets", 0.1, 0.4), "c": ("/b/pets", 0.5, 0.6)}
    for name, (images, share, accuracy) in on.items():
        folder = {"dataset": "folder", "images": images, "test_share": share}
        write_results(tmp_path, [accuracy], steps=[20], name=name, **folder)
    found = summaries.summarize(summaries.read(find_runs(tmp_path)))
    assert {s.task.evaluated_on: s.mean for s in found} == {
        "folder /a/pets": pytest.approx(20),
        "folder /b/pets": pytest.approx(40),
        "folder /b/pets, test_share = 0.5": pytest.approx(60),
    }
    assert len(found) == 3


def test_evaluations_and_runs_of_other_precisions_are_kept_apart(tmp_path):
    """Records without the key are from before it, when products had XLA's default precision."""
    for seed in (0, 1):
        run = tmp_path / "a" / f"seed{seed}"
        write_config(run, "sidae", seed=seed)
        write_results(run, [0.5], [40], "old")
        write_results(run, [0.6 + seed / 10], [40], "default", precision="tensorfloat32")
        write_results(run, [0.9], [40], "rounded", precision="bfloat16")
        write_results(run, [0.8], [40], "full", precision="float32")
    write_config(tmp_path / "a" / "seed2", "sidae", seed=2, precision="bfloat16")
    write_results(tmp_path / "a" / "seed2", [0.2], [40], "rounded", precision="bfloat16")
    found = summaries.summarize(summaries.read(find_runs(tmp_path)))
    assert {(s.pretraining.settings, s.task.settings): (s.seeds, s.mean) for s in found} == {
        ((), ()): (2, pytest.approx(57.5)),  # of 55 and 60
        ((), ("precision = bfloat16",)): (2, pytest.approx(90)),
        ((), ("precision = float32",)): (2, pytest.approx(80)),
        (("precision = bfloat16",), ("precision = bfloat16",)): (1, pytest.approx(20)),
    }
    assert {table.title for table in tables.accuracy_tables(found)} == {
        PLAIN,
        PLAIN.replace("labels", "labels, precision = bfloat16"),
        PLAIN.replace("labels", "labels, precision = float32"),
    }


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


def test_a_run_is_named_alike_wherever_the_report_starts(tmp_path):
    for seed in (0, 1):
        write_config(tmp_path / "sweep" / "cifar10-dae" / f"seed{seed}", "dae", seed=seed)

    def names(*parts):
        return [run.pretraining.label for run in find_runs(tmp_path.joinpath("sweep", *parts))]

    assert names() == names("cifar10-dae") == ["cifar10-dae"] * 2
    assert names("cifar10-dae", "seed1") == ["cifar10-dae"]
