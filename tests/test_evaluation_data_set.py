"""Which data set an evaluation is on: the run's own, another, or a folder of images."""

import pytest
from image_folders import write_digits

from sidae_jax.config import pretraining
from sidae_jax.errors import UserError
from sidae_jax.evaluation import config as evaluation_config
from sidae_jax.evaluation.config import check_run, protocol
from sidae_jax.evaluation.data_set import choose
from sidae_jax.settings import FolderSettings

ON_CIFAR10 = pretraining("sidae", "cifar10", data_dir="/tfds")
ON_FOLDER = pretraining("ae", "folder", images="/data/pets", test_share=0.2, on_damage="skip")


def given(name="linear", **values):
    config = protocol(name)
    config.update(values)
    return config


def test_without_keys_it_is_the_runs_own():
    assert (choose(given(), ON_CIFAR10).name, choose(given(), ON_CIFAR10).data_dir) == ("cifar10", "/tfds")
    assert choose(given(), ON_FOLDER).folder == FolderSettings("/data/pets", 0.2, "skip")
    assert choose(given(), ON_FOLDER).title == "folder pets"


def test_a_folder_is_chosen_by_images_alone_and_keeps_the_runs_other_keys(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert choose(given(images="/data/x"), ON_CIFAR10).folder == FolderSettings("/data/x", 0.1, "refuse")
    assert choose(given(images="x", test_share=0.0), ON_FOLDER).folder == FolderSettings(f"{tmp_path}/x", 0.0, "skip")
    assert choose(given(dataset="folder", images="/x"), ON_CIFAR10).title == "folder x"
    assert choose(given(dataset="mnist"), ON_FOLDER).name == "mnist"


def test_keys_of_a_folder_without_one_are_told():
    for key, value in (("images", "/x"), ("test_share", 0.5), ("on_damage", "skip")):
        with pytest.raises(UserError, match=rf"config.{key}={value} is a key of folders .* evaluation is on mnist"):
            check_run(given(dataset="mnist", **{key: value}), ON_CIFAR10, None)
    with pytest.raises(UserError, match=r"config.images is missing: give .* --config.images=DIR"):
        check_run(given(dataset="folder"), ON_CIFAR10, None)
    for key, value in (("test_share", 1.0), ("test_share", -0.1), ("on_damage", "ignore")):
        with pytest.raises(UserError, match=f"{key}="):
            evaluation_config.validate(given(**{key: value}))


@pytest.mark.usefixtures("cache_folder")
def test_a_folder_without_classes_has_no_labels(tmp_path):
    paths = write_digits(tmp_path / "digits", 20)
    (tmp_path / "flat").mkdir()
    for path in paths:
        path.rename(tmp_path / "flat" / path.name)
    on = choose(given(images=f"{tmp_path}/flat"), ON_CIFAR10)
    with pytest.raises(UserError, match=rf"config.images={tmp_path}/flat has no labels, which an evaluation needs"):
        on.load("train_split", "train")


def test_a_classifier_trained_on_a_folder_is_evaluated_on_no_other():
    check_run(given("online"), ON_FOLDER, None)
    with pytest.raises(UserError, match=r"config.images=/x cannot be evaluated online by .* trained on /data/pets"):
        check_run(given("online", images="/x"), ON_FOLDER, None)
    check_run(given("online", test_share=ON_FOLDER.test_share), ON_FOLDER, None)
    with pytest.raises(UserError, match=r"config.test_share=0.6 cannot be evaluated online, since the classifier was "):
        check_run(given("online", test_share=0.6), ON_FOLDER, None)
