"""Several seeds in one program: each as if it had run alone, also after a stop between their saves."""

import json
import shutil

import numpy as np
import pytest

from sidae_jax import config, mesh
from sidae_jax.config import validate
from sidae_jax.errors import UserError
from sidae_jax.methods import METHODS
from sidae_jax.runs import checkpoint
from sidae_jax.runs.checkpoint import Checkpoints
from sidae_jax.training import step
from sidae_jax.training.train import train

pytestmark = pytest.mark.timeout(900)


def settings(**changes):
    """Of a tiny run of four steps."""
    tiny = {"width": 4, "d_hid": 32, "batch_size": 32, "epochs": 2, "train_split": "train[:64]", "log_every": 1}
    # residual branches that start at zero: differences in rounding grow more slowly from step to step
    tiny |= {"checkpoint_every": 1, "zero_init_residual": True}
    return config.pretraining("simsiam", "digits", **{**tiny, **changes})


def run(workdir, capsys, **changes):
    """The printed lines."""
    made = settings(**changes)
    validate(made)
    train(made, str(workdir))
    return capsys.readouterr().out.splitlines()


def assert_same_run(found, wanted):
    """Metrics and the last state, to the rounding of two programs."""
    lines = ([json.loads(line) for line in (d / "metrics.jsonl").read_text().splitlines()] for d in (found, wanted))
    for one, other in zip(*lines, strict=True):
        for name in ("step", "epoch", "loss", "loss_si", "feature_std", "lr"):
            assert one[name] == pytest.approx(other[name], rel=1e-4, abs=1e-5)
    optimizer, _ = step.make_optimizer(0.03, 0.9, 5e-4, 4)
    like = checkpoint.to_arrays(step.create_state(METHODS["simsiam"](settings(), mesh.AXIS), optimizer)[1])
    arrays = []
    for folder in (found, wanted):
        with Checkpoints(folder, read_only=True) as saved:
            assert saved.steps() == [2, 4]
            arrays.append(saved.restore(4, like))
    for name, value in arrays[1].items():
        np.testing.assert_allclose(arrays[0][name], value, rtol=0, atol=1e-3 * np.abs(value).max() + 1e-6, err_msg=name)


def test_each_of_several_seeds_is_the_run_with_that_seed(tmp_path, capsys):
    both = run(tmp_path / "both", capsys, num_seeds=2, seed=5)[-2:]
    alone = run(tmp_path / "alone", capsys, seed=6)[-1]
    assert [line.partition(", loss")[0] for line in both] == ["seed 5 done: step 4", "seed 6 done: step 4"]
    assert_same_run(tmp_path / "both" / "seed6", tmp_path / "alone")
    with pytest.raises(AssertionError):
        assert_same_run(tmp_path / "both" / "seed5", tmp_path / "alone")

    # a stop after the save of seed 5 at the last step, before that of seed 6
    shutil.rmtree(tmp_path / "both" / "seed6" / "checkpoints" / "4")
    again = run(tmp_path / "both", capsys, num_seeds=2, seed=5)
    assert again[0].startswith("continuing at step 2")
    assert again[-2:] == both

    # one of the seeds goes on alone, in its folder
    shutil.rmtree(tmp_path / "both" / "seed6" / "checkpoints" / "4")
    run(tmp_path / "both" / "seed6", capsys, seed=6)
    assert_same_run(tmp_path / "both" / "seed6", tmp_path / "alone")
    assert alone.startswith("done: step 4, loss ")
    with pytest.raises(UserError, match="holds a run with one seed"):
        run(tmp_path / "alone", capsys, num_seeds=2)
    with pytest.raises(UserError, match=r"seed: 6 -> 7"):
        run(tmp_path / "both" / "seed6", capsys, seed=7)


def test_several_seeds_need_the_resident_input():
    with pytest.raises(UserError, match=r"config\.input=stream.*with several seeds"):
        validate(config.pretraining("simsiam", "digits", num_seeds=2, input="stream"))
