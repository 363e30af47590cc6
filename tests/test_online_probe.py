"""The online probe: the classifier trained on the way, measured on test images by the program's own function."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from saved_runs import NORMALIZATION, arrays_of

from sidae_jax import data
from sidae_jax.config import pretraining
from sidae_jax.errors import UserError
from sidae_jax.evaluation import config, results
from sidae_jax.evaluation.run import evaluate
from sidae_jax.methods import make_method
from sidae_jax.runs import checkpoint
from sidae_jax.settings import METHOD_SETTINGS, SupervisedSettings

SPLITS = {"train_split": "train[:60]", "test_split": "test[:200]"}


def make(name):
    """A method as if trained for a while: every parameter and statistic has moved."""
    changes = {"width": 4, "stem": "imagenet", **({"d_hid": 5} if name == "vae" else {})}
    settings = pretraining(name, "digits", **changes)
    graphdef, state = nnx.split(make_method(settings, None))
    rng = np.random.default_rng(1)
    return settings, nnx.merge(graphdef, nnx.map_state(lambda _, v: v + rng.uniform(0.1, 0.5, v.shape), state))


def save(folder, settings, method):
    metadata = {"config": settings.to_dict(), "normalization": dataclasses.asdict(NORMALIZATION)}
    with checkpoint.Checkpoints(folder, read_only=False) as saved:
        saved.save(7, arrays_of(method), {"step": 7, "epoch": 1.0, **metadata}, scheduled=True)
    return folder


def online(**changes):
    settings = config.protocol("online")
    settings.update({**SPLITS, **changes})
    config.validate(settings)
    return settings


@pytest.mark.parametrize("name", ["vae", "supervised"])
def test_it_is_the_accuracy_of_the_runs_own_classifier_in_evaluation_mode(name, tmp_path, capsys):
    settings, method = make(name)
    (record,) = evaluate(online(), str(save(tmp_path, settings, method)))
    test = data.load("digits", SPLITS["test_split"])
    x = (test.images / np.float32(255) - np.float32(NORMALIZATION.mean)) / np.float32(NORMALIZATION.std)
    logits = method.classifier(
        method.encoder.backbone(jnp.asarray(x, jnp.float32), use_running_average=True), use_running_average=True
    )
    assert record["accuracy"] == pytest.approx(np.mean(np.asarray(logits).argmax(1) == test.labels))
    assert record["step"] == 7
    assert record["n_test"] == 200
    path = tmp_path / "eval" / "online-digits-1-seed0.jsonl"
    assert results.parse(path) == ([record], [])
    assert "online probe on digits" in capsys.readouterr().out


def test_a_new_method_needs_only_a_number_of_classes(monkeypatch):
    monkeypatch.setitem(METHOD_SETTINGS, "new", SupervisedSettings)
    config.check_run(online(), pretraining("new", "digits"), None)


def test_what_it_cannot_measure_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"config.label_fraction=0.1 has no meaning for online probe.*leave"):
        online(label_fraction=0.1)
    run = str(save(tmp_path / "ae", *make("supervised")))
    with pytest.raises(UserError, match=r"--step=0.*give the step of a checkpoint"):
        evaluate(online(), run, only_step=0)
    with pytest.raises(UserError, match=r"config.dataset=cifar10 .*trained on digits"):
        evaluate(online(dataset="cifar10"), run)
    unlabelled = pretraining("simclr", "stl10", width=4, d_hid=8, train_split="unlabelled[:10%]")
    without = str(save(tmp_path / "stl10", unlabelled, make_method(unlabelled, None)))
    with pytest.raises(UserError, match=r"protocol=online needs labels, .* stl10 unlabelled\[:10%\], .*mlp_eval"):
        evaluate(online(), without)
    settings = pretraining("simsiam", "digits", width=4, d_hid=32)
    other = str(save(tmp_path / "simsiam", settings, make_method(settings, None)))
    with pytest.raises(UserError, match=r"protocol=online needs .* which simsiam does not have: give a run of ae, vae"):
        evaluate(online(), other)
