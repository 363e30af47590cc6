"""A folder of damaged, turned and gray images is refused or skipped as asked, trains, and is evaluated."""

import json
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
from image_folders import BOMB, CUT, EMPTY, TEXT, ZEROS, write_digits
from PIL import Image

ROOT = pathlib.Path(__file__).parent.parent
ENVIRONMENT = os.environ | {
    "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
    "PYTHONPATH": str(ROOT),
}
TINY = ["--config.width=4", "--config.d_hid=32", "--config.batch_size=32", "--config.epochs=2"]

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def run(tmp_path):
    def run(program, *arguments):
        environment = ENVIRONMENT | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
        command = [sys.executable, "-m", f"sidae_jax.{program}", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, text=True, capture_output=True, timeout=300)

    return run


def test_a_folder_trains_and_is_evaluated(tmp_path, run):
    write_digits(tmp_path / "digits", 300, damaged={5: TEXT, 30: EMPTY, 31: CUT, 100: BOMB, 299: ZEROS})
    config = [f"--config={ROOT}/configs/folder.py:simsiam", "--config.images=digits", *TINY]
    refused = run("main", *config)
    assert refused.returncode == 2
    assert re.fullmatch(r"error: \d of the \d+ files of the folder .*--config.on_damage=skip .*\n", refused.stderr)
    done = run("main", *config, "--config.on_damage=skip")
    assert done.returncode == 0, done.stderr
    assert "are skipped" in done.stderr
    (workdir,) = (tmp_path / "runs").iterdir()
    assert re.fullmatch(r"folder-simsiam-.*imagesdigits-\w{6}.*", workdir.name)
    assert json.loads((workdir / "config.json").read_text())["config"]["images"] == str(tmp_path / "digits")

    def evaluated(*arguments):
        done = run("linear_eval", "--config.probe.epochs=2", *arguments)
        assert done.returncode == 0, done.stderr
        path = pathlib.Path(re.search(r"results in (.*)\n", done.stdout)[1])
        return done, path.name, [json.loads(line) for line in path.read_text().splitlines()]

    done, name, records = evaluated()
    assert name == "linear-folder-digits-1-seed0.jsonl"
    assert "classes 0, 1, 2, 3, 4, 5, 6, 7, 8, 9" in done.stdout
    assert {record["n_train"] + record["n_test"] for record in records} == {295}
    for record in records:
        assert (record["dataset"], record["images"]) == ("folder", str(tmp_path / "digits"))
        assert record["class_names"] == list("0123456789")

    rng = np.random.default_rng(0)
    for index in range(40):
        for split in ("train", "val"):
            path = tmp_path / "other" / split / ("dark", "light")[index % 2] / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 128, (9, 9), np.uint8) + np.uint8(127 * (index % 2))).save(path)
    _, name, records = evaluated("--config.images=other", "--step=0")
    assert name == "linear-folder-other-1-seed0.jsonl"
    assert (records[0]["class_names"], records[0]["n_train"], records[0]["n_test"]) == (["dark", "light"], 40, 40)
