"""`import sidae_jax`: the same runs as the command line's, from a program."""

import functools
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from test_step import devices

import sidae_jax
from sidae_jax import data, mesh
from sidae_jax.config import pretraining, view_settings
from sidae_jax.config_values import flat
from sidae_jax.data.normalization import measure
from sidae_jax.errors import UserError
from sidae_jax.training import step
from sidae_jax.views import apply, sample_params

TINY = {"width": 4, "d_hid": 32, "epochs": 2, "checkpoint_every": 1, "log_every": 5}
ROOT = pathlib.Path(__file__).parent.parent


def tiny(**changes):
    return sidae_jax.make_config("digits", "simsiam", **TINY, **changes)


def sha256(capsys) -> str:
    return capsys.readouterr().out.strip().splitlines()[-1].rpartition(" ")[2]


@pytest.fixture(scope="module")
def images():
    return np.asarray(data.load("digits", "train[:12]").images)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(the run that the API trains, the records that on_log got)."""
    records = []
    return sidae_jax.train(tiny(), tmp_path_factory.mktemp("api") / "run", on_log=records.append), records


@pytest.fixture(scope="module")
def sha256_of_the_command_line(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("command") / "run"
    keys = [f"--config.{key}={value}" for key, value in TINY.items()]
    command = [sys.executable, "-m", "sidae_jax.main", "--config=digits:simsiam", f"--workdir={workdir}", *keys]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True, cwd=workdir.parent)
    return done.stdout.strip().rpartition(" ")[2]


def test_the_import_is_light():
    program = "import sys, time; t = time.perf_counter(); import sidae_jax; t = time.perf_counter() - t\n"
    program += "assert {*sidae_jax.__all__, 'load', 'Run'} <= set(dir(sidae_jax)); heavy = {'jax', 'flax', 'absl', "
    program += "'tensorflow_datasets', 'numpy'}; print(t < 0.3, sorted(heavy & set(sys.modules)))\n"
    program += "sidae_jax.make_config('digits'); print(sorted((heavy - {'absl', 'numpy'}) & set(sys.modules)))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout == "True []\n[]\n", done.stderr
    with pytest.raises(AttributeError, match="has no attribute 'lode'"):
        sidae_jax.lode  # noqa: B018


def test_a_config_is_that_of_the_command_line():
    given = {"views": {"p_blur": 0.25}, "views.crop_scale": (0.5, 1), "lr": 1, "init_from": pathlib.Path("a"), **TINY}
    made = flat(sidae_jax.make_config("digits", "simsiam", **given))
    assert made.pop("views.crop_scale") == (0.5, 1.0)
    wanted = flat(pretraining("simsiam", "digits", **TINY)) | {"views.p_blur": 0.25, "lr": 1.0, "init_from": "a"}
    wanted |= {"batch_size": 64}  # that of configs/digits.py
    assert made == {key: value for key, value in wanted.items() if key != "views.crop_scale"}
    assert sidae_jax.make_config().dataset == "cifar10"
    assert sidae_jax.make_config(f"{ROOT}/configs/stl10.py").w == 0.25
    for arguments, changes, says in (
        (["cifra10"], {}, r"did you mean cifar10\?"),
        (["digits", "sidea"], {}, r"did you mean sidae\?"),
        (["digits"], {"epoch": 3}, r"epoch=3 is not a key of this config: did you mean --config.epochs\?"),
        (["digits"], {"views": {"p_blurr": 3}}, "p_blurr=3 is not a key"),
        (["digits"], {"epochs": 2.5}, "epochs=2.5 is not an integer"),
        (["digits"], {"w": 2.0}, "config.w=2.0 is out of range"),
        (["linear_eval", None], {}, "this is an evaluation's config"),
    ):
        with pytest.raises(UserError, match=says):
            sidae_jax.make_config(*arguments, **changes)


class Spy(nnx.Module):
    """A method whose metrics are what the train step gives it."""

    def __init__(self):
        self.weight = nnx.Param(jnp.zeros(()))

    def loss(self, batch, keys):
        return self.weight[...], {"x": batch.x, "x1": batch.x1, "x2": batch.x2}


def test_views_are_those_of_the_first_train_step(images):
    changes = {"p_blur": 0.5, "crop_scale": (0.1, 0.9)}
    config, normalization, on = pretraining("simsiam", "digits"), measure(images), devices(1)
    config.views.update(changes)
    optimizer, _ = step.make_optimizer(0.1, 0.9, 0.0, 10)
    graphdef, state = step.create_state(Spy(), optimizer)
    settings = {"views": view_settings(config), "normalization": normalization, "size": 32}
    mapped = step.data_parallel(
        functools.partial(step.train_step, graphdef=graphdef, optimizer=optimizer, **settings), on
    )
    batch = step.ImageBatch(jnp.asarray(images), jnp.zeros(len(images), jnp.int32))
    _, metrics = mapped(mesh.put_tree(on, state), batch, mesh.replicated_keys(on, [5]))
    views = sidae_jax.sample_views(images, seed=5, **changes)
    for found, name in zip(views, ("x", "x1", "x2"), strict=True):
        assert found.dtype == np.float32
        wanted = metrics[name] * np.float32(normalization.std) + np.float32(normalization.mean)
        np.testing.assert_allclose(found, wanted, atol=2e-6)
    np.testing.assert_allclose(views[0], images / 255, atol=1e-6)
    # by hand, with the tag of the stream: the second view of the image in place 3
    key = functools.reduce(jax.random.fold_in, [2, 0, 3], jax.random.key(5))
    params = sample_params(jax.random.split(key)[1], view_settings(config), 32)
    planes = jnp.asarray(images[3].transpose(2, 0, 1), jnp.float32) / 255
    by_hand = np.asarray(apply(planes, params, view_settings(config), 32)).transpose(1, 2, 0)
    np.testing.assert_allclose(views[2][3], by_hand, atol=2e-6)


def test_views_of_a_config_have_its_size_and_mistakes_are_named(images):
    large = images.repeat(2, 1).repeat(2, 2)
    config = sidae_jax.make_config(
        "digits", size=32, store_size=64, views={"p_flip": 1.0, "p_jitter": 0.0, "p_blur": 0.0}
    )
    x, x1, x2 = sidae_jax.sample_views(large, config=config, p_gray=0.0, crop_scale=(1, 1), crop_ratio=(1, 1))
    assert x.shape == x1.shape == x2.shape == (12, 32, 32, 3)
    np.testing.assert_allclose(x1, x[:, :, ::-1], atol=2e-6)
    assert not np.array_equal(x, images / 255)  # the antialiased filter sees the larger image's pixels
    for bad in (images / 255, images[0], images[:, :20], images[:0], images[..., :1]):
        with pytest.raises(UserError, match="have no views: give uint8 of"):
            sidae_jax.sample_views(bad)
    with pytest.raises(UserError, match="side at least 32"):
        sidae_jax.sample_views(images[:, ::2, ::2], config=config)
    with pytest.raises(UserError, match=r"did you mean --config.views.p_blur\?"):
        sidae_jax.sample_views(images, p_blurr=0.5)
    with pytest.raises(UserError, match="seed=-1"):
        sidae_jax.sample_views(images, seed=-1)


def test_a_run_has_the_bits_of_the_command_lines(trained, sha256_of_the_command_line, capsys):
    run, records = trained
    sidae_jax.train(run.config, run)  # is finished, and says so
    assert sha256(capsys) == sha256_of_the_command_line
    lines = [json.loads(line) for line in (run.workdir / "metrics.jsonl").read_text().splitlines()]
    assert records == lines
    assert [record["step"] for record in records] == [5, 10, 15, 20, 22, 25, 30, 35, 40, 44]  # 22 and 44 measured


def test_a_run_that_is_stopped_in_each_way_continues_to_the_same_bits(tmp_path, sha256_of_the_command_line, capsys):
    def call_at(step, action):
        return lambda record: action() if record["step"] == step else None

    def stop():
        raise StopIteration

    def fail():
        raise ZeroDivisionError

    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    run = sidae_jax.train(tiny(), tmp_path, on_log=call_at(5, stop))
    assert run.checkpoints == [5]
    assert "stopped by on_log; step 5 is saved" in capsys.readouterr().out
    with pytest.raises(KeyboardInterrupt):
        sidae_jax.train(tiny(), tmp_path, on_log=call_at(10, lambda: interrupt(times=2)))
    (saved,) = run.checkpoints
    assert 10 <= saved < 22
    with pytest.raises(ZeroDivisionError):
        sidae_jax.train(tiny(), tmp_path, on_log=call_at(35, fail))
    assert run.checkpoints == [22]
    thread = threading.Thread(target=sidae_jax.train, args=(tiny(), tmp_path))
    thread.start()
    thread.join()
    assert run.checkpoints == [22, 44]
    assert sha256(capsys) == sha256_of_the_command_line
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers


def interrupt(times):
    """As by a notebook's button; the second one, by an impatient user, must not end the notebook."""
    for _ in range(times):
        os.kill(os.getpid(), signal.SIGINT)
        threading.Event().wait(0.2)


def test_what_train_refuses(tmp_path, trained):
    with pytest.raises(UserError, match=r"config.num_seeds=2 makes several runs.*call it for each seed"):
        sidae_jax.train(tiny(num_seeds=2), tmp_path)
    broken = tiny()
    broken.lr = -1.0
    with pytest.raises(UserError, match=r"config.lr=-1.0 is out of range"):
        sidae_jax.train(broken, tmp_path)
    with pytest.raises(UserError, match="holds a run with other settings"):
        sidae_jax.train(tiny(lr=0.5), trained[0].workdir)
    assert list(tmp_path.iterdir()) == []


def test_evaluations_and_encoders_of_a_run(trained, images):
    run, _ = trained
    small = {"train_split": "train[:100]", "test_split": "test[:50]"}
    records = sidae_jax.evaluate(run, "knn", step=22, knn={"k": 7}, **small)
    assert [record["step"] for record in records] == [0, 22]
    assert records[0]["knn"] == {"k": 7, "temperature": 0.07}
    assert run.results == [json.loads(json.dumps(record)) for record in records]
    assert "2 results" in repr(run)
    encoder = run.encoder()
    assert (encoder.size, encoder.num_features) == (32, 32)
    np.testing.assert_array_equal(encoder.encode(images), sidae_jax.load(str(run.workdir), 44)(images))
    assert encoder.encode(images).shape == (12, encoder.num_features)
    for protocol, changes, says in (
        ("lineer", {}, r"did you mean linear\?"),
        ("linear", {"label_fracton": 0.1}, r"did you mean --config.label_fraction\?"),
        ("linear", {"probe": {"k": 1}}, "probe.k=1 is not a key"),
        ("knn", {"label_fraction": 0}, "above 0"),
    ):
        with pytest.raises(UserError, match=says):
            sidae_jax.evaluate(run, protocol, **changes)
