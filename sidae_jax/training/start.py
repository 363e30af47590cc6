"""The start of a run: its workdirs, its images, and the agreement of its processes on them."""

import contextlib
from collections.abc import Sequence

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from sidae_jax import data, mesh, processes
from sidae_jax.config import single_seeds
from sidae_jax.errors import UserError
from sidae_jax.runs import files
from sidae_jax.runs.workdir import Workdir, flat, plain, versions


def open_run(
    config: ConfigDict, path: str, stack: contextlib.ExitStack
) -> tuple[list[Workdir], data.Images, str, Mesh]:
    """The workdir of each seed, locked by process 0; the images and their SHA-256, compared with those of the runs
    there; the devices.

    What is opened is closed by `stack`. Raises UserError.
    """
    lock = jax.process_index() == 0
    folder = stack.enter_context(files.opened(path))
    configs = {folder: config}
    of_seeds = sorted(path.parent.name for path in folder.glob("seed[0-9]*/config.json"))
    if config.num_seeds == 1 and of_seeds:
        raise UserError(
            f"--workdir={path} holds a run with several seeds: give --config.num_seeds={len(of_seeds)} to continue it, "
            f"--workdir={path}/{of_seeds[0]} for one of them, or another --workdir"
        )
    if config.num_seeds > 1:
        if (folder / "config.json").exists():
            raise UserError(
                f"--workdir={path} holds a run with one seed: give --config.num_seeds=1 to continue it, or another "
                "--workdir"
            )
        configs = {stack.enter_context(files.opened(folder / f"seed{c.seed}")): c for c in single_seeds(config)}
    workdirs = [stack.enter_context(Workdir(f, c, lock=lock)) for f, c in configs.items()]
    devices = mesh.data_mesh(config.batch_size)
    images = data.load(config.dataset, config.train_split, config.data_dir)
    sha256 = images.sha256()
    for workdir in workdirs:
        workdir.check_images(sha256)
        workdir.added |= workdir.new and any(other.checkpoint_steps() for other in workdirs)
    _check_images(config, images)
    return workdirs, images, sha256, devices


def _check_images(config: ConfigDict, images: data.Images) -> None:
    if "classes" in config and images.labels.max() >= config.classes:
        raise UserError(
            f"{config.dataset} {config.train_split} has labels up to {images.labels.max()}, too many for "
            f"config.classes={config.classes}: give --config.classes={images.labels.max() + 1}"
        )
    if config.method == "supervised" and images.labels.min() < 0:
        raise UserError(
            f"config.train_split={config.train_split} of {config.dataset} has images without labels, which supervised "
            "needs: give another --config.train_split, such as train"
        )
    if len(images.images) < config.batch_size:
        raise UserError(
            f"config.batch_size={config.batch_size} is more than the {len(images.images)} images of "
            f"{config.dataset} {config.train_split}: give a smaller --config.batch_size or more of "
            "--config.train_split"
        )


def agree(config: ConfigDict, workdirs: Sequence[Workdir], images_sha256: str, chosen_input: str) -> None:
    """See that all processes are of one run and share its workdirs. Collective; raises UserError in all of them."""
    token = processes.gather(workdirs[0].token)[0]

    def check_shared() -> None:
        if not workdirs[0].holds(token):
            raise UserError(
                f"--workdir={workdirs[0].folder} is not the folder that process 0 writes to: give a --workdir that all "
                "machines share"
            )

    facts = {f"config.{key}": value for key, value in flat(plain(config)).items() if key != "data_dir"}
    facts |= {f"the version of {name}": version for name, version in versions().items()}
    facts |= {"the chosen input": chosen_input, "the sha256 of the images": images_sha256}
    processes.check_agreement(facts)
    processes.together(check_shared)
    # a folder that all share may still be shown differently by a file system that is slow to tell
    processes.check_agreement(
        {f"the list of checkpoints of seed {w.config.seed}": w.checkpoint_steps() for w in workdirs}
    )
