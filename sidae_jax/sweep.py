"""Run an experiment: the pre-training runs and evaluations that are not done yet.

python -m sidae_jax.sweep --experiment=NAME --workdir=DIR [--seeds=5] [--scale=thin] [--only=PATTERN] [--print]

NAME is one of the experiments that come with the package, such as table1, or the path of a file. The same command
continues a sweep that was stopped. With --print it runs nothing and prints one shell command per run, for a cluster's
array job. A run that fails does not stop the others; it is named at the end, and the exit code is 1.
The data sets are those of the folder that the environment variable TFDS_DATA_DIR names, or of ~/tensorflow_datasets;
those that are not there are downloaded before the first run.
"""

from sidae_jax import interrupt  # noqa: F401, I001 (first, because the other imports take a while)

import pathlib
import re
import shlex
import sys
from collections.abc import Mapping, Sequence

from absl import flags

from sidae_jax import cli, config_files, data, experiments
from sidae_jax.config import folder_settings, validate
from sidae_jax.config_values import one_of
from sidae_jax.errors import UserError
from sidae_jax.evaluation import config as evaluation
from sidae_jax.evaluation.data_set import DataSet, choose
from sidae_jax.experiments import Job
from sidae_jax.files import open_folder
from sidae_jax.sweep_jobs import Sweep, command_line, remaining

_EXPERIMENT = flags.DEFINE_string("experiment", None, "Name of an experiment, such as table1, or the path of its file.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the experiment, with a folder for each run.")
_SEEDS = flags.DEFINE_integer("seeds", 5, "Number of seeds, counted from 0.", lower_bound=1)
_SCALE = flags.DEFINE_string(
    "scale",
    "paper",
    "paper; thin: the whole schedules with a quarter of the width, on 10,240 images; or small: a check for two CPU "
    "cores, no result.",
)
_ONLY = flags.DEFINE_string(
    "only",
    "",
    "Only runs whose names, NAME/seedN, contain a match of this regular expression, such as ^mnist or -dae/seed0.",
)
_PRINT = flags.DEFINE_bool("print", False, "Print the commands, one line per run, and run nothing.")


def main() -> None:
    """Runs or prints the experiment.

    Raises:
      UserError: if the command line is wrong.
      SystemExit: with code 1 if runs failed, with 128 + the signal's number if a signal stopped the sweep.
    """
    jobs, data_sets = _checked_jobs()
    if _PRINT.value:
        with cli.until_the_reader_leaves():
            for job in jobs:
                folder = str(pathlib.Path(str(_WORKDIR.value)).expanduser().absolute() / job.name)
                print(" && ".join(shlex.join(command_line("python", command, folder)) for command in job.commands))
        return
    _make_ready(jobs, data_sets)
    sweep = Sweep(open_folder(str(_WORKDIR.value)), jobs)
    of_scale = " (nothing is scaled down)" if _SCALE.value == "paper" else ""
    print(f"--scale={_SCALE.value}{of_scale}: {sweep.counted()}", file=sys.stderr)
    failed = sweep.run()
    for name, log in failed.items():
        lines = log.read_text().strip().splitlines()
        print(f"failed: {name}: {lines[-1] if lines else 'it printed nothing'} (full log: {log})")
    print(sweep.counted())
    sys.exit(1 if failed else 0)


def _checked_jobs() -> tuple[list[Job], dict[str, list[DataSet]]]:
    """Returns the jobs that the command line asks for, and by the name of a run the data sets of its commands."""
    for name, value, example in (
        ("experiment", _EXPERIMENT.value, "table1"),
        ("workdir", _WORKDIR.value, "runs/table1"),
    ):
        if value is None:
            raise UserError(f"--{name} is missing: give one, such as --{name}={example}")
    load = config_files.load_function(
        "experiment", str(_EXPERIMENT.value), "get_experiment", "configs/experiments/table1.py"
    )
    one_of("scale", _SCALE.value, experiments.SCALES)
    experiment, path = load(), pathlib.Path(config_files.find("experiment", str(_EXPERIMENT.value)))
    try:
        experiments.check_types(experiment)
    except UserError as error:
        raise UserError(f"get_experiment of --experiment={path} {error}") from error
    configs = next((p for p in path.absolute().parents if (p / "linear_eval.py").exists()), None)
    if configs is None:
        raise UserError(f"--experiment={path} lies in no folder beside the configs: put it under configs/experiments")
    jobs = experiments.jobs(experiment, configs, _SEEDS.value, _SCALE.value)
    seeds = "seed0" if _SEEDS.value == 1 else f"seed0 to seed{_SEEDS.value - 1}"
    names = f"NAME/{seeds}, where NAME is one of {', '.join(sorted({run.name for run, _ in experiment.runs}))}"
    try:
        chosen = [job for job in jobs if re.search(_ONLY.value, job.name)]
    except re.error as error:
        raise UserError(
            f"--only={_ONLY.value} is not a regular expression ({error}): give a part of {names}"
        ) from error
    if not chosen:
        raise UserError(f"--only={_ONLY.value} matches no run: give a part of {names}")
    data_sets: dict[str, list[DataSet]] = {}
    for job in chosen:
        if job.run not in data_sets:  # the other seeds have the same keys
            data_sets[job.run] = _check_commands(job)
    return chosen, data_sets


def _check_commands(job: Job) -> list[DataSet]:
    """Returns the data set of each command; that of one without a config is the pre-training's.

    Raises:
      UserError: if a command would refuse its config, however long the commands before it take.
    """
    pretraining, data_sets = None, list[DataSet]()
    for module, *arguments in job.commands:
        rest, overrides = cli.split(arguments)
        files = [argument.removeprefix("--config=") for argument in rest if argument.startswith("--config=")]
        if not files:
            data_sets.append(data_sets[0])
            continue
        try:
            config = config_files.load_config(files[0], overrides)
            if pretraining is None:
                validate(config)
                pretraining = config
                data_set = DataSet(config.dataset, config.data_dir, folder_settings(config), config.size)
            else:
                evaluation.validate(config)
                evaluation.check_run(config, pretraining, 0 if "--step=0" in rest else None)
                data_set = choose(config, pretraining)
            data.check_name(data_set.name, data_set.data_dir)
            data_sets.append(data_set)
        except UserError as error:
            what = module.rpartition(".")[2]
            raise UserError(f"{what} of the run {job.name} cannot work: {error}") from error
    return data_sets


def _make_ready(jobs: Sequence[Job], data_sets: Mapping[str, list[DataSet]]) -> None:
    """Downloads and prepares the data sets of the commands that are left, and of no others.

    Raises:
      UserError: if that cannot be done, or a run has lost its config.json.
    """
    workdir = pathlib.Path(str(_WORKDIR.value)).expanduser()
    needed: dict[DataSet, list[str]] = {}
    for job in jobs:
        folder = workdir / job.name
        left = remaining(folder, job)
        if len(left) < len(job.commands) and not (folder / "config.json").exists():
            raise UserError(
                f"{folder}/config.json is missing, though done.jsonl says that the run was made, and no report shows "
                "the run: put the file back, or move the folder away, and the run is made anew"
            )
        of_commands = zip(job.commands, data_sets[job.run], strict=False)  # the first seed has the pictures at its end
        for data_set in dict.fromkeys(data_set for command, data_set in of_commands if command in left):
            needed.setdefault(data_set, []).append(job.name)
    for data_set, names in needed.items():
        try:
            data_set.make_ready()
        except UserError as error:
            raise UserError(
                f"{error}; {len(names)} of {len(jobs)} runs, such as {names[0]}, need it: --only can leave them out"
            ) from error


if __name__ == "__main__":
    cli.run_without_config(main)
