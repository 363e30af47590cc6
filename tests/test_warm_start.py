"""A run that starts from the backbone of another: what it takes, what it records, and what it refuses."""

import json
import shutil

import jax
import numpy as np
import pytest
from saved_runs import PRETRAINING, save, trained_arrays

from sidae_jax import config, mesh
from sidae_jax.errors import UserError
from sidae_jax.methods import make_method
from sidae_jax.overrides import override
from sidae_jax.runs import checkpoint
from sidae_jax.runs.checkpoint import Checkpoints
from sidae_jax.training import start, step
from sidae_jax.training.train import train
from sidae_jax.training.warm_start import WarmStart

# After the first error orbax closes the event loop in which its other reads are still to report.
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored:pytest.PytestUnraisableExceptionWarning")

TINY = {"width": 4, "d_hid": 32, "batch_size": 32, "epochs": 2, "train_split": "train[:64]", "checkpoint_every": 1}
OF_BACKBONE = ("params.encoder.backbone.", "batch_stats.encoder.backbone.")


def settings(init_from, method="sidae", **changes):
    return config.pretraining(method, "digits", init_from=str(init_from), **{**TINY, **changes})


def initial_state(made):
    optimizer, _ = step.make_optimizer(made.lr, made.momentum, made.weight_decay, 4)
    return jax.device_get(step.create_state(make_method(made, mesh.AXIS), optimizer)[1])


def of_backbone(arrays):
    return {name: value for name, value in arrays.items() if name.startswith(OF_BACKBONE)}


@pytest.fixture
def source(tmp_path):
    """A run of another method, with two checkpoints."""
    return save(tmp_path / "source", {4: trained_arrays(4), 8: trained_arrays(8)})


def started(made, record=None):
    return WarmStart(made, initial_state(made), record)


@pytest.mark.parametrize(("inside", "saved"), [("", 8), ("checkpoints/4", 4)])
def test_the_backbone_and_nothing_else_is_that_of_the_checkpoint(source, inside, saved):
    made = settings(source / inside, seed=7)
    warm_start, initial = started(made), initial_state(made)
    found, own = (checkpoint.to_arrays(state) for state in (warm_start.apply(initial), initial))
    wanted = {**own, **of_backbone(trained_arrays(saved))}
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    sha256 = checkpoint.arrays_sha256(of_backbone(trained_arrays(saved)))
    assert warm_start.record == {"run": str(source), "step": saved, "sha256": sha256}


def test_what_was_recorded_is_taken_again_and_nothing_else(source):
    first = started(settings(source))
    save(source, {12: trained_arrays(12)})  # the other run has gone on
    again = started(settings(source), first.record)
    assert again.record["step"] == 8
    found = checkpoint.to_arrays(again.apply(initial_state(settings(source))))
    assert all(np.array_equal(found[name], value) for name, value in of_backbone(trained_arrays(8)).items())
    shutil.rmtree(source)
    save(source, {8: trained_arrays(9)})
    with pytest.raises(UserError, match=rf"init_from={source} is not what this run was started from: checkpoint 8 "):
        started(settings(source), first.record).apply(initial_state(settings(source)))


@pytest.mark.parametrize(
    ("changes", "theirs", "ours"),
    [
        ({"backbone": "resnet34"}, "backbone=resnet18", "backbone=resnet34"),
        ({"width": 8, "stem": "cifar"}, "width=4, stem=imagenet", "width=8, stem=cifar"),
    ],
)
def test_an_encoder_of_another_kind_is_refused_naming_both(source, changes, theirs, ours):
    way_out = " ".join(f"--config.{part}" for part in theirs.split(", "))
    says = f"init_from={source} holds an encoder with {theirs}, this run has {ours}: give {way_out}, or another"
    with pytest.raises(UserError, match=says):
        started(settings(source, **changes))


@pytest.mark.parametrize(
    ("init_from", "says"),
    [
        ("sourse", r"init_from=\S+/sourse does not exist or is no folder: did you mean \S+/source\?"),
        ("source/checkpoints/5", r"init_from=\S+/5 is not saved: give one of 4, 8 in \S+/source/checkpoints"),
        (
            "encoder.npz",
            r"init_from=\S+/encoder.npz is a file: give the folder of a run, or of a checkpoint in it, such as "
            r"--config.init_from=runs/cifar10-sidae/checkpoints/19400, or a file of weights, FILE.safetensors",
        ),
        ("", r"has no folder checkpoints: give the folder of one of the runs in it, such as \S+init_from=\S+/source"),
    ],
)
def test_what_is_no_run_is_refused(source, init_from, says):
    (source.parent / "encoder.npz").touch()
    with pytest.raises(UserError, match=says):
        started(settings(source.parent / init_from))


def test_another_kind_is_refused_before_the_images_are_decoded(source, tmp_path, monkeypatch):
    monkeypatch.setattr(start.data, "load", lambda *_, **__: pytest.fail("images were decoded"))
    with pytest.raises(UserError, match=r"width=4, this run has width=8"):
        train(settings(source, width=8), str(tmp_path / "run"))


def test_an_empty_name_does_not_start_a_run_from_nothing():
    settings = config.pretraining("sidae", "digits")
    with pytest.raises(UserError, match=r"--config.init_from= names no run: give the folder of one, or None to start"):
        override(settings, "init_from", "")
    for text, wanted in (("runs/a", "runs/a"), ("None", None)):
        override(settings, "init_from", text)
        assert settings.init_from == wanted


def test_a_corrupt_checkpoint_is_refused(source):
    files = [path for path in (source / "checkpoints" / "8" / "state").rglob("*") if path.is_file()]
    largest = max(files, key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[: largest.stat().st_size // 2])
    with pytest.raises(UserError, match=f"{source}/checkpoints/8"):
        started(settings(source))


def last_arrays(workdir, made, at):
    like = checkpoint.to_arrays(initial_state(made))
    with Checkpoints(workdir, read_only=True) as checkpoints:
        return checkpoints.restore(at, like)


def test_a_run_starts_from_it_and_goes_on_without_it(source, tmp_path, capsys):
    """Both seeds start from the same backbone; what is stopped and continued has the bits of what was left alone."""
    made = settings(source, "simsiam", num_seeds=2, lr=1e-30, weight_decay=0.0)
    run = tmp_path / "run"
    train(made, str(run))
    wanted = of_backbone(trained_arrays(8))
    kernels = [name for name in wanted if name.startswith("params.")]
    before = capsys.readouterr().out.splitlines()[-2:]
    for seed in ("seed0", "seed1"):
        assert json.loads((run / seed / "config.json").read_text())["init_from"]["step"] == 8
        found = last_arrays(run / seed, made, 4)
        for name in kernels:  # a learning rate of 1e-30 moves none of them
            np.testing.assert_array_equal(found[name], wanted[name], err_msg=name)

    shutil.rmtree(source)
    for seed in ("seed0", "seed1"):
        shutil.rmtree(run / seed / "checkpoints" / "4")
    train(made, str(run))
    assert capsys.readouterr().out.splitlines()[-2:] == before
    # without a checkpoint it would need the other run again
    for seed in ("seed0", "seed1"):
        shutil.rmtree(run / seed / "checkpoints")
        for trace in ("status.json", "metrics.jsonl"):  # else it is refused, since they tell that there were some
            (run / seed / trace).unlink()
    with pytest.raises(UserError, match="source"):
        train(made, str(run))


def test_more_epochs_than_a_run_was_started_with_are_refused_with_the_way_to_train_longer(tmp_path):
    run = save(tmp_path, {8: trained_arrays(8)})
    content = {"format": 2, "config": PRETRAINING.to_dict(), "data_sha256": "a" * 64}
    (run / "config.json").write_text(json.dumps(content))
    longer = PRETRAINING.copy_and_resolve_references()
    longer.epochs = 300
    says = r"epochs: 200 -> 300.*the cosine of its learning rate ends with .* start a new run from it, by --config"
    with pytest.raises(UserError, match=rf"{says}\.init_from={run} and another --workdir"):
        train(longer, str(run))
    longer.epochs = 100
    with pytest.raises(UserError) as error:
        train(longer, str(run))
    assert "init_from" not in str(error.value)
