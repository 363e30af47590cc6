"""The report's tables of claims: which runs are compared, what stands beside them."""

import shutil

import pytest
from report_files import write_config, write_results

from sidae_jax.report import build, claim_tables, pages, summaries
from sidae_jax.report.run_index import find_runs

THIN = {"train_split": "train[:10240]", "width": 16, "d_hid": 512}


def test_checkpoints_of_other_seeds_are_no_pair(tmp_path):
    write_runs(tmp_path, "sidae", "sidae", [[0.2, 0.3, 0.60], [0.2, 0.3, 0.61], [0.2, 0.3, 0.62]], **THIN)
    for seed, lost in enumerate(('"step": 100,', '"step": 200,', '"step": 200,')):
        path = tmp_path / "sidae" / f"seed{seed}" / "eval" / "probe.jsonl"
        path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if lost not in line))
    (rows,) = table_of(tmp_path).values()
    (line,) = rows.values()
    assert line == ("", "", "", "0", "", "cannot be said")


def test_checkpoints_of_two_runs_are_no_pair(tmp_path):
    """The interval is Welch's, where the differences in each seed, all equal, would have one of no width."""
    write_runs(tmp_path, "old", "sidae", [[0.30], [0.40], [0.50]], [100], **THIN)
    write_runs(tmp_path, "new", "sidae", [[0.31], [0.41], [0.51]], [200], **THIN)
    for path in (tmp_path / "old").rglob("probe.jsonl"):
        path.write_text(path.read_text().replace('"epoch": 200.0', '"epoch": 100.0'))
    (rows,) = table_of(tmp_path).values()
    (line,) = rows.values()
    # 10 * sqrt(2 / 3) = 8.165; t of four degrees of freedom at 0.975 is 2.776
    assert line[1:] == ("+1.00 (8.16)", "-21.67 to 23.67", "3", "3 of 3", "cannot be said")


def write_runs(
    folder, name, method, accuracies, steps=(0, 100, 200), dataset="cifar10", results=(), evaluation=None, **changes
):
    """Writes runs with these accuracies at the steps, which are epochs, one list for each seed."""
    for seed, of_seed in enumerate(accuracies):
        run = folder / name / f"seed{seed}"
        write_config(run, method, dataset, seed=seed, **changes)
        write_results(run, of_seed, steps, **{"dataset": dataset} | (evaluation or {}))
        for i, (values, at, other) in enumerate(results):
            write_results(run, values[seed], at, name=f"other{i}", dataset=dataset, **other)


def table_of(folder):
    tables = claim_tables.claim_tables(summaries.read(find_runs(folder)))
    return {table.title: {tuple(row[:4]): row[4:] for row in table.rows} for table in tables}


def test_a_claim_has_the_published_difference_beside_ours_and_its_verdict(tmp_path):
    sidae = [[0.2, 0.4, 0.60], [0.2, 0.4, 0.61], [0.2, 0.4, 0.62]]
    write_runs(tmp_path, "sidae", "sidae", sidae, **THIN)
    write_runs(tmp_path, "simsiam", "simsiam", [[0.2, 0.3, 0.50], [0.2, 0.3, 0.55], [0.2, 0.3, 0.51]], **THIN)
    write_runs(tmp_path, "dae", "dae", [[0.2, 0.3, 0.70], [0.2, 0.3, 0.71]], **THIN)
    ((title, rows),) = table_of(tmp_path).items()
    assert title == "The papers' claims: train[:10240], 200 epochs, batches of 512, width 16, d = 512"
    above = rows["SidAE (w = 0.5) is above SimSiam", "cifar10", "100%", "paper, Table 1"]
    assert (above[0], above[1].partition(" ")[0]) == ("+7.67 (3.17)", "+9.00")  # 64.75 - 57.08
    assert above[3:] == ("3", "3 of 3", "holds")
    below = rows["SidAE (w = 0.5) is above DAE", "cifar10", "100%", "paper, Table 1"]
    assert below[0] == "+7.31 (0.41)"  # 64.75 - 57.44
    assert below[3:] == ("3, 2", "0 of 2", "cannot be said")  # two seeds
    steadier = rows["SidAE (w = 0.5) is steadier than SimSiam", "cifar10", "100%", "paper, 4.2"]
    assert steadier[:2] == ("0.27 : 3.16", "0.58 : 1.53")
    grown = rows["SidAE (w = 0.5) is above SidAE (w = 0.5, epoch 100)", "cifar10", "100%", "paper, Figure 4"]
    assert grown == ("", "+21.00 (0.58)", "18.52 to 23.48", "3", "3 of 3", "holds")
    assert not any("STL" in key[1] or key[1] == "mnist" for key in rows)


def between_methods(folder):
    return {key[0] for rows in table_of(folder).values() for key in rows if "epoch" not in key[0]}


@pytest.mark.parametrize(
    ("run", "evaluation"),
    [
        ({"train_split": "train"}, {}),
        ({"epochs": 100}, {"steps": (0, 50, 100)}),
        ({"batch_size": 256}, {}),
        ({"width": 32}, {}),
        ({"d_hid": 256}, {}),
        ({"lr": 0.1}, {}),
        ({"precision": "float32"}, {"precision": "float32"}),
        ({}, {"train_split": "train[:5000]"}),
        ({}, {"test_split": "test[:5000]"}),
        ({}, {"labeled_rows_sha256": "b" * 64}),
    ],
)
def test_runs_and_evaluations_of_other_scales_are_not_compared(tmp_path, run, evaluation):
    values = [[0.2, 0.3, 0.5]] * 3
    alike = {"labeled_rows_sha256": "a" * 64}
    write_runs(tmp_path, "sidae", "sidae", values, evaluation=alike, **THIN)
    write_runs(tmp_path, "simsiam", "simsiam", values, evaluation=alike, **THIN)
    names = {"SidAE (w = 0.5) is above SimSiam", "SidAE (w = 0.5) is steadier than SimSiam"}
    assert between_methods(tmp_path) == names
    steps = evaluation.pop("steps", (0, 100, 200))
    write_runs(tmp_path, "dae", "dae", values, steps, evaluation=alike | evaluation, **THIN | run)
    assert between_methods(tmp_path) == names
    write_runs(tmp_path, "dae", "dae", values, evaluation=alike, **THIN)
    assert "SidAE (w = 0.5) is above DAE" in between_methods(tmp_path)


@pytest.mark.parametrize(
    "evaluation", [{"probe": {"epochs": 50, "batch_size": 256, "lr": 0.1, "momentum": 0.9}}, {"precision": "float32"}]
)
def test_evaluations_with_other_settings_than_the_protocols_are_left_out(tmp_path, evaluation):
    write_runs(tmp_path, "sidae", "sidae", [[0.2, 0.3, 0.5]] * 3, evaluation=evaluation, **THIN)
    assert table_of(tmp_path) == {}


def test_a_precision_that_is_the_runs_own_is_no_other_setting(tmp_path):
    for method in ("sidae", "simsiam"):
        own = {"precision": "float32"}
        write_runs(tmp_path, method, method, [[0.2, 0.3, 0.5]] * 3, evaluation=own, **own, **THIN)
    assert "SidAE (w = 0.5) is above SimSiam" in between_methods(tmp_path)


def test_a_setting_that_one_method_alone_has_is_named_and_keeps_no_pair_apart(tmp_path):
    write_runs(tmp_path, "sidae", "sidae", [[0.2, 0.3, 0.5]] * 3, target="view", **THIN)
    write_runs(tmp_path, "simsiam", "simsiam", [[0.2, 0.3, 0.4]] * 3, **THIN)
    (table,) = claim_tables.claim_tables(summaries.read(find_runs(tmp_path)))
    assert "SidAE (w = 0.5) is above SimSiam" in {row[0] for row in table.rows}
    assert "sidae has target = view." in table.notes


def test_runs_that_share_their_settings_are_not_mixed(tmp_path):
    write_runs(tmp_path, "first/sidae", "sidae", [[0.2, 0.3, 0.6]] * 3, **THIN)
    write_runs(tmp_path, "second/sidae", "sidae", [[0.2, 0.3, 0.4]] * 3, **THIN)
    write_runs(tmp_path, "simsiam", "simsiam", [[0.2, 0.3, 0.5]] * 3, **THIN)
    for name in ("first/odd", "second/odd"):  # no claim is about this weight
        write_runs(tmp_path, name, "sidae", [[0.2, 0.3, 0.4]] * 3, w=0.3, **THIN)
    (table,) = claim_tables.claim_tables(summaries.read(find_runs(tmp_path)))
    assert not any("SidAE" in row[0] or "odd" in note for row in table.rows for note in table.notes)
    note = "Left out, since any of them could be meant: first/sidae, second/sidae."
    assert table.notes[-1] == note
    shutil.rmtree(tmp_path / "simsiam")  # and no claim is left
    (table,) = claim_tables.claim_tables(summaries.read(find_runs(tmp_path)))
    assert (table.rows, table.notes[-1]) == ([], note)
    assert "|" not in pages.markdown_table(table)
    assert "<table" not in pages.html_table(table)


def test_where_no_claim_can_be_compared_the_report_says_so(tmp_path):
    write_runs(tmp_path, "sidae", "sidae", [[0.2, 0.3, 0.6]] * 3, w=0.3, **THIN)  # a weight of no claim
    runs = find_runs(tmp_path)
    page = pages.markdown_page(build.build("name", runs, summaries.read(runs)))
    assert "## Tables\n\n### The papers' claims\n\nNone has both sides among these runs: " in page


def test_several_results_of_a_seed_are_averaged(tmp_path):
    again = ([[0.2, 0.3, 0.7]] * 3, (0, 100, 200), {})
    write_runs(tmp_path, "sidae", "sidae", [[0.2, 0.3, 0.5]] * 3, results=[again], **THIN)
    (rows,) = table_of(tmp_path).values()
    line = rows["SidAE (w = 0.5) is above SidAE (w = 0.5, epoch 100)", "cifar10", "100%", "paper, Figure 4"]
    assert line[1].startswith("+30.00")


def test_methods_that_are_near_each_other_hold_that_claim(tmp_path):
    write_runs(tmp_path, "simsiam", "simsiam", [[0.2, 0.3, 0.500], [0.2, 0.3, 0.501], [0.2, 0.3, 0.502]], **THIN)
    write_runs(tmp_path, "dae", "dae", [[0.2, 0.3, 0.501], [0.2, 0.3, 0.502], [0.2, 0.3, 0.503]], **THIN)
    (rows,) = table_of(tmp_path).values()
    near = rows["SimSiam is near DAE", "cifar10", "100%", "paper, Figure 4"]
    assert near == ("-0.36 (3.18)", "-0.10 (0.08)", "-0.33 to 0.13", "3", "3 of 3", "holds")  # 57.08 - 57.44


def test_a_checkpoint_within_an_epoch_is_not_that_of_the_epoch(tmp_path):
    write_runs(tmp_path, "sidae", "sidae", [[0.2, 0.3, 0.5]] * 3, **THIN)
    path = tmp_path / "sidae" / "seed0" / "eval" / "probe.jsonl"
    path.write_text(path.read_text().replace('"epoch": 100.0', '"epoch": 100.5'))
    (rows,) = table_of(tmp_path).values()
    assert {row[3] for row in rows.values()} == {"2"}


def test_the_data_are_those_of_the_pretraining_and_of_the_evaluation(tmp_path):
    for method, values in (("sidae", [0.2, 0.3, 0.6]), ("simsiam", [0.2, 0.3, 0.5])):
        w = {"w": 0.25} if method == "sidae" else {}
        on = {"dataset": "stl10", "evaluation": {"dataset": "cifar10"}}
        write_runs(tmp_path, method, method, [values] * 3, **on, **w, **THIN | {"train_split": "unlabelled"})
    (rows,) = table_of(tmp_path).values()
    assert ("SidAE (w = 0.25) is above SimSiam", "stl10, then cifar10", "100%", "paper, Table 1") in rows


def test_notes_on_published_accuracies_stand_below_the_claims(tmp_path):
    for method, values in (("sidae", [0.2, 0.3, 0.6]), ("simsiam", [0.2, 0.3, 0.5])):
        write_runs(tmp_path, method, method, [values] * 3, dataset="fashion_mnist", **THIN)
    (table,) = claim_tables.claim_tables(summaries.read(find_runs(tmp_path)))
    published = {row[0]: row[4] for row in table.rows}
    number = len(claim_tables.NOTES) + 1
    assert published["SidAE (w = 0.5) is above SimSiam"] == f"+3.68 (0.15) [{number}]"  # 88.78 - 85.10
    assert published["SidAE (w = 0.5) is steadier than SimSiam"] == f"0.12 : 0.09 [{number}]"
    assert "under w = 0.75, and 88.63 (0.12) under w = 0.5" in table.notes[number - 1]


def test_a_run_that_has_not_ended_has_no_last_checkpoint(tmp_path):
    write_runs(tmp_path, "sidae", "sidae", [[0.2, 0.3, 0.5]] * 3, epochs=400, **THIN)
    write_runs(tmp_path, "simsiam", "simsiam", [[0.2, 0.3, 0.5]] * 3, epochs=400, **THIN)
    assert table_of(tmp_path) == {}


def test_a_checkpoint_is_not_compared_with_itself(tmp_path):
    """That of epoch 100, with which a claim compares the last one, is the last one itself here."""
    write_runs(tmp_path, "sidae", "sidae", [[0.2, 0.5]] * 3, (0, 100), epochs=200, **THIN)
    for path in tmp_path.rglob("probe.jsonl"):
        path.write_text(path.read_text().replace('"epoch": 200.0', '"epoch": 100.0'))
    for path in tmp_path.rglob("config.json"):
        path.write_text(path.read_text().replace('"epochs": 200', '"epochs": 100'))
    assert table_of(tmp_path) == {}


def test_training_from_scratch_is_the_untrained_backbone_fine_tuned(tmp_path):
    few = {"label_fraction": 0.01, "n_train": 500}
    scratch = ([[0.20], [0.21], [0.22]], (0,), {**few, "protocol": "finetune"})
    probe = ([[0.1, 0.3, 0.4], [0.1, 0.31, 0.4], [0.1, 0.32, 0.4]], (0, 25, 200), few)
    write_runs(tmp_path, "sidae", "sidae", [[0.2, 0.3, 0.5]] * 3, results=[scratch, probe], **THIN)
    (rows,) = table_of(tmp_path).values()
    name = "SidAE (w = 0.5, epoch 25) is above supervised from scratch"
    line = rows[name, "cifar10", "1%", "paper, Figure 4"]
    assert line == ("", "+10.00 (0.82)", "7.73 to 12.27", "3", "3 of 3", "holds")
