"""The result file of an evaluation."""

import json
import subprocess
import sys

import pytest

from sidae_jax.errors import UserError
from sidae_jax.evaluation import results

SETTINGS = {"protocol": "linear", "probe": {"epochs": 50}}


def test_records_are_kept_by_step_in_the_order_of_the_steps(tmp_path):
    path = tmp_path / "eval" / "linear.jsonl"
    assert results.read(path) == []
    for step, accuracy in ((20, 0.5), (0, 0.1), (20, 0.6)):
        results.add(path, {"step": step, **SETTINGS, "accuracy": accuracy})
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["step"], line["accuracy"]) for line in lines] == [(0, 0.1), (20, 0.6)]


def test_a_line_cut_short_is_skipped_with_a_warning(tmp_path, caplog):
    path = tmp_path / "linear.jsonl"
    results.add(path, {"step": 20, "accuracy": 0.5})
    path.write_text(path.read_text() + '{"step": 40, "accu')
    results.add(path, {"step": 60, "accuracy": 0.7})
    assert [record["step"] for record in results.read(path)] == [20, 60]
    assert f"{path}: line 2 is corrupt" in caplog.text


def test_results_of_other_settings_are_not_mixed(tmp_path):
    path = tmp_path / "linear.jsonl"
    results.add(path, {"step": 20, **SETTINGS, "accuracy": 0.5, "seconds": 1.0})
    results.check_same_settings(path, SETTINGS)
    with pytest.raises(UserError, match=r"probe: {'epochs': 50} -> {'epochs': 1}\): move it away"):
        results.check_same_settings(path, SETTINGS | {"probe": {"epochs": 1}})


def test_results_written_before_a_key_was_renamed_are_of_the_same_settings(tmp_path):
    path = tmp_path / "linear.jsonl"
    path.write_text(json.dumps({"step": 20, "labelled_rows_sha256": "ab", "accuracy": 0.5}) + "\n")
    results.check_same_settings(path, {"labeled_rows_sha256": "ab", "precision": "tensorfloat32"})
    with pytest.raises(UserError, match="precision: tensorfloat32 -> bfloat16"):
        results.check_same_settings(path, {"labeled_rows_sha256": "ab", "precision": "bfloat16"})
    with pytest.raises(UserError, match="labeled_rows_sha256: ab -> cd"):
        results.check_same_settings(path, {"labeled_rows_sha256": "cd"})
    assert results.read(path) == [
        {"step": 20, "labeled_rows_sha256": "ab", "accuracy": 0.5, "precision": "tensorfloat32"}
    ]


def test_writers_at_once_lose_nothing(tmp_path):
    path = tmp_path / "eval" / "linear.jsonl"
    program = (
        "import pathlib, sys; from sidae_jax.evaluation import results\n"
        "print(flush=True); input()\n"
        "for i in range(20):\n"
        "    results.add(pathlib.Path(sys.argv[1]), {'step': 4 * i + int(sys.argv[2]), 'writer': int(sys.argv[2])})"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    writers = [subprocess.Popen([sys.executable, "-c", program, path, str(i)], **pipes) for i in range(4)]
    for writer in writers:
        writer.stdout.readline()  # it has imported all it needs
    for writer in writers:
        writer.stdin.write("\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=60)
        assert writer.returncode == 0
    assert [(record["step"], record["writer"]) for record in results.read(path)] == [(i, i % 4) for i in range(80)]


@pytest.mark.parametrize(
    "line", [b"\xff\xfe", b'{"step": "4"}', b'{"step": [1]}', b'{"step": true}', b"[" * 100_000, b'{"st']
)
def test_a_corrupt_line_is_skipped_and_the_new_record_kept(tmp_path, line, caplog):
    path = tmp_path / "eval" / "linear.jsonl"
    results.add(path, {"step": 8, "accuracy": 0.5})
    path.write_bytes(line + b"\n" + path.read_bytes())
    results.check_same_settings(path, {})
    results.add(path, {"step": 4, "accuracy": 0.25})
    assert results.read(path) == [{"step": 4, "accuracy": 0.25}, {"step": 8, "accuracy": 0.5}]
    assert "corrupt" in caplog.text
