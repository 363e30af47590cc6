"""kill -9 at random moments of every program; then the same command, until it ends."""

import pathlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from reliability.kill_chain import Chain
from reliability.kill_scenes import Evaluation, Moment, Scene, newer
from reliability.kill_sweep import Sweep
from reliability.kill_training import OnFolder, Training, TwoProcesses
from reliability.outcomes import Outcome

TITLE = "Killed at any moment"
TEXT = """
Programs are killed by `kill -9` and started again by the same command, several times one after another, until they end
by themselves. A moment is drawn at random over the whole time of the program, or shortly after an event that is seen
from outside: a checkpoint's temporary folder, a line in the log, a new file. The table says where the kill came, by
what it left.

Promised: at each kill, what is there has the bits that it has in a run that was left alone, and it is there at all
later times; a training goes on from its newest checkpoint; in the end all files have the bits of the run left alone
(but for the times measured), nothing is left beside the checkpoints, and no start needed another command.

Trainings are of ResNet-18 at a width of 4, 30 steps, of which five are saved and two of these deleted. Exports and
embeddings are started with `--overwrite`, without which they refuse to replace the file of an earlier start.
"""
IN_CI, IN_FULL = 25, 200
# in CI, and in the whole: how many kills a chain has, and how many chains there are
_PLAN = (
    ("training in two processes", (1, 1), (2, 4)),
    ("training", (9, 1), (4, 15)),
    ("training, nothing compiled", (3, 0), (3, 4)),
    ("training on image files", (3, 1), (3, 8)),
    ("sweep", (2, 1), (2, 6)),
    ("evaluation", (4, 1), (4, 10)),
    ("report", (3, 1), (4, 5)),
    ("embedding", (2, 1), (3, 4)),
    ("export", (1, 1), (3, 4)),
)
_IMAGES_IN_CI, _IMAGES_IN_FULL = 240, 1200  # the latter take so long that some of them become safe on the way


def run(count: int, seed: int, folder: pathlib.Path) -> Iterator[Outcome]:
    """Yields the outcomes of the chains, two of which run at a time."""
    full = count > IN_CI
    scenes = _scenes(folder, _IMAGES_IN_FULL if full else _IMAGES_IN_CI)
    plan = [
        Chain(scenes[name], kills, f"{seed}, {name}, {number}")
        for name, in_ci, in_full in _PLAN
        for kills, chains in [in_full if full else in_ci]
        for number in range(chains)
    ]
    with ThreadPoolExecutor(2) as pool:
        for outcomes in pool.map(Chain.run, plan):
            yield from outcomes


def _scenes(folder: pathlib.Path, images: int) -> dict[str, Scene]:
    training = Training("training", folder)
    evaluation = Evaluation("evaluation", folder, training)
    of_run = ("--workdir={run}", "--overwrite")
    report = Scene("report", folder, "sidae_jax.report", "--workdir={run}", "--out={home}/report", source=evaluation)
    export = Scene("export", folder, "sidae_jax.export", *of_run, "--out={home}/encoder.safetensors", source=training)
    embedding = Scene(
        "embedding", folder, "sidae_jax.embed", *of_run, "--dataset=digits", "--out={home}/f.npz", source=training
    )
    for scene in (report, export, embedding):
        scene.moments = [Moment("a file", _writes, 0.005)]
    scenes = [
        training,
        Training("training, nothing compiled", folder, own_compiled=True),
        TwoProcesses("training in two processes", folder),
        OnFolder("training on image files", folder, images),
        evaluation,
        report,
        export,
        embedding,
        Sweep("sweep", folder, training, evaluation),
    ]
    return {scene.name: scene for scene in scenes}


def _writes(home: pathlib.Path, text: str, since: float) -> bool:
    return any(newer(home, pattern, since) for pattern in (".*", "*.*", "report/*", "report/.*", "report/figures/.*"))
