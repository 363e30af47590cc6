"""The measures of the features in training: they are those of the checkpoints; the best one; an early end."""

import dataclasses
import json
import pathlib
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.spatial.distance
from ml_collections import ConfigDict
from test_quality import by_scikit_learn

import sidae_jax
from sidae_jax import config, data, streams
from sidae_jax.config import validate
from sidae_jax.config import view_settings as settings_of_views
from sidae_jax.data import normalization
from sidae_jax.errors import Diverged, UserError
from sidae_jax.evaluation import run as evaluation
from sidae_jax.evaluation.config import protocol
from sidae_jax.mesh import put_tree
from sidae_jax.methods import make_method
from sidae_jax.monitoring import Measured, stop_rule
from sidae_jax.runs import checkpoint, pretrained, sums
from sidae_jax.runs.checkpoint import Checkpoints
from sidae_jax.training import monitor
from sidae_jax.training.run import Run
from sidae_jax.training.seed_run import SeedRun
from sidae_jax.training.signals import StopSignals
from sidae_jax.training.step import create_state, make_optimizer
from sidae_jax.training.train import train
from sidae_jax.views import make_views

pytestmark = pytest.mark.timeout(600)
MEASURES = {"knn", "rankme", "alignment", "uniformity"}


def settings(**changes) -> ConfigDict:
    """Of a run of 16 steps, which all tests share: one program to compile."""
    tiny = {"width": 4, "d_hid": 32, "batch_size": 32, "epochs": 8, "train_split": "train[:64]", "log_every": 4}
    made = config.pretraining("simsiam", "digits", **{**tiny, "checkpoint_every": 100, **changes})
    validate(made)
    return made


def lines(workdir: pathlib.Path) -> list[dict]:
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def measures(workdir: pathlib.Path) -> dict[int, dict]:
    return {r["step"]: {k: r[k] for k in MEASURES & r.keys()} for r in lines(workdir) if "rankme" in r}


def sha256(capsys) -> str:
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert last.startswith("done: step ")
    return last.split("sha256 ")[1]


def steps(workdir: pathlib.Path) -> list[int]:
    return sorted(int(path.name) for path in (workdir / "checkpoints").iterdir() if path.name.isdigit())


@pytest.fixture(scope="module")
def monitored(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("monitored")
    train(settings(), str(workdir))
    return workdir


def test_they_are_those_of_the_checkpoints_features(monitored, images):
    assert list(measures(monitored)) == list(range(2, 17, 2))  # each epoch, ten times a run being more often
    rows = streams.generator(streams.Stream.MONITOR, 0).permutation(64)
    for step in steps(monitored):
        found = measures(monitored)[step]
        features = sidae_jax.load(monitored, step)(images.images[rows]).astype(np.float64)
        sigma = scipy.linalg.svdvals(features)
        p = sigma / sigma.sum() + 1e-7
        assert found["rankme"] == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-3)
        assert found["knn"] == pytest.approx(by_scikit_learn(features, images.labels[rows], 64, 3, 0.07), abs=1e-6)
        f1, f2 = views_features(sidae_jax.load(monitored, step), images.images[rows[:8]])  # an eighth of 64
        squares = [scipy.spatial.distance.sqeuclidean(*pair) for pair in zip(f1, f2, strict=True)]
        assert found["alignment"] == pytest.approx(np.mean(squares), rel=1e-3)
        potentials = [np.log(np.exp(-2 * scipy.spatial.distance.pdist(f, "sqeuclidean")).mean()) for f in (f1, f2)]
        assert found["uniformity"] == pytest.approx(np.mean(potentials), rel=1e-3)
    assert measures(monitored)[2] != measures(monitored)[16]


def views_features(encoder, images) -> list[np.ndarray]:
    """Of two views of each image, with the norm 1."""
    keys = streams.example_keys(jax.random.key(0), streams.Stream.MONITOR, jnp.int32(0), jnp.arange(len(images)))
    mean, std = (np.float32(value) for value in (encoder.normalization.mean, encoder.normalization.std))
    _, *views = make_views(keys, jnp.asarray(images), settings_of_views(settings()), mean, std)
    features = [np.asarray(encoder.network(x, use_running_average=True), np.float64) for x in views]
    return [f / np.linalg.norm(f, axis=1, keepdims=True) for f in features]


def test_they_change_no_bit_of_the_run(monitored, tmp_path, capsys):
    train(settings(), str(monitored))
    wanted = sha256(capsys)
    train(settings(monitor_every=0), str(tmp_path))
    assert sha256(capsys) == wanted
    assert measures(tmp_path) == {}
    without = [{k: v for k, v in line.items() if k in ("step", "loss", "feature_std")} for line in lines(tmp_path)]
    kept = {line["step"]: line for line in lines(monitored)}
    assert [line["step"] for line in without] == [4, 8, 12, 16]
    assert all(line.items() <= kept[line["step"]].items() for line in without)


def test_neither_the_input_nor_the_number_of_devices_matters(monitored, tmp_path, images):
    train(settings(input="stream"), str(tmp_path))
    for step, found in measures(tmp_path).items():
        assert found == pytest.approx(measures(monitored)[step], rel=2e-3)
    one, eight = (measure(settings(), images, count) for count in (1, 8))
    assert one == pytest.approx(eight, rel=1e-4)


@pytest.fixture(scope="module")
def images():
    return data.load("digits", "train[:64]", None, size=32)


def measure(made, images, num_devices) -> dict[str, float]:
    """Of the initial state."""
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:num_devices]), ("data",))
    optimizer, _ = make_optimizer(0.03, 0.9, 5e-4, 4)
    graphdef, state = create_state(make_method(made, "data"), optimizer)
    watch = monitor.Monitor(made, images, graphdef, normalization.measure(images.images), mesh)
    return watch.measure(put_tree(mesh, state))


def test_images_without_labels_have_no_knn(images):
    unlabeled = dataclasses.replace(images, labels=np.full(64, -1, np.int32))
    assert measure(settings(), unlabeled, 1).keys() == MEASURES - {"knn"}
    few = dataclasses.replace(images, labels=np.where(np.arange(64) < 20, images.labels, -1).astype(np.int32))
    assert 0 <= measure(settings(), few, 1)["knn"] <= 1


def test_images_stored_larger_are_measured_at_the_size_of_the_views(images):
    larger = dataclasses.replace(images, images=images.images.repeat(2, 1).repeat(2, 2))
    found, wanted = measure(settings(store_size=64), larger, 1), measure(settings(), images, 1)
    assert found["rankme"] == pytest.approx(wanted["rankme"], rel=0.05)
    assert found["knn"] == pytest.approx(wanted["knn"], abs=0.07)


@pytest.mark.parametrize(
    ("num_images", "every", "image_bytes", "wanted"),
    [
        (50_000, 20, 3072, 10_000),  # CIFAR-10, 200 epochs
        (1_437, 2, 3072, 512),  # the digits
        (300, 2, 3072, 300),
        (1_281_167, 10, 3 * 224 * 224, 3_566),  # 512 MiB
        (20_000, 1, 3072, 2_000),
    ],
)
def test_the_number_of_images_keeps_the_time_small(num_images, every, image_bytes, wanted):
    assert monitor.count(num_images, every, image_bytes) == wanted


def test_the_best_checkpoint_is_kept_and_found_by_name(tmp_path, capsys, monkeypatch):
    def measure(self, state):
        return {"knn": 1 - abs(float(state.step) - 6) / 20, "rankme": 2.0}

    monkeypatch.setattr(Run, "measure", measure)
    train(settings(), str(tmp_path))
    best = 6
    assert steps(tmp_path) == [best, 16]
    assert "best kNN 100.0% at step 6: --step=best evaluates it" in capsys.readouterr().out
    train(settings(), str(tmp_path))  # finished: it does not lose it
    assert steps(tmp_path) == [best, 16]
    on_all, on_best = (evaluation.evaluate(knn_protocol(), str(tmp_path), step) for step in (None, "best"))
    assert [record["step"] for record in on_all] == [0, 16]  # as in other seeds, whose best is another step
    assert [record["step"] for record in on_best] == [0, best]
    assert on_best[1]["temporary"]
    assert (sidae_jax.load(tmp_path, "best").arrays()["params.encoder.backbone.stem.kernel"] != 0).any()


def test_what_a_kill_after_the_last_save_did_not_delete_goes_at_the_next_start(tmp_path, monkeypatch):
    settle = checkpoint.Checkpoints.settle

    def killed(self):
        if self.steps()[-1:] == [16]:
            raise RuntimeError("killed")
        settle(self)

    monkeypatch.setattr(Run, "measure", lambda self, state: {"knn": float(state.step) / 20, "rankme": 2.0})
    monkeypatch.setattr(checkpoint.Checkpoints, "settle", killed)
    with pytest.raises(RuntimeError, match="killed"):
        train(settings(), str(tmp_path))
    assert steps(tmp_path) == [14, 16]
    monkeypatch.setattr(checkpoint.Checkpoints, "settle", settle)
    trash = tmp_path / "checkpoints" / ".trash"
    (trash / "12").mkdir(parents=True)  # cut short, too
    train(settings(), str(tmp_path))
    assert steps(tmp_path) == [16]
    assert not trash.exists()


@pytest.mark.parametrize(
    "damage", ["lost", "another figure", "lost, of a version without checksums", "another figure, of such a version"]
)
def test_the_best_checkpoint_stays_where_metrics_that_name_it_are_damaged(tmp_path, monkeypatch, caplog, damage):
    known = {2: 0.9}  # the best one, of all
    monkeypatch.setattr(Run, "measure", lambda self, state: {"knn": known.get(int(state.step), 0.1), "rankme": 2.0})
    if "version" in damage:

        def of_metrics(content):
            raise OSError

        monkeypatch.setattr(sums, "of_metrics", of_metrics)  # which is then left out
    train(settings(), str(tmp_path))
    assert steps(tmp_path) == [2, 16]
    path = tmp_path / "metrics.jsonl"
    if "lost" in damage:
        path.unlink()
    else:
        path.write_text(path.read_text().replace('"knn": 0.9', '"knn": 0.0'))
    for _ in range(2):
        train(settings(), str(tmp_path))
        assert steps(tmp_path) == [2, 16]
    assert ("metrics.jsonl is not as it was" in caplog.text) == ("version" not in damage)  # else it cannot be known


def test_damaged_measures_decide_nothing(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(Run, "measure", lambda self, state: {"knn": 0.1 + float(state.step) / 100, "rankme": 2.0})
    monkeypatch.setattr(StopSignals, "wanted", stop_at(tmp_path, 10))
    with pytest.raises(SystemExit):
        train(settings(stop_when="knn:4"), str(tmp_path))
    monkeypatch.undo()
    monkeypatch.setattr(Run, "measure", lambda self, state: {"knn": 0.1 + float(state.step) / 100, "rankme": 2.0})
    path = tmp_path / "metrics.jsonl"
    path.write_text(path.read_text().replace('"knn": 0.12', '"knn": 0.92'))  # no later one would be as good
    with pytest.raises(UserError, match=r"stop_when=knn:4 needs the measures so far, but in .* is not as it was"):
        train(settings(stop_when="knn:4"), str(tmp_path))
    assert "stays as" in caplog.text
    train(settings(), str(tmp_path))
    assert steps(tmp_path) == [10, 16]  # the best of those measured since, and what was there
    with Checkpoints(tmp_path, read_only=True) as checkpoints, pytest.raises(UserError, match="was damaged, as"):
        pretrained.one_step(checkpoints, "best")


def knn_protocol() -> ConfigDict:
    made = protocol("knn")
    made.knn.k = 5
    made.train_split = made.test_split = "train[:64]"
    return made


def test_the_best_of_some_records():
    records = [{"step": s, "epoch": s / 2, "knn": k, "rankme": 2.0} for s, k in ((2, 0.1), (4, 0.5), (6, 0.5))]
    assert Measured(records).best_step() == 4
    assert Measured(records).best_step({2, 6}) == 6
    assert Measured([{"step": 2, "rankme": 2.0}]).best() is None


@pytest.mark.parametrize(
    ("rule", "values", "ends"),
    [
        ("knn:2", [0.1, 0.3, 0.2, 0.3], True),  # an equal value is no better one
        ("knn:2", [0.1, 0.3, 0.2, 0.31], False),
        ("knn:3", [0.1, 0.3, 0.2, 0.3], False),
        ("loss:2", [0.1, -0.3, 0.2, 0.3], True),
        ("loss:2", [0.3, 0.2, 0.1, -0.1], False),
        ("rankme:1", [1.0, 2.0], False),
        ("rankme:1", [2.0, float("nan")], True),
        (None, [2.0, 1.0, 1.0, 1.0], False),
    ],
)
def test_the_rule_that_ends_a_run(rule, values, ends):
    found = stop_rule(settings(stop_when=rule))
    records = [
        {"step": 4 * i, "epoch": i + 1.0, "knn": value, "rankme": value, "loss": value}
        for i, value in enumerate(values)
    ]
    assert bool(Measured(records, found).ended) == ends


@pytest.mark.parametrize("text", ["knn", "knn:", "knn:0", "knn:1.5", "knm:3", "alignment:3", ":3", "knn:-1"])
def test_a_rule_that_is_none(text):
    with pytest.raises(UserError, match=r"config.stop_when=.*such as knn:50"):
        settings(stop_when=text)


def test_a_rule_that_nothing_measures():
    with pytest.raises(UserError, match="monitor_every=0"):
        settings(stop_when="knn:3", monitor_every=0)


@pytest.mark.parametrize("num_seeds", [1, 2])
def test_an_early_end_is_kept_and_can_be_taken_back(tmp_path, capsys, monkeypatch, num_seeds):
    monkeypatch.setattr(
        Run, "measure", lambda self, state: {"rankme": 40.0 - float(state.step)}
    )  # falls from step 2 on
    made = {"num_seeds": num_seeds}
    workdir = tmp_path / "run"
    first = workdir if num_seeds == 1 else workdir / "seed0"
    train(settings(stop_when="rankme:2", **made), str(workdir))
    assert lines(first)[-1]["step"] == 6
    assert "ended early: rankme has had no better value than 38, of epoch 1, for 2 epoch(s)" in capsys.readouterr().out
    assert steps(first) == [6]
    before = (first / "metrics.jsonl").read_text()
    train(settings(stop_when="rankme:2", **made), str(workdir))  # the same command: nothing is left to do
    assert "this run is finished" in capsys.readouterr().out
    assert (first / "metrics.jsonl").read_text() == before
    train(settings(**made), str(workdir))  # without the rule it goes on
    assert steps(first) == [6, 16]  # what was saved by the user's rule stays
    if num_seeds == 1:
        went_on = sha256(capsys)
        train(settings(**made), str(tmp_path / "whole"))
        assert sha256(capsys) == went_on
        assert measures(tmp_path / "whole") == measures(workdir)


def test_a_continued_run_keeps_its_best_and_its_measures(tmp_path, monkeypatch, capsys):
    train(settings(), str(tmp_path / "whole"))
    wanted = sha256(capsys)
    monkeypatch.setattr(StopSignals, "wanted", stop_at(tmp_path / "run", 10))
    with pytest.raises(SystemExit):
        train(settings(), str(tmp_path / "run"))
    assert steps(tmp_path / "run")[-1] == 10
    monkeypatch.undo()
    train(settings(), str(tmp_path / "run"))
    assert sha256(capsys) == wanted
    assert measures(tmp_path / "run") == measures(tmp_path / "whole")
    assert steps(tmp_path / "run") == steps(tmp_path / "whole")


def stop_at(workdir, step):
    """As a signal that comes when the line of this step has been written."""

    def wanted(self, metrics, **_):
        path = workdir / "metrics.jsonl"
        return signal.SIGTERM if path.exists() and lines(workdir) and lines(workdir)[-1]["step"] >= step else None

    return wanted


def test_a_kill_between_the_saves_of_two_seeds_leaves_them_a_step_in_common(tmp_path, monkeypatch):
    knn = iter(np.arange(0.1, 0.9, 0.01))  # each measure is the best
    monkeypatch.setattr(Run, "measure", lambda self, state: {"knn": float(next(knn)), "rankme": 2.0})
    save = SeedRun.save

    def killed(self, step, *arguments, **keywords):
        if step == 8 and self.config.seed == 1:
            raise KeyboardInterrupt
        return save(self, step, *arguments, **keywords)

    monkeypatch.setattr(SeedRun, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        train(settings(num_seeds=2), str(tmp_path))
    first, second = (steps(tmp_path / f"seed{seed}") for seed in (0, 1))
    assert (max(first), max(second)) == (8, 6)
    assert max(set(first) & set(second)) == 6


def test_a_seed_that_has_ended_takes_no_part_in_what_follows(tmp_path, monkeypatch, capsys):
    ranks = {0: iter([5.0, 4.0]), 1: iter(np.arange(2.0, 10.0))}
    turn = []

    def measure(self, state):
        seeds = [seed.config.seed for seed in self.seeds if not seed.ended]
        turn.append(seeds[len([t for t in turn if t in seeds]) % len(seeds)] if len(seeds) > 1 else seeds[0])
        return {"rankme": float(next(ranks[turn[-1]]))}

    monkeypatch.setattr(Run, "measure", measure)
    train(settings(num_seeds=2, stop_when="rankme:1"), str(tmp_path))
    assert turn == [0, 1, 0, 1, *[1] * 6]
    assert [lines(tmp_path / f"seed{seed}")[-1]["step"] for seed in (0, 1)] == [4, 16]
    assert steps(tmp_path / "seed0") == [4]
    assert json.loads((tmp_path / "seed0" / "status.json").read_text())["state"] == "finished"
    assert (
        "seed 0 ended early: rankme has had no better value than 5, of epoch 1, for 1 epoch(s)"
        in capsys.readouterr().out
    )


def test_knn_needs_two_classes(images):
    one = dataclasses.replace(images, labels=np.full(64, 3, np.int32))
    assert "knn" not in measure(settings(), one, 1)
    with pytest.raises(UserError, match="stop_when=knn:3 needs kNN, for which too few of the 64 images"):
        measure(settings(stop_when="knn:3"), one, 1)
    assert Measured([{"step": 2, "epoch": 1.0, "rankme": 2.0}], stop_rule(settings(stop_when="knn:3"))).ended is None


def test_a_state_that_is_not_saved_takes_the_place_of_no_best_one(tmp_path, monkeypatch):
    knn = {2: 0.5, 8: 0.9}
    monkeypatch.setattr(Run, "measure", lambda self, state: {"knn": knn.get(int(state.step), 0.1), "rankme": 2.0})
    to_arrays = checkpoint.to_arrays

    def broken_at_step_8(tree, *arguments):
        arrays = to_arrays(tree, *arguments)
        return arrays | {"params.broken": np.float32("nan")} if arrays.get("step") == 8 else arrays

    monkeypatch.setattr(checkpoint, "to_arrays", broken_at_step_8)
    with pytest.raises(Diverged, match=r"params\.broken is not finite after step 8"):
        train(settings(checkpoint_every=3), str(tmp_path))
    assert steps(tmp_path) == [2, 6]
