"""Exported files: PyTorch's names and layouts, what stands beside them, and what `sidae_jax.export` refuses."""

import json
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy
from report_names import from_torch as from_report_names
from saved_runs import NORMALIZATION, PRETRAINING, arrays_of, flip_a_bit, save, trained_arrays
from torch_names import from_torch
from torchvision_shapes import basic_resnet, bottleneck_resnet, norm

import sidae_jax
from sidae_jax.config import pretraining
from sidae_jax.errors import UserError
from sidae_jax.exports import encoder, make_export
from sidae_jax.methods import make_method
from sidae_jax.networks.backbones import BACKBONES
from sidae_jax.runs import weights_file
from sidae_jax.runs.checkpoint import arrays_sha256

ENCODER = "encoder.backbone."

SHAPES = {
    ("resnet18", "imagenet"): basic_resnet((2, 2, 2, 2), 4),
    ("resnet18", "cifar"): basic_resnet((2, 2, 2, 2), 4, stem=3),
    ("resnet34", "imagenet"): basic_resnet((3, 4, 6, 3), 4),
    ("resnet50", "imagenet"): bottleneck_resnet((3, 4, 6, 3), 4),
    ("resnet18_gn", "imagenet"): basic_resnet((2, 2, 2, 2), 4, leaves=("weight", "bias")),
}


def run_of(folder, method="supervised", **changes):
    """Saves a run in which every value is another, and returns it and its arrays."""
    settings = {"width": 4, **({} if method == "supervised" else {"d_hid": 32}), **changes}
    made_by = pretraining(method, "digits", **settings)
    rng = np.random.default_rng(0)
    arrays = {
        name: value + rng.uniform(0.01, 0.2, value.shape).astype(value.dtype)
        for name, value in arrays_of(make_method(made_by, None)).items()
    }
    return save(folder, {4: arrays}, made_by), arrays


def exported(run, tmp_path, **options):
    out = tmp_path / "out.safetensors"
    make_export.write(run, out, **options)
    return safetensors.numpy.load_file(out)


def assert_same(found, wanted):
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.mark.parametrize(("backbone", "stem"), SHAPES)
def test_an_encoder_has_torchvisions_names_shapes_and_values(backbone, stem, tmp_path):
    run, arrays = run_of(tmp_path / "run", backbone=backbone, stem=stem)
    found = exported(run, tmp_path)
    assert {name: value.shape for name, value in found.items()} == SHAPES[backbone, stem]
    _, blocks = BACKBONES[backbone].torchvision
    wanted = {name: value for name, value in arrays.items() if ".encoder.backbone." in name}
    assert_same(from_torch({ENCODER + name: value for name, value in found.items()}, blocks), wanted)


def test_a_sidaes_heads_and_decoder_have_pytorchs_layouts(tmp_path):
    run, arrays = run_of(tmp_path / "run", "sidae", size=64)
    found = exported(run, tmp_path, part="method")
    heads = {
        "projector.linear1.weight": (32, 32),
        "projector.linear2.weight": (32, 32),
        "projector.linear3.weight": (32, 32),
        **norm("projector.norm1", 32),
        **norm("projector.norm2", 32),
        **norm("projector.norm3", 32, ("running_mean", "running_var")),
        "predictor.linear1.weight": (8, 32),
        **norm("predictor.norm1", 8),
        "predictor.linear2.weight": (32, 8),
        "predictor.linear2.bias": (32,),
        "decoder.linear.weight": (2 * 2 * 32, 32),
        "decoder.linear.bias": (2 * 2 * 32,),
        "decoder.last.weight": (4, 3, 3, 3),
        "decoder.last.bias": (3,),
    }
    for i, (before, after) in enumerate([(32, 16), (16, 8), (8, 4), (4, 4)]):
        heads |= {f"decoder.convs.{i}.weight": (before, after, 3, 3), **norm(f"decoder.norms.{i}", after)}
    backbone = {f"backbone.{name}": shape for name, shape in SHAPES["resnet18", "imagenet"].items()}
    assert {name: value.shape for name, value in found.items()} == heads | backbone
    # [in, out, row, column] of [row, column, in, out]; output [channel, row, column] of [row, column, channel]
    ours, theirs = arrays["params.decoder.convs.0.kernel"], found["decoder.convs.0.weight"]
    assert theirs[5, 9, 0, 2] == ours[0, 2, 5, 9]
    assert found["predictor.linear1.weight"][3, 20] == arrays["params.predictor.linear1.kernel"][20, 3]
    ours, theirs = arrays["params.decoder.linear.kernel"], found["decoder.linear.weight"]
    assert theirs.reshape(32, 2, 2, 32)[7, 1, 0, 30] == ours.reshape(32, 2, 2, 32)[30, 1, 0, 7]


def test_an_autoencoders_heads_and_decoder_have_the_layouts_of_the_reports_code(tmp_path):
    run, arrays = run_of(tmp_path / "run", "ae")
    names = {  # to those of reference/pytorch_report.py
        "projector.linear1": "head.0",
        "projector.norm1": "head.1",
        "projector.linear2": "head.3",
        "classifier.linear1": "classifier.0",
        "classifier.norm1": "classifier.1",
        "classifier.linear2": "classifier.3",
        "decoder.last": "decoder.conv1",
    }
    inside = {"conv1": "conv1", "norm1": "bn1", "conv2": "conv2", "norm2": "bn2"}
    inside |= {"shortcut": "upsample.0.1", "shortcut_norm": "upsample.1"}
    for block in range(8):
        for ours, theirs in inside.items():
            names[f"decoder.blocks.{block}.{ours}"] = f"decoder.layer{block // 2 + 1}.{block % 2}.{theirs}"
    found = {}
    for name, value in exported(run, tmp_path, part="method").items():
        module, _, leaf = name.rpartition(".")
        found[f"{names.get(module, module)}.{leaf}"] = value
    assert_same(from_report_names(found), arrays)


@pytest.mark.parametrize("part", ["encoder", "method"])
def test_what_stands_beside_the_arrays(part, tmp_path):
    run = save(tmp_path / "run", {4: trained_arrays(4), 8: trained_arrays(8)})
    found = exported(run, tmp_path, part=part, step=4)
    with safetensors.safe_open(tmp_path / "out.safetensors", framework="numpy") as file:
        metadata = file.metadata()
    assert json.loads(metadata.pop("mean")) == list(NORMALIZATION.mean)
    assert json.loads(metadata.pop("std")) == list(NORMALIZATION.std)
    assert len(metadata.pop("metadata_sha256")) == 64  # tests/test_damage_told.py
    assert metadata == {
        "format": "pt",
        "sidae_jax": sidae_jax.__version__,
        "part": part,
        "method": "simsiam",
        "dataset": "digits",
        "train_split": "train",
        "backbone": "resnet18",
        "stem": "imagenet",
        "width": "4",
        "size": "32",
        "precision": PRETRAINING.precision,
        "seed": "3",
        "epochs": "2",
        "epochs_planned": "200",
        "step": "4",
        "network": "torchvision.models.resnet18() with 4 channels in the first stage instead of 64",
        "sha256": arrays_sha256(found),
    }


@pytest.mark.parametrize(
    ("changes", "network"),
    [
        ({}, "torchvision.models.resnet18()"),
        ({"backbone": "resnet50"}, "torchvision.models.resnet50()"),
        (
            {"backbone": "resnet18_gn"},
            "torchvision.models.resnet18(norm_layer=lambda channels: torch.nn.GroupNorm(32, channels))",
        ),
        (
            {"stem": "cifar"},
            "torchvision.models.resnet18() with conv1 = torch.nn.Conv2d(3, 64, 3, 1, 1, bias=False), maxpool = "
            "torch.nn.Identity()",
        ),
    ],
)
def test_it_says_how_torchvisions_network_becomes_this_one(changes, network):
    config = pretraining("sidae", "digits", **changes).to_dict()
    assert encoder.network_of(config) == network


def test_the_same_arrays_give_the_same_bytes_in_every_process(tmp_path):
    code = (
        "import pathlib, sys, numpy as np\n"
        "from sidae_jax.runs import weights_file\n"
        "texts = {key: key for key in ('sidae_jax', 'a', 'b', 'c', 'd', 'e', 'f', 'é')}\n"
        "weights_file.write(pathlib.Path(sys.argv[1]), {'x': np.arange(6, dtype=np.float32).reshape(2, 3).T}, texts)\n"
    )
    files = [tmp_path / f"{i}.safetensors" for i in range(2)]
    for file in files:
        subprocess.run([sys.executable, "-c", code, file], check=True, timeout=60)
    assert files[0].read_bytes() == files[1].read_bytes()
    arrays, metadata = weights_file.read(files[0], "it")
    np.testing.assert_array_equal(arrays["x"], [[0, 3], [1, 4], [2, 5]])
    assert metadata["é"] == "é"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return save(tmp_path_factory.mktemp("run"), {4: trained_arrays(4), 8: trained_arrays(8)})


def test_a_backbone_of_ones_own_is_refused(tmp_path):
    BACKBONES["own"] = type(BACKBONES["resnet18"])(BACKBONES["resnet18"].build)
    try:
        with pytest.raises(
            UserError, match=r"backbone of --workdir=\S+, own, is none of torchvision's: give a run with "
        ):
            exported(run_of(tmp_path / "run", backbone="own")[0], tmp_path)
    finally:
        del BACKBONES["own"]


def test_a_step_that_is_not_saved_and_a_corrupt_checkpoint_are_refused(tmp_path):
    run = save(tmp_path / "run", {4: trained_arrays(4), 8: trained_arrays(8)})
    with pytest.raises(
        UserError, match=r"--step=5 is not saved in \S+: give one of the integers 4, 8, best for .*, or no --step"
    ):
        exported(run, tmp_path, step=5)
    for path in (run / "checkpoints" / "8" / "state").rglob("*"):
        if path.is_file() and path.stat().st_size > 1000:
            flip_a_bit(path)
    with pytest.raises(UserError, match="checkpoints/8"):
        exported(run, tmp_path)
    assert not (tmp_path / "out.safetensors").exists()


def export(*arguments):
    command = [sys.executable, "-m", "sidae_jax.export", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_the_program_replaces_no_file_unless_it_is_told_to(run, tmp_path):
    out = tmp_path / "encoder.safetensors"
    out.write_text("mine")
    refused = export(f"--workdir={run}", f"--out={out}")
    wanted = f"error: --out={out} is already there: give another name, or --overwrite to replace it\n"
    assert (refused.returncode, refused.stderr, out.read_text()) == (2, wanted, "mine")
    done = export(f"--workdir={run}", f"--out={out}", "--overwrite")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{out}: the encoder after step 8 (simsiam on digits, 4 epochs), 100 arrays\n")
    assert_same(safetensors.numpy.load_file(out), exported(run, tmp_path))
