"""A run that starts from a file of weights: of `sidae_jax.export`, of others, and files that are neither."""

import pathlib

import numpy as np
import pytest
import safetensors.numpy
from saved_runs import flip_a_bit, save, trained_arrays
from test_warm_start import initial_state, of_backbone, settings, started

from sidae_jax.errors import UserError
from sidae_jax.exports import make_export
from sidae_jax.runs import checkpoint
from sidae_jax.training.train import train

WANTED = of_backbone(trained_arrays(8))


@pytest.fixture
def source(tmp_path):
    return save(tmp_path / "source", {8: trained_arrays(8)})


@pytest.fixture
def encoder(source, tmp_path):
    """The file of an encoder."""
    make_export.write(source, tmp_path / "encoder.safetensors")
    return tmp_path / "encoder.safetensors"


def assert_started_from(made):
    warm_start, initial = started(made), initial_state(made)
    found, own = (checkpoint.to_arrays(state) for state in (warm_start.apply(initial), initial))
    for name, value in {**own, **WANTED}.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    return warm_start


@pytest.mark.parametrize("part", ["encoder", "method"])
def test_the_backbone_is_that_of_the_run_that_was_exported(part, source, tmp_path):
    path = tmp_path / "file.safetensors"
    make_export.write(source, path, part)
    warm_start = assert_started_from(settings(path, seed=7))
    assert warm_start.record == {"file": str(path), "sha256": started(settings(source)).record["sha256"]}


def foreign(path, change=lambda arrays: arrays):
    """Writes the arrays of an encoder again, without anything beside them."""
    safetensors.numpy.save_file(change(safetensors.numpy.load_file(path)), path)
    return path


def test_a_state_dict_of_torchvisions_needs_nothing_beside_its_arrays(encoder):
    def with_the_rest(arrays):
        counters = {
            name.replace("running_var", "num_batches_tracked"): np.array(7)
            for name in arrays
            if name.endswith("running_var")
        }
        return {**arrays, **counters, "fc.weight": np.ones((10, 32), np.float32), "fc.bias": np.ones(10, np.float32)}

    assert_started_from(settings(foreign(encoder, with_the_rest)))


def without(name):
    return lambda arrays: {key: value for key, value in arrays.items() if key != name}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (without("layer1.0.bn1.running_var"), r"'layer1.0.bn1.running_var' is missing there and \[4\] here"),
        (
            lambda arrays: {**arrays, "layer1.2.conv1.weight": np.ones((4, 4, 3, 3), np.float32)},
            r"'layer1.2.conv1.weight' is \[4, 4, 3, 3\] there and missing here",
        ),
        (
            lambda arrays: {**arrays, "conv1.weight": np.ones((4, 3, 3, 3), np.float32)},
            r"'conv1.weight' is \[4, 3, 3, 3\] there and \[4, 3, 7, 7\] here; give its --config.backbone, width and",
        ),
        (
            lambda arrays: {**arrays, "bn1.bias": arrays["bn1.bias"].astype(np.float16)},
            "init_from=.* holds 'bn1.bias' as F16: give a file of float32 arrays",
        ),
    ],
)
def test_other_arrays_are_refused_naming_one(change, says, encoder):
    with pytest.raises(UserError, match=says):
        started(settings(foreign(encoder, change)))


@pytest.mark.parametrize(
    ("changes", "theirs", "ours"),
    [
        ({"backbone": "resnet34"}, "backbone=resnet18", "backbone=resnet34"),
        ({"width": 8, "stem": "cifar"}, "width=4, stem=imagenet", "width=8, stem=cifar"),
    ],
)
def test_an_encoder_of_another_kind_is_refused_naming_both(encoder, changes, theirs, ours):
    with pytest.raises(UserError, match=f"init_from={encoder} holds an encoder with {theirs}, this run has {ours}: "):
        started(settings(encoder, **changes))


def test_what_stands_beside_the_arrays_is_shown_in_one_short_sentence(encoder):
    arrays = safetensors.numpy.load_file(encoder)
    beside = {"sidae_jax": "1", "backbone": "a\n" * 5000, "width": "9" * 5000}
    safetensors.numpy.save_file(arrays, encoder, {**beside, "sha256": checkpoint.arrays_sha256(arrays)})
    with pytest.raises(UserError, match="holds an encoder with backbone=a a a") as error:
        started(settings(encoder))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 1000


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def make_huge(path):
    """A header that promises more than is there, of memory too."""
    header = b'{"conv1.weight":{"dtype":"F32","shape":[1000000,1000000,7,7],"data_offsets":[0,196000000000000]}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(100))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (cut, "cannot be read as safetensors .*: give a whole file that sidae_jax.export wrote"),
        (make_huge, "cannot be read as safetensors"),
        (lambda path: path.write_bytes(b""), "cannot be read as safetensors"),
        (lambda path: path.write_bytes(b"\x80\x04cposix\nsystem\n" * 20), "cannot be read as safetensors"),
        (pathlib.Path.unlink, "cannot be read as safetensors .*No such file"),
        (flip_a_bit, "does not have the arrays that were written to it, by its sha256: export it again"),
    ],
)
def test_a_damaged_file_is_refused_in_a_sentence(damage, says, encoder):
    damage(encoder)
    with pytest.raises(UserError, match=f"init_from={encoder} {says}") as error:
        started(settings(encoder))
    assert "\n" not in str(error.value)


def test_a_run_that_continues_takes_no_other_file(source, encoder, tmp_path):
    first = started(settings(encoder))
    save(source, {12: trained_arrays(12)})
    make_export.write(source, encoder)
    says = rf"init_from={encoder} is not what this run was started from: {encoder} has a backbone with another sha256"
    with pytest.raises(UserError, match=says):
        started(settings(encoder), first.record).apply(initial_state(settings(encoder)))


def test_a_run_from_the_file_has_the_bits_of_one_from_the_run(source, encoder, tmp_path):
    at_the_end = []
    for init_from in source, encoder:
        made = settings(init_from, "simsiam", epochs=1)
        run = tmp_path / f"run{len(at_the_end)}"
        train(made, str(run))
        with checkpoint.Checkpoints(run, read_only=True) as checkpoints:
            at_the_end.append(checkpoints.restore(2, checkpoint.to_arrays(initial_state(made))))
    assert checkpoint.arrays_sha256(at_the_end[0]) == checkpoint.arrays_sha256(at_the_end[1])
