"""The start of a run: its workdirs, its images, its seeds, and the agreement of its processes on them."""

import contextlib
from collections.abc import Sequence

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from sidae_jax import data, files, mesh, processes
from sidae_jax.config import PLACE_KEYS, folder_settings, single_seeds
from sidae_jax.config_values import flat, plain
from sidae_jax.errors import UserError
from sidae_jax.monitoring import stop_rule
from sidae_jax.networks import conv_onednn
from sidae_jax.runs.workdir import Workdir, versions
from sidae_jax.training import warm_start
from sidae_jax.training.run import Run
from sidae_jax.training.seed_run import SeedRun
from sidae_jax.training.step import TrainState
from sidae_jax.training.warm_start import WarmStart


def open_run(config: ConfigDict, workdir: str, exit_stack: contextlib.ExitStack) -> Run:
    """Opens the workdirs of a run's seeds, loads its images, and finds each seed's newest intact checkpoint.

    Collective. `exit_stack` closes what is opened and ends the use of oneDNN.

    Raises:
      UserError: in all processes, if one of them cannot start or they do not agree.
    """
    mesh.check_devices()
    hint = conv_onednn.hint() if config.native == "auto" else None
    config = processes.raise_in_all(lambda: _with_native_chosen(config))
    exit_stack.enter_context(conv_onednn.use(config.native == "on"))
    workdirs, images, sha256, devices = processes.raise_in_all(lambda: _open_files(config, workdir, exit_stack))
    run = Run(config, images, devices, hint)
    agree(config, workdirs, sha256, "resident" if run.resident else "stream")
    several = len(workdirs) > 1
    run.seeds = [
        exit_stack.enter_context(SeedRun(each, run.normalization, run.steps_per_epoch, among_others=several))
        for each in workdirs
    ]
    initial_states = [run.initial_state(seed.config) for seed in run.seeds]
    warm = _find_warm_start(config, workdirs, initial_states[0])
    for seed, initial in zip(run.seeds, initial_states, strict=True):
        if jax.process_index() == 0:
            seed.workdir.write_config(sha256, warm.record if warm else None)
        seed.open(initial, warm, run.sample_pictures(seed.config))
    return run


def _find_warm_start(config: ConfigDict, workdirs: Sequence[Workdir], initial: TrainState) -> WarmStart | None:
    """Returns where the backbones of all seeds start from; None if they have initial values. Collective."""
    if config.init_from is None:
        return None
    before = next((each.init_from for each in workdirs if each.init_from is not None), None)
    found = processes.raise_in_all(lambda: WarmStart(config, initial, before))
    processes.check_agreement({"the sha256 of config.init_from": found.record["sha256"]})
    return found


def _with_native_chosen(config: ConfigDict) -> ConfigDict:
    """Returns the config with native "on" or "off"."""
    config = config.copy_and_resolve_references()
    config.native = "on" if conv_onednn.choose(config.native) else "off"
    return config


def _open_files(
    config: ConfigDict, workdir: str, exit_stack: contextlib.ExitStack
) -> tuple[list[Workdir], data.Images, str, Mesh]:
    """Returns the workdir of each seed, locked by process 0, the images, their SHA-256, and the devices.

    The images are compared with those of the runs that are in the workdirs.
    """
    lock = jax.process_index() == 0
    folder = exit_stack.enter_context(files.opened(workdir))
    configs = {folder: config}
    of_seeds = sorted(path.parent.name for path in folder.glob("seed[0-9]*/config.json"))
    if config.num_seeds == 1 and of_seeds:
        raise UserError(
            f"--workdir={workdir} holds a run with several seeds: give --config.num_seeds={len(of_seeds)} to continue "
            f"it, --workdir={workdir}/{of_seeds[0]} for one of them, or another --workdir"
        )
    if config.num_seeds > 1:
        if (folder / "config.json").exists():
            raise UserError(
                f"--workdir={workdir} holds a run with one seed: give --config.num_seeds=1 to continue it, or another "
                "--workdir"
            )
        configs = {exit_stack.enter_context(files.opened(folder / f"seed{c.seed}")): c for c in single_seeds(config)}
    workdirs = [exit_stack.enter_context(Workdir(f, c, lock=lock)) for f, c in configs.items()]
    if config.init_from is not None and all(each.init_from is None for each in workdirs):
        warm_start.check(config)
    devices = mesh.data_mesh(config.batch_size, config.accumulate)
    images = data.load(
        config.dataset,
        config.train_split,
        config.data_dir,
        folder=folder_settings(config),
        size=config.store_size or config.size,
        encoded=config.input == "decode",
    )
    sha256 = images.sha256()
    for each in workdirs:
        each.check_images(sha256)
        each.joined_late |= each.new and any(other.checkpoint_steps() for other in workdirs)
    _check_images(config, images)
    return workdirs, images, sha256, devices


def _check_images(config: ConfigDict, images: data.Images) -> None:
    if "num_classes" in config and images.labels.max() >= config.num_classes:
        raise UserError(
            f"{config.dataset} {config.train_split} has labels up to {images.labels.max()}, too many for "
            f"config.num_classes={config.num_classes}: give --config.num_classes={images.labels.max() + 1}"
        )
    if config.method == "supervised" and images.labels.min() < 0:
        way_out = (
            f"--config.images={config.images} with a folder for each class, or another method"
            if "images" in config
            else "another --config.train_split, such as train"
        )
        raise UserError(
            f"config.train_split={config.train_split} of {config.dataset} has images without labels, which supervised "
            f"needs: give {way_out}"
        )
    steps = config.epochs * (len(images.images) // config.batch_size)
    if steps >= 2**31:
        raise UserError(
            f"config.epochs={config.epochs} is {steps} steps, too many to count: give --config.epochs=VALUE with VALUE "
            f"at most {config.epochs * 2**31 // (steps + config.epochs)}"
        )
    rule = stop_rule(config)
    if rule and rule.measure == "knn" and images.labels.max() < 0:
        raise UserError(
            f"config.stop_when={config.stop_when} needs labels for kNN, and the images of {config.dataset} "
            f"{config.train_split} have none: give another measure, such as rankme:{rule.patience}"
        )
    if len(images.images) < config.batch_size:
        raise UserError(
            f"config.batch_size={config.batch_size} is more than the {len(images.images)} images of "
            f"{config.dataset} {config.train_split}: give a smaller --config.batch_size or more of "
            "--config.train_split"
        )


def agree(config: ConfigDict, workdirs: Sequence[Workdir], images_sha256: str, chosen_input: str) -> None:
    """Raises UserError in all processes unless they have one run in common and share its workdirs. Collective."""
    token = processes.gather(workdirs[0].token)[0]

    def check_shared() -> None:
        if not workdirs[0].holds(token):
            raise UserError(
                f"--workdir={workdirs[0].folder} is not the folder that process 0 writes to: give a --workdir that all "
                "machines share"
            )

    facts = {f"config.{key}": value for key, value in flat(plain(config)).items() if key not in PLACE_KEYS}
    facts |= {f"the version of {name}": version for name, version in versions(config).items()}
    facts |= {"the chosen input": chosen_input, "the sha256 of the images": images_sha256}
    processes.check_agreement(facts)
    processes.raise_in_all(check_shared)
    # a slow file system may still show different machines different contents of a folder that they share
    processes.check_agreement(
        {f"the list of checkpoints of seed {w.config.seed}": w.checkpoint_steps() for w in workdirs}
    )
