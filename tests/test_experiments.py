"""The experiments: their commands and names, and that they measure what the papers' tables and figures show."""

import json
import pathlib
import re
import runpy

import pytest

from sidae_jax import cli, config_files, experiments
from sidae_jax.config import validate
from sidae_jax.evaluation import config as evaluation_config
from sidae_jax.experiments import Evaluation, Experiment, Pretraining
from sidae_jax.report.paper_claims import claims
from sidae_jax.report.published import published_accuracies

ROOT = pathlib.Path(__file__).parent.parent
EXPERIMENTS = sorted((ROOT / "configs" / "experiments").glob("*.py"))


def load(path):
    return runpy.run_path(str(path))["get_experiment"]()


@pytest.mark.parametrize("scale", experiments.SCALES)
@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_every_command_of_every_experiment_has_a_valid_config(path, scale):
    check_commands(load(path), scale)


def test_the_experiment_of_the_readme(tmp_path):
    (code,) = re.findall(r'```python\n(""".*?)```', (ROOT / "docs" / "experiments.md").read_text(), re.DOTALL)
    (tmp_path / "mine.py").write_text(code)
    check_commands(load(tmp_path / "mine.py"), "paper")


def check_commands(experiment, scale):
    jobs = experiments.jobs(experiment, ROOT / "configs", 2, scale)
    assert len({job.name for job in jobs}) == len(jobs)
    for job in jobs:
        first_seed = job.name.endswith("/seed0")
        assert (("sidae_jax.pictures",) in job.commands) == first_seed
        for number, (module, *arguments) in enumerate(job.commands[:-1] if first_seed else job.commands):
            rest, overrides = cli.split(arguments)
            (file,) = (argument.partition("=")[2] for argument in rest if argument.startswith("--config="))
            config = config_files.load_config(file, overrides)
            if number == 0:
                assert module == "sidae_jax.main"
                validate(config)
                assert job.name.startswith(f"{config.dataset}-{config.method}")
            else:
                assert module == "sidae_jax.linear_eval"
                evaluation_config.validate(config)
            assert job.name.endswith(f"/seed{config.seed}")


SIDAE, SIMSIAM, DAE = ("sidae", 0.5), ("simsiam", None), ("dae", None)
WEIGHTS = (0.125, 0.25, 0.5, 0.75, 0.875)
CIFAR10, FASHION, MNIST, STL10 = "cifar10", "fashion_mnist", "mnist", "stl10"


def itself(datasets, methods, fractions, protocol="linear"):
    """Returns a grid that is pre-trained and evaluated on the same data set."""
    return {(on, *method, protocol, on, f) for on in datasets for method in methods for f in fractions}


def from_stl10(methods):
    """Returns a grid pre-trained on STL-10, evaluated on it and on CIFAR-10 with all labels (4.2, Table 1)."""
    return {(STL10, *method, "linear", on, 1.0) for method in methods for on in (STL10, CIFAR10)}


# (pre-trained on, method, w, protocol, evaluated on, fraction of the labels): written from the paper's text and tables
GRIDS = {
    "table1": itself((CIFAR10, FASHION, MNIST), (SIDAE, SIMSIAM, DAE), (0.01, 1.0))
    | from_stl10((("sidae", 0.25), SIMSIAM, DAE)),
    "figure4": itself([CIFAR10], (SIDAE, SIMSIAM, DAE), (0.01, 1.0)),
    "figure5": itself((MNIST, FASHION), (SIDAE, SIMSIAM, DAE), [0.01]),
    "figure6": itself([CIFAR10], (*(("sidae", w) for w in WEIGHTS), SIMSIAM, DAE), [0.01]),
    "figure7": itself([CIFAR10], (("sidae", 0.125), SIMSIAM, DAE), (0.01, 1.0), "finetune"),
    "figure8": from_stl10((("sidae", 0.25), SIMSIAM, DAE)),
    "w_sweep": itself((CIFAR10, FASHION, MNIST), [("sidae", w) for w in WEIGHTS], (0.01, 1.0))
    | from_stl10([("sidae", w) for w in WEIGHTS]),
}
# (evaluated on, fraction) of the line "supervised", trained from scratch; Table 1 has it here, not in the paper
SUPERVISED = {
    "table1": {(on, f) for on in (CIFAR10, FASHION, MNIST) for f in (0.01, 1.0)},
    "figure4": {(CIFAR10, 0.01), (CIFAR10, 1.0)},
    "figure5": {(MNIST, 0.01), (FASHION, 0.01)},
    "figure6": set(),
    "figure7": {(CIFAR10, 0.01), (CIFAR10, 1.0)},
    "figure8": {(STL10, 1.0), (CIFAR10, 1.0)},
    "w_sweep": set(),
}


def as_given(changes):
    return [(key, str(value)) for key, value in changes.items()]


def measured(path):
    """Yields (what, both configs, whether only the untrained backbone) for each evaluation of an experiment."""
    for run, evaluations in load(path).runs:
        config = config_files.load_config(f"{ROOT}/configs/{run.dataset}.py:{run.method}", as_given(run.changes))
        for evaluation in evaluations:
            how = config_files.load_config(f"{ROOT}/configs/{evaluation.config}.py", as_given(evaluation.changes))
            on = how.dataset or config.dataset
            what = (config.dataset, config.method, config.get("w"), how.protocol, on, how.label_fraction)
            yield what, config, how, evaluation.untrained_only


@pytest.mark.parametrize("name", GRIDS)
def test_the_papers_grids(name):
    """Measures exactly what the paper measures, after the same pre-training, each once."""
    found = list(measured(ROOT / "configs" / "experiments" / f"{name}.py"))
    trained = [what for what, _, _, untrained_only in found if not untrained_only]
    assert set(trained) == GRIDS[name]
    assert len(trained) == len(set(trained))
    scratch = {(on, fraction) for (*_, protocol, on, fraction), *_ in found if protocol == "finetune"}
    assert scratch == SUPERVISED[name]
    for _, config, how, _ in found:
        assert (config.epochs, config.checkpoint_every, config.d_hid, config.batch_size) == (200, 25, 2048, 512)
        assert (config.lr, config.momentum, config.weight_decay, config.schedule) == (0.03, 0.9, 5e-4, "cosine")
        assert config.train_split == ("unlabelled" if config.dataset == STL10 else "train")
        assert config.views.p_blur == (0.5 if config.dataset in (MNIST, FASHION) else 0)
        assert (how.train_split, how.test_split) == ("train", "test")
        settings = how.finetune if how.protocol == "finetune" else how.probe
        assert settings.to_dict() == {"epochs": 50, "lr": 0.05, "momentum": 0.9, "batch_size": 256}


def test_the_grid_of_appendix_2():
    found = list(measured(ROOT / "configs" / "experiments" / "d_hid.py"))
    assert {(what[:3], config.d_hid) for what, config, *_ in found} == {
        ((CIFAR10, *method), d) for method in (SIDAE, SIMSIAM, DAE) for d in (512, 1024, 2048)
    }
    assert {what[3:] for what, *_ in found} == {("linear", CIFAR10, 0.01), ("linear", CIFAR10, 1.0)}
    assert len(found) == 3 * 3 * 2


def test_every_published_accuracy_belongs_to_an_experiment():
    measured_by_any = {what for path in EXPERIMENTS for what, *_ in measured(path)}
    accuracies = {
        (row.pretrained_on, row.method, row.w, row.protocol, row.evaluated_on, row.label_fraction)
        for row in published_accuracies()
    }
    assert accuracies - measured_by_any == set()


def test_different_changes_have_different_names():
    def name(**changes):
        return experiments.run_name("cifar10", "sidae", {key.replace("__", "."): v for key, v in changes.items()})

    # today's names, which sweeps that were started have
    assert name() == "cifar10-sidae"
    assert name(w=0.25, data_dir="/x", log_every=3) == "cifar10-sidae-w0.25"
    assert name(train_split="train[:128]", views__p_blur=0.5) == "cifar10-sidae-train_splittrain128-p_blur0.5"
    assert name(lr=1e-05, target="view", zero_init_residual=True) == (
        "cifar10-sidae-lr1e-05-targetview-zero_init_residualTrue"
    )
    different = [
        *({"train_split": f"train{part}"} for part in ("", "[:128]", "[128:]", "128", "[:128%]", "[:12]+train[:8]")),
        *({"train_split": split} for split in ("train-w0.5", "train", "unlabelled")),
        {"train_split": "train", "w": 0.5},
        *({"views.crop_ratio": pair} for pair in ((0.75, 1.33), (0.7, 51.33), (0.751, 0.33))),
        *({key: 0.1} for key in ("views.hue", "other.hue", "views.other.hue")),
    ]
    names = [experiments.run_name("stl10", "sidae", changes) for changes in different]
    assert len(set(names)) == len({json.dumps(changes) for changes in different})
    assert all(re.fullmatch(r"[\w.-]+", found) for found in names)


def test_an_experiments_own_keys_stand_above_those_of_the_small_scale():
    run = Pretraining("digits", "sidae", {"epochs": 7, "w": 0.25})
    assert run.name == "digits-sidae-epochs7-w0.25"
    (job,) = experiments.jobs(Experiment("", [(run, [])]), pathlib.Path("configs"), 1, "small")
    assert "--config.epochs=7" in job.commands[0]
    assert "--config.batch_size=256" in job.commands[0]


def test_the_thin_scale_changes_the_width_and_the_images_alone():
    """The whole schedules: epochs, batch, checkpoints and evaluations are those of the paper."""
    evaluations = [Evaluation("linear_eval", {"label_fraction": 0.01}), Evaluation("finetune")]
    runs = [
        (Pretraining(*run), evaluations)
        for run in (
            ("cifar10", "sidae", {"w": 0.25}),
            ("stl10", "dae"),
            ("cifar10", "sidae", {"d_hid": 64}),
            ("mnist", "vae"),
        )
    ]
    given = [
        [set(command[2:]) for command in job.commands[:3]]
        for job in experiments.jobs(Experiment("", runs), pathlib.Path("configs"), 1, "thin")
    ]

    def keys(**values):
        return {f"--config.{key}={value}" for key, value in values.items()} | {"--config.seed=0"}

    first = {"train_split": "train[:10240]", "width": 16}
    assert [commands[0] for commands in given] == [
        keys(**first, d_hid=512, w=0.25),
        keys(**first | {"train_split": "unlabelled[:10240]"}, d_hid=512),
        keys(**first, d_hid=64),
        keys(**first),
    ]
    for commands in given:
        assert commands[1:] == [keys(label_fraction=0.01), keys()]


def test_the_reports_table_is_of_its_own_settings_and_both_of_its_classifiers():
    table = load(pathlib.Path("configs/experiments/report_table1.py"))
    assert all(run.changes == {} for run, _ in table.runs)  # the methods' defaults are the report's
    assert all([e.config for e in evaluations] == ["mlp_eval", "online_eval"] for _, evaluations in table.runs)
    for job in experiments.jobs(table, pathlib.Path("configs"), 1, "small"):
        assert "--config.width=16" in job.commands[0]
        assert not any("stem" in argument for argument in job.commands[0])


def test_the_reports_claims_are_tested_by_runs_that_differ_from_it_in_their_epochs_alone():
    found = list(measured(ROOT / "configs" / "experiments" / "report_claims.py"))
    sides = {
        (claim.pretrained_on, side.method, side.w, side.protocol, claim.evaluated_on, claim.label_fraction)
        for claim in claims()
        if "report, Table 1" in claim.source
        for side in (claim.first, claim.second)
    }
    assert len(found) == len(sides) == 6
    assert {what for what, *_ in found} == sides
    for run, evaluations in load(ROOT / "configs" / "experiments" / "report_claims.py").runs:
        epochs = {"cifar10": 20, "mnist": 10}[run.dataset]
        assert run.changes == {"epochs": epochs, "checkpoint_every": epochs}
        assert [evaluation.changes for evaluation in evaluations] == [{}]
