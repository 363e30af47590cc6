"""The report beside corrupt runs and files, and with names that would be markup."""

import dataclasses
import html
import json
import re
import shutil
import xml.etree.ElementTree

import numpy as np
import pytest
from report_files import ROOT, colored, run_report, texts, write_config, write_results, write_sweep

from sidae_jax import config_files
from sidae_jax.evaluation import picture_file
from sidae_jax.report import pages


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_sweep(tmp_path_factory.mktemp("runs"))


HOSTILE = r"x$\frac$ <script>alert(1)<\script> | `a` [b](javascript:c) *d* _e_"


def hostile_runs(folder):
    """Writes corrupt runs and files; returns those that the warnings have to name."""
    named = []
    config = config_files.load_config(f"{ROOT}/configs/cifar10.py:sidae", ()).to_dict()
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
    ended = {name: run_report(f"--workdir={tmp_path / name / 'runs'}") for name in ("alone", "beside")}
    for name in ("alone", "beside"):
        assert ended[name].returncode == 0, ended[name].stderr
    assert "Traceback" not in ended["beside"].stderr
    for path in named:
        assert str(path) in ended["beside"].stderr, path
    alone, beside = (tmp_path / name / "runs" / "report" for name in ("alone", "beside"))
    files = sorted(path.relative_to(alone) for path in alone.rglob("*.*"))
    assert files == sorted(path.relative_to(beside) for path in beside.rglob("*.*"))
    for file in files:
        before, after = ((folder_of / file).read_text() for folder_of in (alone, beside))
        if file.name == "report.md":
            after, _, left = after.partition("\n## Left out of this report\n")
            assert left.count("\n* ") > 50
        elif file.name == "report.html":
            after, left = re.subn(r"<h2>Left out of this report</h2>\n<ul>\n.*</ul>\n", "", after, flags=re.DOTALL)
            assert left == 1
        assert before == after, file


def test_hostile_names_are_shown_and_have_no_effect(tmp_path):
    """The pages and figures show a hostile name, data set and settings literally."""
    for number, name in enumerate(("_baseline", r"x$\frac$", "<img src=x onerror=alert(1)>", "b\udcffad\x01")):
        run = tmp_path / "runs" / name / "seed0"
        config = config_files.load_config(f"{ROOT}/configs/cifar10.py:sidae", ()).to_dict()
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
    ended = run_report(f"--workdir={tmp_path / 'runs'}")
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
