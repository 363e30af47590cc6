"""Several seeds in one program: each as if it had run alone, also after a stop between their saves."""

import json
import shutil
import signal
import time
import types

import numpy as np
import pytest

from sidae_jax import config, mesh
from sidae_jax.config import validate
from sidae_jax.errors import Diverged, UserError
from sidae_jax.methods import make_method
from sidae_jax.runs import checkpoint
from sidae_jax.runs.checkpoint import Checkpoints
from sidae_jax.training import run as training_run
from sidae_jax.training import step
from sidae_jax.training import train as training
from sidae_jax.training.segments import next_segment
from sidae_jax.training.signals import StopSignals
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
    like = checkpoint.to_arrays(step.create_state(make_method(settings(), mesh.AXIS), optimizer)[1])
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
    before = checkpoint_bytes(tmp_path / "both" / "seed5")
    again = run(tmp_path / "both", capsys, num_seeds=2, seed=5)
    assert again[0].startswith("continuing at step 2")
    assert again[-2:] == both
    assert checkpoint_bytes(tmp_path / "both" / "seed5") == before  # taken through two steps again, and written once

    # one of the seeds goes on alone, in its folder
    shutil.rmtree(tmp_path / "both" / "seed6" / "checkpoints" / "4")
    run(tmp_path / "both" / "seed6", capsys, seed=6)
    assert_same_run(tmp_path / "both" / "seed6", tmp_path / "alone")
    assert alone.startswith("done: step 4, loss ")
    with pytest.raises(UserError, match=r"holds a run with one seed: give --config.num_seeds=1 "):
        run(tmp_path / "alone", capsys, num_seeds=2)
    with pytest.raises(UserError, match=r"with several seeds: give --config.num_seeds=2 .* --workdir=\S+/both/seed5 "):
        run(tmp_path / "both", capsys, seed=5)
    with pytest.raises(UserError, match=r"seed: 6 -> 7"):
        run(tmp_path / "both" / "seed6", capsys, seed=7)


def test_several_seeds_need_the_resident_input():
    with pytest.raises(UserError, match=r"config\.input=stream.*when num_seeds is above 1"):
        validate(config.pretraining("simsiam", "digits", num_seeds=2, input="stream"))


def checkpoint_bytes(folder):
    """What lies in the checkpoints of a seed, and its metrics."""
    files = [path for path in (folder / "checkpoints").rglob("*") if path.is_file()] + [folder / "metrics.jsonl"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_seed_added_to_a_finished_run_is_trained_alone_and_nothing_of_the_others_is_lost(tmp_path, capsys):
    both = run(tmp_path / "run", capsys, num_seeds=2)
    before = [checkpoint_bytes(tmp_path / "run" / f"seed{seed}") for seed in range(2)]
    three = run(tmp_path / "run", capsys, num_seeds=3)
    assert three[0].startswith("starting: ")
    assert "seed 2 up to step 4, " in three[0]
    assert three[-3:-1] == both[-2:]
    assert [checkpoint_bytes(tmp_path / "run" / f"seed{seed}") for seed in range(2)] == before
    run(tmp_path / "alone", capsys, seed=2)
    assert_same_run(tmp_path / "run" / "seed2", tmp_path / "alone")

    # the folder of a seed is gone: the others stay as they are, and it is trained anew
    shutil.rmtree(tmp_path / "run" / "seed0")
    again = run(tmp_path / "run", capsys, num_seeds=3)
    assert "seed 0 up to step 4, " in again[0]
    assert checkpoint_bytes(tmp_path / "run" / "seed1") == before[1]
    assert_same_run(tmp_path / "run" / "seed2", tmp_path / "alone")
    assert run(tmp_path / "run", capsys, num_seeds=3)[0] == "this run is finished: all 4 steps are done"


def test_a_seed_that_lost_its_newest_checkpoints_goes_on_alone_until_it_has_caught_up(tmp_path, capsys):
    run(tmp_path / "run", capsys, num_seeds=2, epochs=4)
    before = checkpoint_bytes(tmp_path / "run" / "seed0")
    for step_ in (4, 6, 8):
        shutil.rmtree(tmp_path / "run" / "seed1" / "checkpoints" / str(step_))
    for step_ in (8,):
        shutil.rmtree(tmp_path / "run" / "seed0" / "checkpoints" / str(step_))
    lines = run(tmp_path / "run", capsys, num_seeds=2, epochs=4)
    alone, both = (line for line in lines if line.startswith("continuing at step "))
    assert alone.startswith("continuing at step 2")
    assert "seed 1 up to step 6, " in alone
    assert both.startswith("continuing at step 6")
    assert "2 seeds at once" in both
    after = checkpoint_bytes(tmp_path / "run" / "seed0")
    assert {name: after[name] for name in before if name.startswith(("checkpoints/2", "checkpoints/4"))} == {
        name: content for name, content in before.items() if name.startswith(("checkpoints/2", "checkpoints/4"))
    }
    steps = [json.loads(line)["step"] for line in after["metrics.jsonl"].decode().splitlines()]
    assert steps == list(range(1, 9))


def test_a_seed_that_diverges_stops_neither_the_others_nor_their_continuation(tmp_path, capsys, monkeypatch):
    def of_one_seed_not_finite(config, axis_name):
        method = make_method(config, axis_name)
        if config.seed == 1:
            kernel = method.predictor.linear2.kernel
            kernel[...] = kernel[...] * np.float32(np.inf)
        return method

    monkeypatch.setattr(training_run, "make_method", of_one_seed_not_finite)
    with pytest.raises(Diverged, match=r"the loss of seed 1 is nan at step 1; this state was not saved.*--config\.lr"):
        run(tmp_path / "run", capsys, num_seeds=3)
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(", loss")[0] for line in lines[-2:]] == ["seed 0 done: step 4", "seed 2 done: step 4"]
    assert [line for line in lines if "the other seeds go on" in line and "warning: the loss of seed 1" in line]
    for seed in (0, 2):
        with Checkpoints(tmp_path / "run" / f"seed{seed}", read_only=True) as saved:
            assert saved.steps() == [2, 4]
    assert (tmp_path / "run" / "seed1" / "metrics.jsonl").read_text() == ""
    ended = [json.loads((tmp_path / "run" / f"seed{seed}" / "status.json").read_text()) for seed in range(3)]
    assert [status["state"] for status in ended] == ["finished", "diverged", "finished"]
    assert [status["saved_step"] for status in ended] == [4, 0, 4]
    assert ended[1]["message"].startswith("the loss of seed 1 is nan at step 1; ")
    # a stop before the last save: the others finish though the one diverges anew
    shutil.rmtree(tmp_path / "run" / "seed0" / "checkpoints" / "4")
    shutil.rmtree(tmp_path / "run" / "seed2" / "checkpoints" / "4")
    with pytest.raises(Diverged, match="seed 1"):
        run(tmp_path / "run", capsys, num_seeds=3)
    assert capsys.readouterr().out.splitlines()[-2:] == lines[-2:]


@pytest.mark.parametrize(
    ("saved", "joined_late", "wanted"),
    [
        ([[]], [False], ((0,), 0, 8)),
        ([[2, 4]], [False], ((0,), 4, 8)),
        ([[2, 8]], [False], None),
        ([[], []], [False, False], ((0, 1), 0, 8)),
        ([[2, 4], [2, 4]], [False, False], ((0, 1), 4, 8)),
        # a stop between the saves of the two, the second time at a moment that replaced the first one's last save
        ([[2, 4], [2]], [False, False], ((0, 1), 2, 8)),
        ([[2, 5], [2, 3]], [False, False], ((0, 1), 2, 8)),
        ([[2], []], [False, False], ((0, 1), 0, 8)),
        ([[8], []], [False, True], ((1,), 0, 8)),  # one checkpoint, and a seed that was added
        ([[5], [5], [4]], [False, False, True], ((2,), 4, 5)),  # stopped before it had caught up: nothing is done twice
        ([[2, 4], [2, 4], [2]], [False, False, True], ((2,), 2, 4)),
        ([[2], [2, 4]], [False, True], ((0, 1), 2, 8)),  # it is ahead
        ([[2, 4, 6, 8], [2, 4, 6, 8], []], [False, False, True], ((2,), 0, 8)),
        ([[2, 4, 6], [2, 4, 6, 8], [2]], [False] * 3, ((2,), 2, 6)),
        ([[2, 4, 6, 8], [2, 4, 6]], [False, False], ((0, 1), 6, 8)),
        ([[8], [8]], [False, False], None),
    ],
)
def test_which_seeds_are_trained_next(saved, joined_late, wanted):
    seeds = [
        types.SimpleNamespace(saved_steps=steps, joined_late=late)
        for steps, late in zip(saved, joined_late, strict=True)
    ]
    segment = next_segment(seeds, 8)
    assert (
        segment
        and (
            tuple(i for i, seed in enumerate(seeds) if any(seed is chosen for chosen in segment.seeds)),
            segment.start,
            segment.end,
        )
    ) == wanted


class StopAt(StopSignals):
    """A SIGTERM to itself at a call of the step."""

    def __init__(self, call):
        super().__init__()
        self.left = call

    def wanted(self, metrics, **how):
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(signal.SIGTERM)
            while self.received is None:  # by the thread that listens
                time.sleep(0.001)
        return super().wanted(metrics, **how)


def test_a_stop_on_the_way_to_a_checkpoint_that_one_seed_has_already_is_not_lost(tmp_path, capsys, monkeypatch):
    wanted = run(tmp_path / "alone", capsys, num_seeds=2, epochs=3)[-2:]
    run(tmp_path / "run", capsys, num_seeds=2, epochs=3)
    shutil.rmtree(tmp_path / "run" / "seed1" / "checkpoints" / "6")
    monkeypatch.setattr(training, "StopSignals", lambda: StopAt(1))
    with pytest.raises(SystemExit):
        run(tmp_path / "run", capsys, num_seeds=2, epochs=3)
    assert "stopped by SIGTERM; step 5 is saved" in capsys.readouterr().out
    monkeypatch.undo()
    lines = run(tmp_path / "run", capsys, num_seeds=2, epochs=3)
    assert lines[0].startswith("continuing at step 5")
    assert lines[-2:] == wanted
    for seed in range(2):
        with Checkpoints(tmp_path / "run" / f"seed{seed}", read_only=True) as saved:
            assert saved.steps() == [2, 4, 6]


def test_a_stop_that_comes_to_lie_on_the_schedule_is_kept(tmp_path, capsys, monkeypatch):
    """checkpoint_every may change; one seed saved step 4 at the stop, the other makes up for it on the new schedule."""
    unmeasured = {"num_seeds": 2, "epochs": 4, "monitor_every": 0}  # else rounding decides whether step 2 is the best
    monkeypatch.setattr(training, "StopSignals", lambda: StopAt(4))
    with pytest.raises(SystemExit):
        run(tmp_path, capsys, **unmeasured, checkpoint_every=4)
    monkeypatch.undo()
    shutil.rmtree(tmp_path / "seed1" / "checkpoints")
    for trace in ("status.json", "metrics.jsonl"):  # else it is refused, since they tell that there was a checkpoint
        (tmp_path / "seed1" / trace).unlink()
    run(tmp_path, capsys, **unmeasured, checkpoint_every=1)
    for seed in range(2):
        with Checkpoints(tmp_path / f"seed{seed}", read_only=True) as saved:
            assert saved.steps() == [2, 4, 6, 8]
