"""Checkpoints in real orbax folders: bit-equal round trips, corruption, what is kept and what is removed."""

import pathlib
import shutil

import jax
import numpy as np
import optax
import pytest
from flax import nnx

from sidae_jax.errors import UserError
from sidae_jax.runs import checkpoint
from sidae_jax.runs.checkpoint import Checkpoints, CorruptCheckpoint

# After the first error orbax closes the event loop in which its other reads are still to report.
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored:pytest.PytestUnraisableExceptionWarning")

METADATA = {"step": 1, "loss": 0.1, "config": {"views": {"crop": [0.2, 1.0]}, "data_dir": None}}


def some_arrays(seed: int) -> checkpoint.Arrays:
    # Random mantissas do not shrink when orbax compresses them, so the array data is the largest file.
    kernel = np.random.default_rng(seed).normal(size=(64, 64)).astype(np.float32)
    return {
        "params.encoder.kernel": kernel,
        "params.encoder.bias": np.array([np.nextafter(np.float32(1), 2), -0.0, 1e-45], np.float32),
        "params.head.kernel": kernel[:3] + 1,
        "step": np.array(seed, np.int32),
    }


def save(workdir: pathlib.Path, *steps: int, scheduled: bool = True) -> None:
    with Checkpoints(workdir, read_only=False) as checkpoints:
        for step in steps:
            checkpoints.save(step, some_arrays(step), {**METADATA, "step": step}, scheduled=scheduled)
            checkpoints.settle()


def restore_newest(workdir: pathlib.Path):
    with Checkpoints(workdir, read_only=False) as checkpoints:
        found = checkpoints.newest_intact(some_arrays(0))
        assert found is None or found[0] == found[1]["step"] == checkpoints.steps()[-1]
        return found and found[1:]


def assert_bit_equal(found: checkpoint.Arrays, wanted: checkpoint.Arrays) -> None:
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert (found[name].dtype, found[name].shape) == (value.dtype, value.shape), name
        assert found[name].tobytes() == value.tobytes(), name


def files_of(workdir: pathlib.Path, step: int, item: str = "state") -> list[pathlib.Path]:
    """The files of an item, the largest first."""
    files = (path for path in (workdir / "checkpoints" / str(step) / item).rglob("*") if path.is_file())
    return sorted(files, key=lambda path: -path.stat().st_size)


def flip_bit(path: pathlib.Path, at: float) -> None:
    content = bytearray(path.read_bytes())
    content[int(at * len(content))] ^= 4
    path.write_bytes(content)


@pytest.fixture(scope="module")
def two_steps(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("two")
    save(workdir, 1, 2)
    return workdir


@pytest.fixture
def workdir(two_steps, tmp_path):
    """A workdir with the scheduled checkpoints 1 and 2."""
    return pathlib.Path(shutil.copytree(two_steps, tmp_path / "run"))


def test_round_trip_is_bit_equal(workdir):
    arrays, metadata = restore_newest(workdir)
    assert_bit_equal(arrays, some_arrays(2))
    assert {key: metadata[key] for key in METADATA} == {**METADATA, "step": 2}


def test_an_empty_workdir_has_no_checkpoint(tmp_path):
    assert restore_newest(tmp_path) is None


@pytest.mark.parametrize("at", [0.1, 0.5, 0.9])  # orbax does not read the last tenth, an older copy of small arrays
def test_a_flipped_bit_is_found_and_the_step_before_restored(workdir, at, caplog):
    flip_bit(files_of(workdir, 2)[0], at)
    with Checkpoints(workdir, read_only=True) as checkpoints, pytest.raises(CorruptCheckpoint):
        checkpoints.restore(2, some_arrays(0))
    arrays, metadata = restore_newest(workdir)
    assert_bit_equal(arrays, some_arrays(1))
    assert metadata["step"] == 1
    assert (workdir / "checkpoints" / ".corrupt-2").is_dir()
    assert f"Checkpoint 2 is corrupt ({workdir}/checkpoints/2" in caplog.text
    assert f"it is moved to {workdir}/checkpoints/.corrupt-2." in caplog.text
    save(workdir, 2)  # its number is free again
    assert_bit_equal(restore_newest(workdir)[0], some_arrays(2))


def test_the_same_step_may_be_corrupt_twice(workdir):
    for _ in range(2):
        flip_bit(files_of(workdir, 2)[0], 0.5)
        assert restore_newest(workdir)[1]["step"] == 1
        save(workdir, 2)


def truncate(path: pathlib.Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("item", ["state", "metadata"])
@pytest.mark.parametrize("corruption", [truncate, pathlib.Path.unlink])
def test_truncated_and_deleted_files_are_found(workdir, corruption, item):
    corruption(files_of(workdir, 2, item)[0])
    arrays, metadata = restore_newest(workdir)
    assert_bit_equal(arrays, some_arrays(1))
    assert metadata["step"] == 1


def test_a_changed_number_in_the_metadata_is_found(workdir):
    path = files_of(workdir, 2, "metadata")[0]
    assert path.read_text().count('"step": 2') == 1
    path.write_text(path.read_text().replace('"step": 2', '"step": 3'))
    assert restore_newest(workdir)[1]["step"] == 1


def test_an_older_checkpoint_with_corrupt_metadata_does_not_matter(workdir):
    files_of(workdir, 1, "metadata")[0].write_text("{")
    assert restore_newest(workdir)[1]["step"] == 2
    save(workdir, 3)


def test_when_all_are_corrupt_the_run_neither_continues_nor_starts_again(workdir):
    for step in 1, 2:
        flip_bit(files_of(workdir, step)[0], 0.5)
    for _ in range(2):  # the second time as well: nothing was moved out of the way
        with pytest.raises(UserError, match=f"no checkpoint in {workdir}/checkpoints can be read.*another --workdir"):
            restore_newest(workdir)


@pytest.mark.parametrize(
    ("name", "like"),
    [
        ("params.head.kernel", None),
        ("params.extra", np.zeros(3, np.float32)),
        ("params.head.kernel", np.zeros((3, 65), np.float32)),
        ("params.encoder.kernel", np.zeros(64 * 64, np.float32)),
        ("params.head.kernel", np.zeros((3, 64), np.float16)),
        ("step", np.zeros((), np.int64)),
        ("step", np.zeros((), np.float32)),
    ],
    ids=["missing", "extra", "longer", "flat", "float16", "int64", "float32"],
)
def test_another_network_is_refused_by_name(two_steps, name, like):
    wanted = {**some_arrays(0), name: like}
    if like is None:
        del wanted[name]
    with Checkpoints(two_steps, read_only=True) as checkpoints, pytest.raises(CorruptCheckpoint, match=name):
        checkpoints.restore(2, wanted)


def test_a_part_is_restored_alone_and_as_strictly(workdir):
    under = "params.encoder."
    part = {name: value for name, value in some_arrays(2).items() if name.startswith(under)}
    with Checkpoints(workdir, read_only=True) as checkpoints:
        assert_bit_equal(checkpoints.restore(2, part, under=(under,)), part)
        for name, wrong in (
            ("params.encoder.bias", {"params.encoder.kernel": part["params.encoder.kernel"]}),
            ("params.encoder.scale", {**part, "params.encoder.scale": part["params.encoder.bias"]}),
            ("params.head.kernel", {**part, "params.head.kernel": some_arrays(2)["params.head.kernel"]}),
            ("params.encoder.bias", {**part, "params.encoder.bias": np.zeros(4, np.float32)}),
        ):
            with pytest.raises(CorruptCheckpoint, match=name):
                checkpoints.restore(2, wrong, under=(under,))


@pytest.mark.parametrize("reopened", [False, True])
def test_what_a_stop_left_is_removed_by_the_next_save_and_nothing_else(workdir, reopened):
    with Checkpoints(workdir, read_only=False) as checkpoints:
        checkpoints.save(3, some_arrays(3), {**METADATA, "step": 3}, scheduled=False)
        assert checkpoints.steps() == [1, 2, 3]
        if not reopened:
            checkpoints.save(4, some_arrays(4), {**METADATA, "step": 4}, scheduled=True)
            checkpoints.settle()
    with Checkpoints(workdir, read_only=False) as checkpoints:
        if reopened:
            assert_bit_equal(checkpoints.newest_intact(some_arrays(0))[1], some_arrays(3))
            checkpoints.save(4, some_arrays(4), {**METADATA, "step": 4}, scheduled=True)
            checkpoints.settle()
        assert checkpoints.steps() == [1, 2, 4]
    assert sorted(path.name for path in (workdir / "checkpoints").iterdir()) == ["1", "2", "4"]


def test_reading_writes_nothing(workdir, caplog):
    def listing():
        return sorted((str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in workdir.rglob("*"))

    (workdir / "checkpoints" / "3.orbax-checkpoint-tmp").mkdir()  # of a run that is just saving
    before = listing()
    with Checkpoints(workdir, read_only=True) as checkpoints:
        assert checkpoints.steps() == [1, 2]
        assert checkpoints.metadata(1)["step"] == 1
        checkpoints.restore(2, some_arrays(0))
        with pytest.raises(AssertionError):
            checkpoints.newest_intact(some_arrays(0))
        with pytest.raises(AssertionError):
            checkpoints.save(3, some_arrays(3), {**METADATA, "step": 3}, scheduled=True)
    assert listing() == before
    assert not caplog.records


class Network(nnx.Module):
    def __init__(self):
        self.layers = nnx.List([nnx.Linear(2, 3, rngs=nnx.Rngs(i)) for i in range(2)])
        self.norm = nnx.BatchNorm(3, rngs=nnx.Rngs(2))


def test_names_of_a_network_and_of_its_optimizer_and_the_way_back():
    _, params, batch_stats = nnx.split(Network(), nnx.Param, nnx.BatchStat)
    opt_state = optax.sgd(0.1, momentum=0.9).init(params)
    arrays = checkpoint.to_arrays(params, "params.")
    layer = ["params.layers.0.bias", "params.layers.0.kernel", "params.layers.1.bias", "params.layers.1.kernel"]
    assert sorted(arrays) == [*layer, "params.norm.bias", "params.norm.scale"]
    assert sorted(checkpoint.to_arrays(batch_stats)) == ["norm.mean", "norm.var"]
    assert "0.trace.layers.1.kernel" in checkpoint.to_arrays(opt_state)
    for tree in params, batch_stats, opt_state:
        arrays = checkpoint.to_arrays(tree, "p.")
        assert len(arrays) == len(jax.tree.leaves(tree))
        numbered = {name: np.full(value.shape, i) for i, (name, value) in enumerate(arrays.items())}
        back = checkpoint.from_arrays(tree, numbered, "p.")
        assert jax.tree.structure(back) == jax.tree.structure(tree)
        assert_bit_equal(checkpoint.to_arrays(back, "p."), numbered)
    np.testing.assert_array_equal(checkpoint.to_arrays(params)["layers.1.kernel"], Network().layers[1].kernel[...])


def test_the_sum_of_arrays_depends_on_names_values_dtype_and_shape_and_not_on_the_order():
    a, b = np.arange(6, dtype=np.float32), np.zeros((2, 2), np.float32)
    base = checkpoint.arrays_sha256({"a": a, "b": b})
    assert base == checkpoint.arrays_sha256({"b": b, "a": a})
    assert base == checkpoint.arrays_sha256({"a": np.stack([a, a], 1)[:, 0], "b": b})  # another memory layout
    others = [
        {"a": a, "c": b},
        {"a": b, "b": a},
        {"a": a},
        {"a": a.view(np.int32), "b": b},
        {"a": a.reshape(2, 3), "b": b},
        {"a": a, "b": -b},  # -0.0 == 0.0, with other bits
        {"a": np.nextafter(a, 9), "b": b},
    ]
    assert len({base, *map(checkpoint.arrays_sha256, others)}) == 1 + len(others)


def test_the_best_one_stays_until_a_better_one_is_saved(tmp_path):
    def add(checkpoints, step, *, best=False, scheduled=False):
        if best:
            checkpoints.best = step
        checkpoints.save(step, some_arrays(step), {**METADATA, "step": step}, scheduled=scheduled)
        before = checkpoints.steps()
        checkpoints.settle()
        return before

    with Checkpoints(tmp_path, read_only=False) as checkpoints:
        add(checkpoints, 1, best=True)
        add(checkpoints, 2)
        assert add(checkpoints, 3) == [1, 2, 3]  # nothing goes before all seeds of a run have saved
        assert checkpoints.steps() == [1, 3]
        checkpoints.keep(3)
        checkpoints.settle()
        assert checkpoints.steps() == [1, 3]
        add(checkpoints, 4, best=True, scheduled=True)
        assert checkpoints.steps() == [3, 4]
        assert [checkpoints.is_temporary(step) for step in (3, 4)] == [False, False]
