"""Damage of files that had no checksum: it was silent, or a traceback, and is now told."""

import json
import shutil
import struct

import numpy as np
import pytest
from run_commands import write_run
from saved_runs import PRETRAINING, state_arrays
from test_prepared import prepare

from sidae_jax import api, array_cache, grown_arrays
from sidae_jax.config_values import plain
from sidae_jax.data import load
from sidae_jax.errors import UserError
from sidae_jax.evaluation import picture_file, results
from sidae_jax.growing_entry import Part
from sidae_jax.report import run_index, training_curves
from sidae_jax.runs import done, measured, metrics_file, pretrained, status, sums, verify, weights_file
from sidae_jax.runs.checkpoint import Checkpoints, CorruptCheckpoint
from sidae_jax.runs.overview import Overview
from sidae_jax.runs.workdir import FORMAT, Workdir

LINES = [{"step": s, "epoch": s / 4, "loss": 0.5, "feature_std": 0.9, "knn": 0.25, "rankme": 3.0} for s in (4, 8)]


@pytest.fixture
def run(tmp_path):
    """A run whose files have their checksums, and of which a checkpoint notes what metrics.jsonl was."""
    folder = tmp_path / "run"
    content = "".join(json.dumps(line) + "\n" for line in LINES)
    folder.mkdir()
    (folder / "metrics.jsonl").write_text(content)
    config = {"format": FORMAT, "config": plain(PRETRAINING), "data_sha256": "a" * 64}
    (folder / "config.json").write_text(json.dumps(sums.sealed(config)))
    noted = {sums.METRICS: sums.of_metrics(content.encode())}
    with Checkpoints(folder, read_only=False) as checkpoints:
        metadata = {"step": 8, "epoch": 2.0, "config": PRETRAINING.to_dict(), "normalization": {}, **noted}
        checkpoints.save(8, state_arrays(), metadata, scheduled=True)
    return folder


def edit(path, old, new):
    assert path.read_text().count(old) >= 1
    path.write_text(path.read_text().replace(old, new, 1))


METRICS_DAMAGE = {
    "a digit": lambda path: edit(path, "0.25", "0.35"),
    "lines": lambda path: path.write_text(path.read_text().splitlines(keepends=True)[0]),
    "emptied": lambda path: path.write_text(""),
    "deleted": lambda path: path.unlink(),
}


@pytest.mark.parametrize("damage", METRICS_DAMAGE)
def test_damaged_metrics_are_told_by_all_that_read_them(run, damage, caplog):
    assert Overview(run, "run").problems == []
    path, told = run / "metrics.jsonl", "metrics.jsonl is not as it was when checkpoint 8 was saved"
    METRICS_DAMAGE[damage](path)
    assert any(told in problem for problem in Overview(run, "run").problems)
    for read in (lambda: api.Run(run).metrics, lambda: training_curves._metrics(path)):
        caplog.clear()
        read()
        assert told in caplog.text
    with (
        Checkpoints(run, read_only=True) as checkpoints,
        pytest.raises(UserError, match=f"step=best needs the kNN .* {told}"),
    ):
        pretrained.one_step(checkpoints, measured.BEST)
    caplog.clear()
    before = path.read_bytes() if path.exists() else b""
    with Workdir(run, PRETRAINING, lock=False).open_metrics(8):
        assert told in caplog.text
    assert (run / ".damaged-8-metrics.jsonl").read_bytes() == before


def test_lines_after_the_checkpoint_are_no_damage(run):
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({**LINES[1], "step": 9}) + "\n{")
    assert metrics_file.read(run / "metrics.jsonl")[1] == []
    Workdir(run, PRETRAINING, lock=False).open_metrics(8).close()
    assert metrics_file.read(run / "metrics.jsonl") == (LINES, [])
    assert not list(run.glob(".damaged*"))


def test_a_second_damage_is_kept_beside_the_first(run, caplog):
    path, whole = run / "metrics.jsonl", (run / "metrics.jsonl").read_text()
    for i, content in enumerate(
        (whole.replace("0.25", "0.35"), whole.replace("0.25", "0.45"), whole.replace("0.25", "0.35"))
    ):
        path.write_text(content)
        with Workdir(run, PRETRAINING, lock=True) as workdir:
            workdir.open_metrics(8).close()
        name = f".damaged-8-metrics.jsonl{'-1' if i == 1 else ''}"
        assert (run / name).read_text() == content
        assert f"stays as {run / name}." in caplog.text
    assert len(list(run.glob(".damaged*"))) == 2


def test_damage_of_metrics_is_told_until_the_user_has_seen_to_it(run):
    path, whole = run / "metrics.jsonl", (run / "metrics.jsonl").read_text()
    edit(path, "0.25", "0.95")
    with Workdir(run, PRETRAINING, lock=True) as workdir, workdir.open_metrics(8) as file:
        assert not workdir.metrics_certain
        file.write(json.dumps({**LINES[1], "step": 12}) + "\n")
    with Checkpoints(run, read_only=False) as checkpoints:  # the save after that
        noted = {sums.METRICS: sums.of_metrics(path.read_bytes())}
        metadata = {"step": 12, "epoch": 3.0, "config": PRETRAINING.to_dict(), "normalization": {}, **noted}
        checkpoints.save(12, state_arrays(), metadata, scheduled=True)
    told = "metrics.jsonl was damaged, as .damaged-8-metrics.jsonl still is"
    assert any(told in problem for problem in Overview(run, "run").problems)
    assert verify.verify([str(run)]) == 1
    with Checkpoints(run, read_only=True) as checkpoints, pytest.raises(UserError, match=told):
        pretrained.one_step(checkpoints, measured.BEST)
    with Workdir(run, PRETRAINING, lock=True) as workdir:
        workdir.open_metrics(12).close()
        assert told in workdir.metrics_damage
    assert len(list(run.glob(".damaged*"))) == 1
    path.write_text(whole + path.read_text().splitlines(keepends=True)[-1])
    (run / ".damaged-8-metrics.jsonl").unlink()
    assert not any("was damaged" in problem for problem in Overview(run, "run").problems)


def test_what_follows_the_last_save_is_done_again_whatever_it_is(run):
    with (run / "metrics.jsonl").open("ab") as file:
        file.write(b"\0" * 20 + b"\n" + json.dumps(LINES[1]).encode() + b"\n")
    with Workdir(run, PRETRAINING, lock=True) as workdir:
        workdir.open_metrics(8).close()
        assert workdir.metrics_certain
    assert (metrics_file.read(run / "metrics.jsonl"), list(run.glob(".damaged*"))) == ((LINES, []), [])


def test_a_damaged_result_is_kept_when_others_are_written(tmp_path, caplog):
    path = tmp_path / "eval" / "linear.jsonl"
    for step in (0, 8, 16):
        results.add(path, {"step": step, "accuracy": 0.5})
    edit(path, '"step": 8, "accuracy": 0.5', '"step": 8, "accuracy": 0.6')
    damaged = path.read_text()
    results.add(path, {"step": 24, "accuracy": 0.5})
    (aside,) = path.parent.glob(".*.damaged")
    assert aside.read_text() == damaged
    assert str(aside) in caplog.text
    assert [record["step"] for record in results.parse(path)[0]] == [0, 16, 24]
    overview = Overview(tmp_path, "run")
    overview.evaluations()
    assert any("eval/.linear.jsonl.damaged is a damaged result file" in problem for problem in overview.problems)


def test_a_save_while_metrics_are_read_is_no_damage(run, monkeypatch):
    path, read = run / "metrics.jsonl", metrics_file.read_regular
    whole = path.read_bytes()
    contents = [whole[: whole.index(b"\n") + 1]]  # of the first read, before the run went on and saved

    monkeypatch.setattr(metrics_file, "read_regular", lambda path: contents.pop() if contents else read(path))
    records, problems = metrics_file.read(path)
    assert (len(records), problems, contents) == (whole.count(b"\n"), [], [])
    contents = [whole[: whole.index(b"\n") + 1]]
    assert metrics_file.problem(path) is None


def test_metrics_that_cannot_be_read_are_one_sentence(run):
    (run / "metrics.jsonl").unlink()
    (run / "metrics.jsonl").mkdir()
    with pytest.raises(UserError, match=r"metrics.jsonl cannot be read \(Is a directory\): move it away"):
        Workdir(run, PRETRAINING, lock=False).open_metrics(8)


def test_a_setting_that_no_other_file_has_is_told(run, caplog):
    edit(run / "config.json", '"data_sha256": "aaa', '"data_sha256": "aba')
    wanted = "its checksum does not match"
    assert any(wanted in problem for problem in Overview(run, "run").problems)
    with pytest.raises(UserError, match=wanted):
        Workdir(run, PRETRAINING, lock=False)
    with pytest.raises(UserError, match=wanted):
        api.Run(run)
    assert run_index.find_runs(run) == []
    assert wanted in caplog.text
    caplog.clear()
    (run / "config.json").unlink()
    assert run_index.find_runs(run) == []
    assert "config.json is missing; the run is skipped" in caplog.text


def test_the_loss_beside_a_checkpoint_is_told(run):
    edit(run / "checkpoints/8/metadata/metadata", '"epoch": 2.0', '"epoch": 3.0')
    (problem, *_) = Overview(run, "run").problems
    assert problem.startswith("checkpoints/8 cannot be read: its checksum does not match")


def test_a_damaged_status_is_told(tmp_path):
    with status.StatusFile(tmp_path):
        pass
    assert status.read(tmp_path)["state"] == "finished"
    edit(tmp_path / "status.json", '"pid": ', '"pid": 1')
    with pytest.raises(ValueError, match="its checksum does not match"):
        status.read(tmp_path)


@pytest.mark.parametrize("damage", ["a digit", "the last line", "emptied"])
def test_damaged_results_are_told(tmp_path, caplog, damage):
    path = tmp_path / "eval" / "linear.jsonl"
    for step in (0, 4):
        results.add(path, {"step": step, "accuracy": 0.25})
    assert results.parse(path) == ([{"step": 0, "accuracy": 0.25}, {"step": 4, "accuracy": 0.25}], [])
    lines = path.read_text().splitlines(keepends=True)
    changed = {"a digit": [lines[0].replace("0.25", "0.35"), lines[1]], "the last line": lines[:1], "emptied": []}
    path.write_text("".join(changed[damage]))
    results.read(path)
    assert f"{path}: " in caplog.text


def test_results_that_cannot_be_read_are_one_sentence(tmp_path):
    (tmp_path / "linear.jsonl").mkdir()
    with pytest.raises(UserError, match=r"linear.jsonl cannot be read \(Is a directory\): move it away"):
        results.check_same_settings(tmp_path / "linear.jsonl", {})


def test_verify_finds_damaged_pictures_and_a_folder_in_the_place_of_results(tmp_path, capsys):
    folder = write_run(tmp_path, steps=(20, 40))
    assert verify.verify([str(folder)]) == 0
    (folder / "eval/other.jsonl").mkdir()
    (folder / "eval" / picture_file.NAME).write_bytes(b"PK")
    assert verify.verify([str(folder)]) == 1
    said = capsys.readouterr().out
    assert f"{folder}/eval/other.jsonl cannot be read" in said
    assert f"{folder}/eval/pictures.npz is corrupt" in said


@pytest.mark.parametrize("at", [6, 8, 10])  # of an entry: flags, the method of compression
def test_a_damaged_directory_of_pictures_is_an_error_of_theirs(tmp_path, at):
    path = tmp_path / "pictures.npz"
    np.savez(path, epoch=np.float32(1))
    content = bytearray(path.read_bytes())
    start = content.rindex(b"PK\1\2")
    content[start + at : start + at + 2] = struct.pack("<H", 0xFFFF)
    path.write_bytes(content)
    with pytest.raises((ValueError, KeyError)):
        picture_file.read(path)


@pytest.mark.parametrize("line", ["null", "[]", "3", '{"commands": 1}', "[" * 100_000, "\x00\udcff"])
def test_a_damaged_line_of_a_sweep_is_run_again(tmp_path, line):
    good = json.dumps({"command": ["main"], "seconds": 1.0})
    (tmp_path / "done.jsonl").write_bytes(f"{line}\n{good}\n".encode(errors="surrogateescape"))
    assert done.commands(tmp_path) == [["main"]]


def test_a_command_that_was_another_is_run_again(tmp_path):
    line = json.dumps(sums.sealed({"command": ["main", "--config.knn.k=2"], "seconds": 1.0}))
    (tmp_path / "done.jsonl").write_text(line.replace("k=2", "k=3") + "\n")
    assert done.commands(tmp_path) == []


def test_what_an_export_says_of_its_arrays_has_a_checksum(tmp_path):
    path = tmp_path / "encoder.safetensors"
    weights_file.write(path, {"a": np.ones(3, np.float32)}, {"sidae_jax": "0", "mean": "[0.25]"})
    assert weights_file.read(path, "it")[1]["mean"] == "[0.25]"
    content = path.read_bytes()
    path.write_bytes(content.replace(b"[0.25]", b"[0.35]"))
    with pytest.raises(UserError, match="it does not say of its arrays what was written to it"):
        weights_file.read(path, "it")


def test_a_folder_in_the_place_of_cached_images_is_one_sentence(tmp_path):
    rows = {"images": ((2,), np.uint8)}
    entry = array_cache.Entry(tmp_path, "some", {"of": "one"})
    entry.path("images.npy").mkdir()
    make = lambda _: iter([Part(1, {"images": np.ones((1, 2), np.uint8)}, [])])  # noqa: E731
    with pytest.raises(UserError, match=r"images.npy cannot be written \(Is a directory\): move away"):
        grown_arrays.load_or_grow(tmp_path, "some", rows, {"of": "one"}, 1, make)


@pytest.mark.usefixtures("cache_folder")
@pytest.mark.parametrize(
    ("old", "new"), [('"100"', '"101"'), ('"100"', '"99"'), ("{SPLIT}", "{SPLAT}"), ("{SPLIT}", "{SPLIT")]
)
def test_a_damaged_description_of_a_prepared_data_set_is_told(tmp_path, old, new):
    info = prepare(tmp_path, "pets", ["train"]) / "pets/1.0.0/dataset_info.json"
    text = info.read_text()
    assert old in text
    info.write_text(text.replace(old, new))
    with pytest.raises(UserError, match=r"pets"):
        load("pets", "train", str(tmp_path))


def test_a_run_whose_checkpoints_are_gone_is_not_started_anew(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    with Workdir(folder, PRETRAINING, lock=True) as workdir:
        workdir.write_config("a" * 64)
        workdir.status.opened(0, 20)
        workdir.status.saved_step = 8
    (folder / "metrics.jsonl").write_text(json.dumps(LINES[1]) + "\n")
    for _ in range(2):  # the start that is refused forgets nothing
        with pytest.raises(UserError, match=r"checkpoints is missing: status.json says that step 8 was saved"):
            Workdir(folder, PRETRAINING, lock=True)
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 1
    (folder / "checkpoints" / "8").mkdir(parents=True)
    with pytest.raises(KeyboardInterrupt), Workdir(folder, PRETRAINING, lock=True):
        raise KeyboardInterrupt  # before it has opened its checkpoints
    assert status.read(folder)["saved_step"] == 8


def test_a_run_of_which_only_the_results_were_kept_is_not_started_anew(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    with Workdir(folder, PRETRAINING, lock=True) as workdir:
        workdir.write_config("a" * 64)
    with Workdir(folder, PRETRAINING, lock=True) as workdir:  # killed before it had opened its checkpoints
        workdir.status.opened(0, 20)
        workdir.open_metrics(0).close()
    (folder / "metrics.jsonl").write_text(json.dumps(LINES[1]) + "\n")
    Workdir(folder, PRETRAINING, lock=False)  # killed before its first checkpoint: it is begun anew
    for lost in (lambda: (folder / status.FILE).write_text("{"), (folder / status.FILE).unlink):
        lost()
        with pytest.raises(
            UserError, match=r"checkpoints is missing: metrics.jsonl has lines, and no status.json says"
        ):
            Workdir(folder, PRETRAINING, lock=True)
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 1


def test_a_checkpoint_of_another_step_is_not_restored(run):
    shutil.copytree(run / "checkpoints" / "8", run / "checkpoints" / "12")
    with Checkpoints(run, read_only=True) as checkpoints:
        for read in (lambda: checkpoints.restore(12, state_arrays()), lambda: checkpoints.check(12)):
            with pytest.raises(CorruptCheckpoint, match="checkpoints/12: it is the checkpoint of step 8"):
                read()
    with Checkpoints(run, read_only=False) as checkpoints:
        step, _, _ = checkpoints.newest_intact(state_arrays())
    assert (step, (run / "checkpoints" / ".corrupt-12").is_dir()) == (8, True)
