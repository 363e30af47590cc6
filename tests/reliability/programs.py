"""The programs that read a run's files, as functions of one process: importing JAX anew for each case takes seconds.

A world is a folder with `data` (a prepared data set), `cache` (the user's), `whole` (a finished run with results,
features and pictures), `part` (the same run, stopped in the third of three epochs), `encoder.safetensors` and
`done.jsonl`.
"""

import dataclasses
import functools
import hashlib
import json
import pathlib
import re
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from reliability import commands
from reliability.damage_commands import OFTEN, PROBE, TINY, command
from sidae_jax import api
from sidae_jax.errors import UserError
from sidae_jax.evaluation import config as evaluation_config
from sidae_jax.evaluation import make_pictures
from sidae_jax.evaluation import run as evaluation_run
from sidae_jax.exports import embeddings, make_export
from sidae_jax.overrides import override
from sidae_jax.report import build, pages, run_index, summaries
from sidae_jax.runs import __main__ as runs_program
from sidae_jax.runs import done as commands_done
from sidae_jax.runs import index, show, sums
from sidae_jax.runs.checkpoint import arrays_sha256
from sidae_jax.runs.overview import Overview
from sidae_jax.settings import FolderSettings
from sidae_jax.training import run as training_run
from sidae_jax.training import train

NEWEST, LAST = 9, 12  # the newest checkpoint of the stopped run, and the last one of the finished run
_SPEED = ("images_per_second", "eta_seconds")
_DONE = [["sidae_jax.main", f"--config={i}", "--config.lr=0.1"] for i in range(3)]


def config(world: pathlib.Path) -> ConfigDict:
    return api.make_config("digits", "simsiam", data_dir=str(world / "data"), **TINY, **OFTEN)


def keep_compiled_steps() -> None:
    """Lets all trainings of this process share the compiled step and measures: all have one config."""
    compiled: dict[Any, Any] = {}

    def kept(make: Callable) -> Callable:
        def made(config, *arguments, **named):
            normalization = next(a for a in arguments if dataclasses.is_dataclass(a) and hasattr(a, "mean"))
            key = make, normalization, named.get("num_seeds"), json.dumps(config.to_dict(), sort_keys=True)
            if key not in compiled:
                compiled[key] = make(config, *arguments, **named)
            return compiled[key]

        return made

    training_run.make_mapped_step = kept(training_run.make_mapped_step)
    training_run.Monitor = kept(training_run.Monitor)


def make_world(world: pathlib.Path) -> None:
    """Makes the files, in a folder whose data set is there already or is prepared now."""
    (world / "data").mkdir(parents=True, exist_ok=True)
    train.train(config(world), str(world / "whole"))
    linear_eval(world, None)
    make_pictures.write(evaluation_config.pictures(), str(world / "whole"))
    make_export.write(world / "whole", world / "encoder.safetensors")
    api.train(config(world), world / "part", stop_at(NEWEST))
    lines = [json.dumps(sums.sealed({"command": each, "seconds": 1.5})) + "\n" for each in _DONE]
    (world / "done.jsonl").write_text("".join(lines))


def stop_at(step: int) -> Callable[[dict], None]:
    def on_log(record: dict) -> None:
        if record["step"] == step:
            raise StopIteration

    return on_log


def go_on(world: pathlib.Path, said: Callable[[], str]) -> Any:
    """Continues the stopped run."""
    train.train(config(world), str(world / "part"))
    final = re.findall("parameters sha256 (\\w+)", said())
    lines = (world / "part/metrics.jsonl").read_text(errors="replace").splitlines()
    return final[-1], [{k: v for k, v in json.loads(line).items() if k not in _SPEED} for line in lines]


def linear_eval(world: pathlib.Path, _: Any) -> Any:
    probe = evaluation_config.protocol("linear")
    for key, value in PROBE.items():
        override(probe, key, str(value))
    records = evaluation_run.evaluate(probe, str(world / "whole"))
    return [{key: value for key, value in record.items() if key != "seconds"} for record in records]


def report(world: pathlib.Path, _: Any) -> Any:
    runs = run_index.find_runs(world / "whole")
    rows = summaries.read(runs)
    if not rows:
        raise UserError(f"--workdir={world / 'whole'} holds no results: evaluate its runs")  # as report.__main__
    made = build.build("report", runs, rows)
    text = pages.markdown_page(made)
    return text, {title: hashlib.sha256(svg.encode()).hexdigest() for title, svg in made.figures.items()}


def list_and_show(run: str, world: pathlib.Path, said: Any) -> Any:
    values = show.as_values(Overview(index.one_run(str(world / run)), run))
    for problem in values["problems"]:
        print(f"problem: {problem}")
    return {key: value for key, value in values.items() if key not in ("age_seconds", "problems", "folder")}


def recorded(world: pathlib.Path, _: Any) -> Any:
    run = api.Run(world / "whole")
    metrics = {name: values.tolist() for name, values in run.metrics.items() if name not in _SPEED}
    return run.config.to_dict(), metrics, run.results, run.checkpoints


def export(world: pathlib.Path, _: Any) -> Any:
    make_export.write(world / "whole", world / "out.safetensors", "method")
    return hashlib.sha256((world / "out.safetensors").read_bytes()).hexdigest()


def embed(world: pathlib.Path, _: Any, dataset: str | None = "digits", images: str | None = None) -> Any:
    folder = None if images is None else FolderSettings(str(world / images), on_damage="skip")
    split = "train" if images else "test[:100]"
    of = embeddings.Images(dataset, folder, str(world / "data"), split)
    embeddings.write(world / "whole", world / "out.npz", of)
    with np.load(world / "out.npz", allow_pickle=False) as found:
        return {name: found[name].tolist() for name in ("features", "labels", "class_names")}


def embed_by_command(world: pathlib.Path, _: Any) -> Any:
    """Does the same in a process of its own, with a cache of compiled programs in the world."""
    cache = {"JAX_COMPILATION_CACHE_DIR": str(world / "compiled"), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    module, *arguments = command("embed", world) or []
    (world / "out.npz").unlink(missing_ok=True)
    ended = commands.run(f"sidae_jax.{module}", *arguments, env=commands.environment(world, **cache))
    print(ended.output)
    if ended.code:
        raise SystemExit(ended.code)
    with np.load(world / "out.npz", allow_pickle=False) as found:
        return found["features"].tolist()


def done(world: pathlib.Path, _: Any) -> Any:
    """Whether a sweep takes nothing for done that is not; what is missing it runs again."""
    return all(each in _DONE for each in commands_done.commands(world))


def load(what: str, step: Any, world: pathlib.Path, _: Any) -> Any:
    found = api.load(world / what, step)
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    return arrays_sha256(found.arrays()), repr(found.normalization), found.encode(images).tolist()


def init_from(world: pathlib.Path, said: Callable[[], str]) -> Any:
    """Starts a new run from the exported encoder; its first checkpoint follows from it."""
    start = config(world)
    start.update({"init_from": str(world / "encoder.safetensors"), "epochs": 1, "monitor_every": 0})
    train.train(start, str(world / "new"))
    return re.findall("parameters sha256 (\\w+)", said())


def verify(run: str, world: pathlib.Path, _: Any) -> Any:
    level, hook = logging.get_verbosity(), sys.unraisablehook
    try:
        runs_program.main(["verify", str(world / run)])
    finally:
        logging.set_verbosity(level)
        sys.unraisablehook = hook


PROGRAMS: dict[str, Callable[[pathlib.Path, Callable[[], str]], Any]] = {
    "main": go_on,
    "linear_eval": linear_eval,
    "report": report,
    "runs show": functools.partial(list_and_show, "whole"),
    "runs show, stopped": functools.partial(list_and_show, "part"),
    "api.Run": recorded,
    "export": export,
    "embed": embed,
    "embed pets": functools.partial(embed, dataset="pets"),
    "embed images": functools.partial(embed, dataset=None, images="images"),
    "load": functools.partial(load, "whole", None),
    "load best": functools.partial(load, "whole", "best"),
    "load export": functools.partial(load, "encoder.safetensors", None),
    "init_from": init_from,
    "embed by its command": embed_by_command,
    "sweep": done,
    "verify whole": functools.partial(verify, "whole"),
    "verify part": functools.partial(verify, "part"),
}
