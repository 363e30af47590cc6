"""`runs rm`: what it deletes, what it asks, and what it refuses."""

import os
import pty
import subprocess
import sys

import pytest
from report_files import write_config
from run_commands import ENVIRONMENT, runs, write_run


def answer(folder, text, *arguments):
    """What the program prints in a terminal in which the text is typed."""
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "sidae_jax.runs", "rm", *arguments]
    process = subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, stdin=follower, stdout=subprocess.PIPE, text=True)
    os.write(leader, text.encode())
    out, _ = process.communicate(timeout=60)
    os.close(leader)
    os.close(follower)
    return process.returncode, out


def test_rm_asks_and_deletes_nothing_else(tmp_path):
    run = write_run(tmp_path)
    (tmp_path / "runs" / "other").mkdir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x" * 5000)
    (run / "eval" / "mine").symlink_to(tmp_path / "mine")
    (run / "eval" / "thesis.tex").symlink_to(tmp_path / "mine" / "thesis.tex")
    code, out = answer(tmp_path, "y\n", "run")
    assert (code, run.exists()) == (1, True)
    assert out.endswith("nothing is deleted\n")
    size = sum(path.lstat().st_size for path in run.rglob("*") if path.is_symlink() or not path.is_dir())
    number = sum(path.is_symlink() or not path.is_dir() for path in run.rglob("*"))
    assert f"runs/run: {number} files, {size / 1000:.3g} kB\n" in out
    done = runs(tmp_path, "rm", "run")
    assert (done.returncode, run.exists()) == (2, True)
    assert "give --yes" in done.stderr
    code, out = answer(tmp_path, "yes\n", "run", "runs/run/")
    assert (code, run.exists()) == (0, False), out
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "x" * 5000
    assert (tmp_path / "runs" / "other").is_dir()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("runs", "runs has no config.json, so it is no run"),
        (".", ". has no config.json, so it is no run"),
        ("runs/run/checkpoints", "runs/run/checkpoints has no config.json, so it is no run, or a damaged one"),
        ("link", "link is a link, which rm does not follow: give "),
        ("outer", "outer holds other runs, such as runs/outer/inner"),
        ("half", "half has no checkpoints, so it is no run, or a damaged one: "),
    ],
)
def test_rm_refuses_what_is_no_run_and_then_deletes_nothing(tmp_path, name, says):
    run = write_run(tmp_path)
    root = tmp_path / "runs"
    (root / "link").symlink_to(run)
    subprocess.run(["cp", "-r", str(run), str(root / "outer")], check=True)
    subprocess.run(["cp", "-r", str(run), str(root / "outer" / "inner")], check=True)
    write_config(root / "half", "simsiam", "digits")
    before = sorted(tmp_path.rglob("*"))
    done = runs(tmp_path, "rm", "run", name, "--yes")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {says}")
    assert done.stderr.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before
