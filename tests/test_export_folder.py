"""Folders for the Hugging Face hub: what lies in them, what the card says, and encoders loaded from exports."""

import json
import re

import numpy as np
import pytest
import safetensors.numpy
from saved_runs import NORMALIZATION, flip_a_bit, save, trained_arrays
from test_export import run_of

import sidae_jax
from sidae_jax.config import pretraining
from sidae_jax.config_values import plain
from sidae_jax.errors import UserError
from sidae_jax.exports import encoder, hub_folder, make_export

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
FILES = {"model.safetensors", "config.json", "README.md"}
ACCURACIES = {0: [0.5, 0.83, 0.91], 1: [0.5, 0.8, 0.88], 2: [0.5, 0.8, 0.94]}  # by seed, at steps 0, 4 and 8


def write_results(run, config, seed):
    """As the training and the evaluations of a run would: linear probes with all labels and with a tenth of them."""
    (run / "eval").mkdir(parents=True, exist_ok=True)
    (run / "config.json").write_text(json.dumps({"config": {**plain(config), "seed": seed}, "data_sha256": "0"}))
    record = {"protocol": "linear", "dataset": config.dataset, "n_test": 360, "zero_init_residual": False}
    if "images" in config:
        record |= {"images": config.images, "test_share": config.test_share}
    for fraction, less in (1.0, 0.0), (0.1, 0.1):
        lines = [
            {**record, "label_fraction": fraction, "n_train": round(1400 * fraction), "step": step, "epoch": step / 2}
            | {"accuracy": accuracy - less}
            for step, accuracy in zip((0, 4, 8), ACCURACIES[seed], strict=True)
            if step or not less  # the untrained backbone was evaluated with all labels alone
        ]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (run / "eval" / f"linear-{fraction:g}.jsonl").write_text(text)


def several_seeds(folder, config):
    for seed in ACCURACIES:
        write_results(folder / f"seed{seed}", config, seed)
    made_by = config.copy_and_resolve_references()
    made_by.update(seed=0)
    return save(folder / "seed0", {4: trained_arrays(4), 8: trained_arrays(8)}, made_by, config.dataset)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The folder of seed 0 of three."""
    folder = tmp_path_factory.mktemp("exported")
    run = several_seeds(folder / "runs", pretraining("simsiam", "cifar10", width=4, d_hid=32))
    make_export.write(run, folder / "hub")
    return folder / "hub"


def test_a_new_folder_has_the_three_files_and_nothing_is_left_beside_it(exported):
    assert {path.name for path in exported.iterdir()} == FILES
    assert {path.name for path in exported.parent.iterdir()} == {"runs", "hub"}


def test_the_card_has_the_results_with_the_standard_error_of_the_seeds(exported):
    table = [line for line in (exported / "README.md").read_text().splitlines() if line.startswith("| linear probe")]
    # of 91, 88 and 94 percent: mean 91, variance (0 + 9 + 9) / 2 = 9, error 3 / sqrt(3) = 1.73
    assert table == [
        "| linear probe, 10% of the labels | cifar10 | 140 | 360 | 81.00 | not measured | 81.00 ± 1.73 (3 seeds) |",
        "| linear probe | cifar10 | 1400 | 360 | 91.00 | 50.00 | 91.00 ± 1.73 (3 seeds) |",
    ]


def test_an_earlier_checkpoint_has_its_own_results_and_a_run_without_any_says_so(exported, tmp_path):
    run = exported.parent / "runs" / "seed0"
    make_export.write(run, tmp_path / "earlier", step=4)
    card = (tmp_path / "earlier" / "README.md").read_text()
    assert "| 83.00 | 50.00 | 81.00 ± 1.00 (3 seeds) |" in card  # of 83, 80 and 80
    assert "91.00" not in card
    assert "It is of step 4, before the end of its training." in card
    make_export.write(save(tmp_path / "run", {4: trained_arrays(4)}), tmp_path / "without")
    card = (tmp_path / "without" / "README.md").read_text()
    assert "The run's folder has no evaluation of this checkpoint (step 4)." in card
    assert "model-index" not in card
    assert "accuracy" not in card


def test_the_hubs_own_library_reads_the_card(exported):
    hub = pytest.importorskip("huggingface_hub", reason="needs huggingface_hub")
    card = hub.ModelCard.load(exported / "README.md")
    data = card.data.to_dict()
    assert (data["license"], data["library_name"]) == ("unknown", "sidae_jax")
    assert data["datasets"] == ["uoft-cs/cifar10"]
    assert data["pipeline_tag"] == "image-feature-extraction"
    assert {"self-supervised-learning", "simsiam", "resnet18"} <= set(data["tags"])
    results = {each.task_name: (each.dataset_type, each.metric_value) for each in card.data.eval_results}
    assert results == {
        "linear probe": ("uoft-cs/cifar10", 91.0),
        "linear probe, 10% of the labels": ("uoft-cs/cifar10", 81.0),
    }
    assert "@inproceedings{chen2021simsiam" in card.content
    assert "@article{baier2023sidae" in card.content


def test_a_folder_of_images_is_named_without_its_place_and_is_only_text(tmp_path):
    hub = pytest.importorskip("huggingface_hub", reason="needs huggingface_hub")
    name = 'pets "of" <b>me|you: #1\n- é 😀'
    config = pretraining("simsiam", "folder", width=4, d_hid=32, images=f"/home/me/secret/{name}")
    run = several_seeds(tmp_path / "runs", config)
    make_export.write(run, tmp_path / "hub")
    for file in "README.md", "config.json", "model.safetensors":
        assert b"secret" not in (tmp_path / "hub" / file).read_bytes()
    card = hub.ModelCard.load(tmp_path / "hub" / "README.md")
    assert len(card.data.eval_results) == 2
    assert card.data.eval_results[0].dataset_name == f"folder {name}".replace("\n", "\\n")
    (row,) = [line for line in card.content.splitlines() if line.startswith("| linear probe |")]
    assert len(re.findall(r"(?<!\\)\|", row)) == 8
    assert not re.search(r"(?<!\\)<b>", card.text.split("```")[0])


def test_timms_config_is_that_of_the_encoder(tmp_path):
    run, _ = run_of(tmp_path / "run", width=64, size=64, backbone="resnet34", stem="imagenet")
    exported = encoder.read(run)
    found = hub_folder.config(exported)
    assert (found["architecture"], found["num_classes"], found["num_features"]) == ("resnet34", 0, 512)
    wanted = {"mean": list(NORMALIZATION.mean), "std": list(NORMALIZATION.std), "input_size": [3, 64, 64]}
    wanted |= {"first_conv": "conv1", "classifier": "fc", "pool_size": [2, 2], "interpolation": "bilinear"}
    assert {key: found["pretrained_cfg"][key] for key in wanted} == wanted
    assert found["sidae_jax"] == exported.metadata


def test_a_network_that_timm_does_not_have_is_none_of_timms(exported, tmp_path):
    run, _ = run_of(tmp_path / "run", stem="cifar", width=64)
    says = make_export.write(run, tmp_path / "hub")
    assert "not for timm, which has no such network" in says
    config = json.loads((tmp_path / "hub" / "config.json").read_text())
    assert config["architecture"] == "sidae_jax_resnet18_cifar_64"
    card = (tmp_path / "hub" / "README.md").read_text()
    assert "timm has no such network: its resnet18 has another stem than this one" in card
    assert "network.conv1 = torch.nn.Conv2d(3, 64, 3, 1, 1, bias=False)\n" in card
    assert "timm.create_model" not in card
    assert (
        "torchvision and timm have no such network: its first stage has 4 channels"
        in (exported / "README.md").read_text()
    )


def test_a_folder_that_is_there_keeps_what_is_not_ours(exported, tmp_path):
    run, hub = exported.parent / "runs" / "seed0", tmp_path / "hub"
    (hub / ".git").mkdir(parents=True)
    (hub / ".git" / "HEAD").write_text("mine")
    (hub / "README.md").write_text("old")
    make_export.write(run, hub)
    assert (hub / ".git" / "HEAD").read_text() == "mine"
    assert (hub / "README.md").read_bytes() == (exported / "README.md").read_bytes()
    assert {path.name for path in hub.iterdir()} == FILES | {".git"}
    (tmp_path / "empty").mkdir()
    make_export.write(run, tmp_path / "empty")
    assert {path.name for path in (tmp_path / "empty").iterdir()} == FILES


def test_what_fails_on_the_way_leaves_nothing(exported, tmp_path):
    made = encoder.read(exported.parent / "runs" / "seed0")
    del made.metadata["network"]  # so that the card, the last file, cannot be written
    with pytest.raises(KeyError):
        hub_folder.write(tmp_path / "hub", made)
    assert list(tmp_path.iterdir()) == []


KINDS = {"imagenet": {}, "cifar": {"stem": "cifar"}, "gn": {"backbone": "resnet18_gn"}}


@pytest.mark.parametrize("changes", KINDS.values(), ids=KINDS)
def test_load_has_the_runs_features_from_what_was_exported(changes, tmp_path):
    run, _ = run_of(tmp_path / "run", **{"stem": "imagenet", **changes})
    wanted = sidae_jax.load(run)(IMAGES)
    make_export.write(run, tmp_path / "hub")
    make_export.write(run, tmp_path / "method.safetensors", "method")
    for path in tmp_path / "hub", str(tmp_path / "hub" / "model.safetensors"), tmp_path / "method.safetensors":
        np.testing.assert_array_equal(sidae_jax.load(path)(IMAGES), wanted)


def test_load_takes_a_runs_checkpoint_though_a_file_lies_beside_it(tmp_path):
    run = save(tmp_path / "run", {4: trained_arrays(4), 8: trained_arrays(8)})
    make_export.write(run, run / "model.safetensors", step=4)
    np.testing.assert_array_equal(sidae_jax.load(run)(IMAGES), sidae_jax.load(run, 8)(IMAGES))


def without_what_it_says(path):
    safetensors.numpy.save_file(safetensors.numpy.load_file(path), path)


def of_another_width(path):
    arrays = safetensors.numpy.load_file(path)
    with safetensors.safe_open(path, framework="numpy") as file:
        metadata = {**file.metadata(), "width": "100000"}
    del metadata["metadata_sha256"]  # as in a file of an older version
    safetensors.numpy.save_file(arrays, path, metadata)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (without_what_it_says, "run=.*model.safetensors does not say what encoder it holds, or holds another: give a"),
        (of_another_width, "run=.*model.safetensors does not say what encoder it holds, or holds another: give a"),
        (flip_a_bit, "run=.*model.safetensors does not have the arrays that were written to it"),
    ],
)
def test_load_refuses_other_files(damage, says, exported, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes((exported / "model.safetensors").read_bytes())
    damage(path)
    with pytest.raises(UserError, match=says):
        sidae_jax.load(tmp_path)


def test_what_was_exported_has_no_steps(exported):
    with pytest.raises(UserError, match=r"step=8 has no meaning for \S+, which holds one encoder: leave it out"):
        sidae_jax.load(exported, 8)
