"""Configs that are wrong, and configs that do not fit the run or file that they meet: one sentence, and exit code 2."""

import json
import pathlib
import re
import time
from collections.abc import Iterator

from cli_mistakes import EVALUATE, MAIN, Mistake, digits, folder
from run_commands import write_run
from saved_runs import PRETRAINING, save, trained_arrays

from reliability import commands
from reliability.outcomes import Outcome, in_parallel
from sidae_jax.config_values import plain
from sidae_jax.runs.workdir import FORMAT

TITLE = "Wrong configs"
TEXT = """
Commands with a config that cannot work: values of another type, below, above and outside of their range, NaN, huge,
contradicting keys, keys of other methods and programs, splits and files that are not there. And commands whose config
is right, but does not fit the run, checkpoint or file that they are given: evaluations, exports, starts from another
run's encoder and continuations. They are beside those of `tests/cli_mistakes.py`.

Promised: one sentence that names the key, the value or the file, and exit code 2. Nothing is compiled, decoded or
written. Each is tried a second time alone, and takes less than five seconds.
"""
_SECONDS = 5.0


def _simsiam(arguments: str, says: str, run: str = "{run}") -> Mistake:
    """Of a run with the settings of `saved_runs.PRETRAINING`, but for the arguments."""
    same = "--config=configs/digits.py:simsiam --config.width=4 --config.d_hid=32 --config.seed=3 --config.epochs=200"
    same += " --config.batch_size=512 --config.checkpoint_every=25 --config.views.p_blur=0"
    return Mistake(MAIN, f"{same} --workdir={run} {arguments}", says)


def _on(run: str, arguments: str, says: str, program: str = EVALUATE) -> Mistake:
    return Mistake(program, f"--workdir={{tmp}}/runs/{run} {arguments}", says)


CONFIGS = {
    "NaN": digits("--config.lr=nan", "config.lr=nan is out of range: .* above 0"),
    "negative": digits("--config.lr=-1", "config.lr=-1.0 is out of range: .*"),
    "infinite": digits("--config.lr=1e999", "config.lr=inf is out of range: .*"),
    "no number": digits("--config.lr=0x10", "--config.lr=0x10 is not a number: .*"),
    "no integer": digits("--config.epochs=1e3", "--config.epochs=1e3 is not an integer: .*"),
    "zero": digits("--config.epochs=0", "config.epochs=0 is out of range: .*"),
    "huge epochs": digits("--config.epochs=1000000000000000000000", "config.epochs=1000000000000000000000 is .*"),
    "huge batch": digits("--config.batch_size=99999999999999999992", "config.batch_size=9{19}2 is .*"),
    "huge width": digits("--config.width=4000000000", "config.width=4000000000 is out of range: .*"),
    "huge d_hid": digits("--config.d_hid=4000000000", "config.d_hid=4000000000 is out of range: .*"),
    "batch above images": digits(
        "--config.batch_size=100000", "config.batch_size=100000 is more than the .* images .*"
    ),
    "split below a batch": digits(
        "--config.train_split=train[:10]", "config.batch_size=64 is more than the 10 images.*"
    ),
    "empty split": digits(
        "--config.train_split=train[:0]", r"split 'train\[:0\]' of dataset 'digits' holds no image .*"
    ),
    "no such split": digits("--config.train_split=trian", "dataset 'digits' has no split 'trian' .*"),
    "no split at all": digits(
        "--config.train_split=train[", r"split 'train\[' of dataset 'digits' .* cannot be read .*"
    ),
    "seed": digits("--config.seed=4294967296", "config.seed=4294967296 is out of range: .*"),
    "bool": digits("--config.zero_init_residual=1", "--config.zero_init_residual=1 is not True or False: .*"),
    "one number of two": digits("--config.views.crop_scale=0.5", ".*=0.5 is not two numbers in parentheses: .*"),
    "range upside down": digits(
        "--config.views.crop_scale=(0.9,0.2)", r"config.views.crop_scale=\(0.9, 0.2\) is out .*"
    ),
    "probability": digits("--config.views.p_flip=1.5", "config.views.p_flip=1.5 is out of range: .*"),
    "hue": digits("--config.views.hue=0.7", "config.views.hue=0.7 is out of range: .*"),
    "size": digits("--config.size=33", "config.size=33 is out of range: .* 32, 64, .*"),
    "store smaller than views": digits("--config.store_size=16", "config.store_size=16 is out of range: .*"),
    "parts of a batch": digits(
        "--config.accumulate=3", "config.batch_size=64 is not config.accumulate=3 equal parts .*"
    ),
    "seeds and input": digits("--config.num_seeds=2 --config.input=stream", "config.input=stream is out of range: .*"),
    "rule without measures": digits(
        "--config.stop_when=knn:5 --config.monitor_every=0",
        "config.stop_when=knn:5 needs what --config.monitor_every=0 .*",
    ),
    "another method's key": digits("--config.temperature=0.5", "--config.temperature=0.5 is a key of other methods .*"),
    "another method": digits("--config.method=simsiam", "config.target is not a key of pre-training by simsiam: .*"),
    "too few classes": Mistake(
        MAIN,
        "--config=configs/digits.py:supervised --workdir={run} --config.num_classes=5 --config.batch_size=64",
        "digits train has labels up to 9, too many for config.num_classes=5: give --config.num_classes=10",
    ),
    "peers": digits("--config.peer_timeout=1", "config.peer_timeout=1 is out of range: .*"),
    "a config with an error": Mistake(
        MAIN,
        "--config={tmp}/broken.py --workdir={run}",
        r"--config={tmp}/broken.py cannot be read \(line 2: SyntaxError: .*",
    ),
    "a config that fails": Mistake(
        MAIN,
        "--config={tmp}/fails.py --workdir={run}",
        r"--config={tmp}/fails.py cannot be read \(line 2: KeyError: .*",
    ),
    "folder of no images": folder("--config.images={tmp}/empty", ".*{tmp}/empty.*"),
}

PAIRS = {
    "online, no classifier": _on(
        "run", "--config=configs/online_eval.py", "config.protocol=online needs a classifier .*"
    ),
    "a folder's key": _on("run", "--config.test_share=0.5", "config.test_share=0.5 is a key of folders of images, .*"),
    "neighbors": _on("run", "--config=configs/knn_eval.py --config.knn.k=50000", "config.knn.k=50000 is too many .*"),
    "a split of another data set": _on(
        "run", "--config.train_split=unlabelled", "dataset 'digits' has no split 'unlabelled' .*"
    ),
    "a pre-training's config": _on("run", "--config=configs/digits.py", "config.accumulate is not a key of .*"),
    "a step that is not saved": _on(
        "run", "--step=7 --out={tmp}/e.safetensors", "--step=7 is not saved .*", "sidae_jax.export"
    ),
    "a backbone of another version": _on("future", "--out={tmp}/e.safetensors", ".*resnet99.*", "sidae_jax.export"),
    "an evaluation of that": _on("future", "", ".*resnet99.*"),
    "start from another width": _simsiam("--config.init_from={tmp}/runs/run --config.width=8", ".*init_from.*width.*"),
    "start from another backbone": _simsiam(
        "--config.init_from={tmp}/runs/run --config.backbone=resnet34", ".*init_from.*backbone.*"
    ),
    "start from no encoder": _simsiam("--config.init_from={tmp}/broken.py", "config.init_from={tmp}/broken.py .*"),
    "go on with another rate": _simsiam("--config.lr=0.01", ".*lr: 0.03 -> 0.01.*", "{tmp}/runs/run"),
    "go on for longer": _simsiam(
        "--config.epochs=400", ".*epochs: 200 -> 400.*--config.init_from=.*", "{tmp}/runs/run"
    ),
    "go on on other images": _simsiam(
        "--config.batch_size=512", ".* holds a run on other images: .*", "{tmp}/runs/run"
    ),
    "go on with several seeds": _simsiam("--config.num_seeds=2", ".* holds a run with one seed: .*", "{tmp}/runs/run"),
}

# What is wrong in these is seen in the images alone, which are decoded first.
_OF_IMAGES = (
    "batch above images", "split below a batch", "huge batch", "huge epochs", "too few classes", "neighbors",
    "go on on other images",
)  # fmt: skip
_ALL = {**CONFIGS, **PAIRS}
IN_CI, IN_FULL = len(_ALL), 2 * len(_ALL)


def run(count: int, seed: int, folder: pathlib.Path) -> Iterator[Outcome]:
    """Yields the outcome of each, two at a time; then, in the whole, of each alone. Nothing is random."""
    _prepare(folder)
    yield from in_parallel(lambda name: _tried(folder, name, None), _ALL)
    if count > len(_ALL):
        yield from in_parallel(lambda name: _tried(folder, name, _SECONDS), _ALL, workers=1)


def _prepare(folder: pathlib.Path) -> None:
    (folder / "broken.py").write_text("def get_config():\n    return (\n")
    (folder / "fails.py").write_text("def get_config():\n    return {}['sidae']\n")
    (folder / "empty").mkdir()
    write_run(folder)
    made_by = PRETRAINING.copy_and_resolve_references()
    made_by.backbone = "resnet99"
    run = save(folder / "runs" / "future", {20: trained_arrays(20)}, made_by)
    (run / "config.json").write_text(json.dumps({"format": FORMAT, "config": plain(made_by), "data_sha256": "a" * 64}))


def _tried(folder: pathlib.Path, name: str, seconds: float | None) -> Outcome:
    """seconds: within which it is to end; None for no limit."""
    mistake, what = _ALL[name], "a wrong config" if name in CONFIGS else "a config that does not fit"
    home = folder / f"case {list(_ALL).index(name)}{' alone' if seconds else ''}".replace(" ", "-")
    home.mkdir()
    env = commands.environment(home, JAX_COMPILATION_CACHE_DIR=str(home / "compiled"))
    places = {"{tmp}": str(folder), "{run}": str(home / "run")}
    arguments, says = mistake.arguments, mistake.says
    for place, path in places.items():
        arguments, says = arguments.replace(place, path), says.replace(place, re.escape(path))
    before = _tree(folder / "runs")
    start = time.monotonic()
    ended = commands.run(mistake.program, *arguments.split(), env=env)
    passed = time.monotonic() - start
    files = [path for path in home.rglob("*") if path.is_file()]
    written = [path for path in files if name not in _OF_IMAGES or not str(path).endswith((".npy", ".json"))]
    problems = [
        *([f"exit code {ended.code}"] if ended.code != 2 else []),
        *(["not one sentence"] if not ended.sentence or not ended.output.startswith("error: ") else []),
        *(["more than one line"] if ended.output.count("\n") != 1 else []),
        *([f"it does not say {says}"] if not re.fullmatch(f"error: {says}\n", ended.output) else []),
        *([f"it has written {written[0]}"] if written else []),
        *(["it has changed the run"] if _tree(folder / "runs") != before else []),
        *([f"{passed:.1f} s"] if seconds is not None and passed > seconds else []),
    ]
    fine = "one sentence, exit code 2" + (f", in less than {seconds:g} s" if seconds else "")
    return Outcome(what, fine if not problems else problems[0], not problems, f"{name}: {problems}\n{ended}")


def _tree(folder: pathlib.Path) -> dict[str, int]:
    """Returns the files of the runs, and when they were changed last.

    A lock's file and a status, which another case may hold in this moment, come and go.
    """
    here = (path for path in folder.rglob("*") if path.name != ".lock" and "status.json" not in path.name)
    return {str(path): path.stat().st_mtime_ns for path in here if path.is_file()}
