"""Damaged and hostile runs are lines, not ends; verify finds what is wrong; a user's mistakes are one sentence."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from run_commands import ENVIRONMENT, ROOT, listed, runs, write_run
from saved_runs import flip_a_bit, state_arrays

from sidae_jax.runs.__main__ import main

HOSTILE = "[red]x[/red]\x1b[2J\nb\u202e:smile:"


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    folder = tmp_path_factory.mktemp("intact")
    write_run(folder)
    return folder


def data_file(run, step):
    return max((run / "checkpoints" / str(step) / "state").rglob("d/*"), key=lambda path: path.stat().st_size)


def test_an_intact_run_is_verified(intact):
    done = runs(intact, "verify", "run")
    number = 2 * len(state_arrays())
    assert (done.stdout, done.stderr, done.returncode) == (f"2 checkpoints, {number} arrays intact\n", "", 0)


DAMAGE = {
    "a bit of an array": (lambda run: flip_in_the_middle(data_file(run, 20)), "checkpoints/20"),
    "a file of arrays": (lambda run: data_file(run, 40).unlink(), "checkpoints/40"),
    "metadata": (lambda run: flip_a_bit(run / "checkpoints/40/metadata/metadata"), "checkpoints/40"),
    "a checkpoint in another's place": (
        lambda run: in_place_of(run / "checkpoints" / "20", run / "checkpoints" / "40"),
        "checkpoints/40: it is the checkpoint of step 20",
    ),
    "config.json": (lambda run: (run / "config.json").write_text("{"), "config.json cannot be read"),
    "a value in config.json": (
        lambda run: edit(run / "config.json", '"momentum": 0.9', '"momentum": 9.0'),
        "config.json is not valid: config.momentum=9.0",
    ),
    "another setting": (
        lambda run: edit(run / "config.json", '"lr": 0.03', '"lr": 0.02'),
        "checkpoints/20 was saved with another lr (0.03) than",
    ),
    "a line of metrics": (
        lambda run: edit(run / "metrics.jsonl", '{"step": 20', '{"step": x'),
        "metrics.jsonl: line 2 is corrupt",
    ),
    "lost lines of metrics": (lambda run: (run / "metrics.jsonl").write_text(""), "metrics.jsonl ends before step 40"),
    "a line after the end": (lambda run: (end(run), append(run, {"step": 50})), "metrics.jsonl has a line of step 50"),
    "the newest checkpoint": (
        lambda run: (end(run), shutil.rmtree(run / "checkpoints/40")),
        "status.json says that step 40 was saved, and the newest checkpoint is of step 20",
    ),
    "a result twice": (
        lambda run: twice(run / "eval/probe.jsonl"),
        "eval/probe.jsonl: 4 lines are there, of 3 that were written",
    ),
    "settings of another kind": (
        lambda run: (run / "config.json").write_text("[]"),
        "config.json cannot be read: it has no settings of a run",
    ),
    "a result": (lambda run: edit(run / "eval/probe.jsonl", "0.4", "4"), "eval/probe.jsonl"),
    "status.json": (lambda run: (run / "status.json").write_text("{}"), "status.json cannot be read"),
}


def in_place_of(one, other):
    shutil.rmtree(other)
    one.rename(other)


def end(run):
    content = {"state": "finished", "time": 1.0, "host": "vm", "saved_step": 40}
    (run / "status.json").write_text(json.dumps(content))


def append(run, record):
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(record) + "\n")


def twice(path):
    records = [json.loads(line) for line in path.read_text().splitlines()]
    lines = [json.dumps({**record, "records": len(records)}) for record in records]
    path.write_text("\n".join([*lines, lines[-1]]) + "\n")


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def flip_in_the_middle(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def content_of(folder):
    return {path: path.is_dir() or path.read_bytes() for path in folder.rglob("*")}


@pytest.fixture(scope="module")
def verified(intact, tmp_path_factory):
    """The lines that verify prints of a folder with a run for each damage; one process, since it imports JAX."""
    folder = tmp_path_factory.mktemp("verified")
    for name, (damage, _) in DAMAGE.items():
        damage(shutil.copytree(intact / "runs" / "run", folder / "runs" / name))
    before = content_of(folder)
    done = runs(folder, "verify", "runs")
    assert (done.returncode, done.stderr) == (1, "")
    assert content_of(folder) == before
    assert set(listed(folder)) == set(DAMAGE)
    return done.stdout.splitlines()


@pytest.mark.parametrize("name", DAMAGE)
def test_verify_names_the_file_that_is_damaged(verified, name):
    *problems, last = verified
    assert [line for line in problems if f"/{name}/{DAMAGE[name][1]}" in f"/{line}"], problems
    assert last.endswith(f" in {len(DAMAGE)} runs; {len(problems)} problems")


def damaged_runs(folder):
    """Writes one run for each kind of damage, and returns their names."""
    root = folder / "runs"
    hostile = {"method": HOSTILE, "dataset": HOSTILE, "train_split": HOSTILE, "epochs": 1}
    files = {
        "broken": {"config.json": "{", "metrics.jsonl": "{"},
        "missing": {"metrics.jsonl": ""},
        "deep": {"config.json": "[" * 100_000, "status.json": "[" * 100_000, "metrics.jsonl": "[" * 100_000 + "\n"},
        "other": {"config.json": '{"config": {"method": [], "dataset": 3}}', "metrics.jsonl": '{"step": "x"}\n'},
        "nan": {"metrics.jsonl": '{"step": 3, "epoch": NaN, "loss": NaN}\n{"step": 4, "epoch": 1e999, "loss": 1}\n'},
        "huge": {"metrics.jsonl": '{"step": 3, "epoch": 1, "loss": 1' + "0" * 400 + ', "eta_seconds": Infinity}\n'},
        "bytes": {"config.json": b"\xff\xfe", "status.json": b"\xff", "metrics.jsonl": b"\xff\n\x00\n"},
        HOSTILE: {"config.json": json.dumps({"config": hostile})},
    }
    for name, contents in files.items():
        (root / name).mkdir(parents=True)
        for file, content in contents.items():
            (root / name / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    for file in ("checkpoints", "config.json", "metrics.jsonl", "status.json", "eval"):
        (root / "folders" / file).mkdir(parents=True)
    (root / "pipes").mkdir()
    for file in ("config.json", "metrics.jsonl", "status.json", ".lock"):
        os.mkfifo(root / "pipes" / file)
    (root / "loop").mkdir()
    (root / "loop" / "metrics.jsonl").symlink_to("metrics.jsonl")
    (root / "loop" / "up").symlink_to("..")
    (root / "not utf-8 \udcff" / "checkpoints" / "7").mkdir(parents=True)
    return [*files, "folders", "pipes", "loop", "not utf-8 \udcff"]


def test_damaged_runs_are_lines_for_every_command(tmp_path, monkeypatch, capsys):
    names = damaged_runs(tmp_path)
    write_run(tmp_path, "whole", steps=(20,))
    done = runs(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert not set(done.stdout) & {"\x1b", "\u202e"}
    assert "[red]x[/red]\\x1b[2J\\nb\\u202e:smile:" in done.stdout
    found = listed(tmp_path)
    assert {name.encode("utf-8", "surrogateescape").decode(errors="replace") for name in found} >= {"whole", "pipes"}
    assert len(found) == len(names) + 1
    assert found["whole"]["problems"] == []
    for name in ("broken", "missing", "deep", "other", "bytes", "folders", "pipes", "loop"):
        assert found[name]["problems"], name
    monkeypatch.chdir(tmp_path)
    for arguments in [["show", f"runs/{name}", *as_json] for name in names for as_json in ([], ["--json"])]:
        with pytest.raises(SystemExit) as left:
            main(arguments)
        assert left.value.code == 0, arguments
        assert not set(capsys.readouterr().out) & {"\x1b", "\u202e"}
    done = runs(tmp_path, "compare", *(f"runs/{name}" for name in names))
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    done = runs(tmp_path, "verify", "runs")
    assert (done.returncode, done.stderr) == (1, ""), done.stderr
    assert "runs/pipes/config.json cannot be read" in done.stdout


MISTAKES = {
    "none": "there is no folder .*/runs: give that of the runs, .*",
    "shw": r"shw does not exist or is no folder: did you mean the command show\?",
    "show": "the following arguments are required: RUN: .* --help lists the commands",
    "show nowhere": "nowhere does not exist or is no folder: give the folder of a run, such as .*",
    "show .": ". is not the folder of a run: .*",
    "compare run": "compare needs two runs or more: give another RUN",
    "rm /proc --yes": "/proc has no config.json, so it is no run.*",
    "verify .": ". is not the folder of a run: .*",
    "list --jsn": "unrecognized arguments: --jsn: .*",
    "rm --yse x": "unrecognized arguments: --yse: .*",
}


@pytest.mark.parametrize("command", MISTAKES)
def test_a_mistake_is_answered_with_one_sentence(tmp_path, command):
    done = runs(tmp_path, *([] if command == "none" else command.split()))
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(f"error: {MISTAKES[command]}\n", done.stderr), done.stderr


def test_help_shows_every_command():
    done = runs(ROOT, "--help")
    assert done.returncode == 0
    for command in ("[DIR]", "show RUN", "compare RUN RUN", "rm RUN", "verify RUN", "--yes", "--json"):
        assert command in done.stdout


def test_a_reader_that_has_seen_enough_is_no_error(intact):
    command = f"{sys.executable} -m sidae_jax.runs show run | head -1"
    done = subprocess.run(
        ["bash", "-c", command], cwd=intact, env=ENVIRONMENT, capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
