"""Files of features: the same bits as load's, with names, labels and what made them, and what is refused."""

import json
import shutil
import subprocess
import sys
import zipfile

import image_folders
import numpy as np
import pytest
from saved_runs import save, trained_arrays

import sidae_jax
from sidae_jax import data
from sidae_jax.errors import UserError
from sidae_jax.exports import embeddings, feature_files
from sidae_jax.runs.checkpoint import Checkpoints, arrays_sha256
from sidae_jax.settings import FolderSettings


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return save(tmp_path_factory.mktemp("run"), {4: trained_arrays(4), 8: trained_arrays(8)})


def read(path):
    """Returns the columns of a file, as NumPy has them, and its metadata."""
    if path.suffix == ".npz":
        columns = dict(np.load(path, allow_pickle=False))
        return columns, json.loads(str(columns.pop("metadata")))
    table = pytest.importorskip("pyarrow.parquet", reason="needs the extra parquet").read_table(path)
    columns = {name: table.column(name).to_pylist() for name in table.column_names}
    metadata = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    return columns, metadata


def of_dataset(prepared_digits, split="train"):
    return embeddings.Images("digits", None, str(prepared_digits), split)


def of_folder(folder, on_damage="refuse", split="train"):
    return embeddings.Images(None, FolderSettings(str(folder), 0.0, on_damage), None, split)


@pytest.mark.parametrize("ending", [".npz", ".parquet"])
def test_a_data_set_has_the_features_of_load_to_the_last_bit(ending, run, prepared_digits, tmp_path):
    path = tmp_path / f"features{ending}"
    if ending == ".parquet":
        pytest.importorskip("pyarrow", reason="needs the extra parquet")
    says = embeddings.write(run, path, of_dataset(prepared_digits), step=4)
    assert says == f"{path}: features 1437 x 32 of the backbone after step 4, labels of 10 classes"
    columns, metadata = read(path)
    images = data.load("digits", "train", str(prepared_digits))
    encoder = sidae_jax.load(run, 4)
    np.testing.assert_array_equal(np.float32(columns["features"]), encoder(images.images))
    singular = ending == ".parquet"
    np.testing.assert_array_equal(columns["row" if singular else "rows"], np.arange(1437))
    np.testing.assert_array_equal(columns["label" if singular else "labels"], images.labels)
    if singular:
        assert columns["class_name"] == [images.class_names[label] for label in images.labels]
    else:
        assert columns["class_names"].tolist() == list(images.class_names)
        assert columns["features"].dtype == np.float32
    with Checkpoints(run, read_only=True) as checkpoints:
        assert metadata["step"] == str(checkpoints.steps()[0])
    assert metadata["run"] == str(run)
    assert metadata["sha256"] == arrays_sha256(encoder.arrays())
    assert (metadata["size"], metadata["sidae_jax"], metadata["split"]) == ("32", sidae_jax.__version__, "train")


def test_a_parquet_file_has_lists_of_fixed_size(run, prepared_digits, tmp_path):
    pa = pytest.importorskip("pyarrow", reason="needs the extra parquet")
    import pyarrow.parquet as pq

    embeddings.write(run, tmp_path / "f.parquet", of_dataset(prepared_digits, "test[:20]"))
    schema = pq.read_schema(tmp_path / "f.parquet")
    assert schema.names == ["row", "label", "class_name", "features"]
    assert schema.field("features").type == pa.list_(pa.float32(), 32)
    assert schema.field("label").type == pa.int32()


def test_sums_of_splits_lie_in_their_order_and_z_is_the_projectors(run, prepared_digits, tmp_path):
    split = "test[:100]+train[:1000]"
    embeddings.write(run, tmp_path / "f.npz", of_dataset(prepared_digits, split), "projector")
    found = np.load(tmp_path / "f.npz")["features"]
    images = data.load("digits", split, str(prepared_digits)).images
    with Checkpoints(run, read_only=True) as checkpoints:
        encoder = embeddings.restore_backbone(checkpoints, 8, "projector")
    np.testing.assert_array_equal(found, encoder(images))


@pytest.mark.usefixtures("cache_folder")
def test_a_folder_has_the_names_of_its_files_and_their_classes(run, tmp_path):
    paths = image_folders.write_digits(tmp_path / "images", 30)
    names = sorted(str(path.relative_to(tmp_path / "images")) for path in paths)
    embeddings.write(run, tmp_path / "f.npz", of_folder(tmp_path / "images"))
    columns, metadata = read(tmp_path / "f.npz")
    assert columns["names"].tolist() == names
    assert columns["names"].dtype.kind == "U"
    assert columns["class_names"][columns["labels"]].tolist() == [name.partition("/")[0] for name in names]
    assert metadata["images"] == str(tmp_path / "images")
    settings = FolderSettings(str(tmp_path / "images"), 0.0)
    images = data.load("folder", "train", folder=settings)
    np.testing.assert_array_equal(columns["features"], sidae_jax.load(run)(images.images))
    with zipfile.ZipFile(tmp_path / "f.npz") as archive:
        assert archive.testzip() is None


@pytest.mark.usefixtures("cache_folder")
@pytest.mark.parametrize("ending", [".npz", ".parquet"])
def test_a_flat_folder_without_labels_and_with_damaged_files(ending, run, tmp_path):
    if ending == ".parquet":
        pytest.importorskip("pyarrow", reason="needs the extra parquet")
    image_folders.write_digits(tmp_path / "images", 12, damaged={3: image_folders.CUT, 7: image_folders.TEXT})
    (tmp_path / "flat").mkdir()
    for path in (tmp_path / "images").rglob("*.jpg"):
        shutil.move(path, tmp_path / "flat" / path.name)
    out = tmp_path / f"f{ending}"
    with pytest.raises(UserError, match=r"2 of the 12 files of the folder --images=.* give --on_damage=skip to"):
        embeddings.write(run, out, of_folder(tmp_path / "flat"))
    assert not out.exists()
    says = embeddings.write(run, out, of_folder(tmp_path / "flat", "skip"))
    assert says == f"{out}: features 10 x 32 of the backbone after step 8, no labels"
    columns, _ = read(out)
    names = [f"{i:04d}.jpg" for i in range(12) if i not in (3, 7)]
    assert list(columns["names" if ending == ".npz" else "name"]) == names
    assert set(columns) == ({"names", "features"} if ending == ".npz" else {"name", "features"})


def test_images_without_a_label_among_others_have_null(tmp_path):
    pytest.importorskip("pyarrow", reason="needs the extra parquet")
    rows = feature_files.Rows(["é", "b", "c"], np.array([1, -1, 0], np.int32), ("x", "y"), {"run": "é"})
    blocks = [np.ones((2, 4), np.float32), np.zeros((1, 4), np.float32)]
    with (tmp_path / "f.parquet").open("wb") as file:
        feature_files.write_parquet(file, rows, 4, iter(blocks))
    columns, metadata = read(tmp_path / "f.parquet")
    assert columns == {
        "name": ["é", "b", "c"],
        "label": [1, None, 0],
        "class_name": ["y", None, "x"],
        "features": [[1.0] * 4, [1.0] * 4, [0.0] * 4],
    }
    assert metadata == {"run": "é"}


def test_a_split_that_is_not_there_is_refused(run, prepared_digits, tmp_path):
    with pytest.raises(UserError, match=r"has no split 'trian' \(.*\): give --split one of these"):
        embeddings.write(run, tmp_path / "f.npz", of_dataset(prepared_digits, "trian"))
    assert list(tmp_path.iterdir()) == []


def test_the_program_writes_and_replaces_nothing_untold(run, prepared_digits, tmp_path):
    out = tmp_path / "features.npz"
    command = [sys.executable, "-m", "sidae_jax.embed", f"--workdir={run}", "--dataset=digits", "--split=test"]
    command += [f"--data_dir={prepared_digits}", f"--out={out}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{out}: features 360 x 32 of the backbone after step 8, labels of 10 classes\n"
    assert np.load(out)["features"].shape == (360, 32)
    refused = subprocess.run(command, capture_output=True, text=True, timeout=120)
    wanted = f"error: --out={out} is already there: give another name, or --overwrite to replace it\n"
    assert (refused.returncode, refused.stderr) == (2, wanted)


WITHOUT = """
import runpy, sys
sys.modules[sys.argv[1]] = None  # as if it were not installed
sys.argv = sys.argv[2:]
try:
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
finally:
    print("jax" in sys.modules)
"""


@pytest.mark.parametrize(
    ("package", "extra", "program", "out"),
    [("onnx", "onnx", "export", "e.onnx"), ("pyarrow", "parquet", "embed", "f.parquet")],
)
def test_a_missing_extra_is_named_before_any_work(package, extra, program, out, run, tmp_path):
    options = [f"--workdir={run}", f"--out={tmp_path / out}"] + (["--dataset=digits"] if program == "embed" else [])
    command = [sys.executable, "-c", WITHOUT, package, f"sidae_jax.{program}", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr == (
        f"error: --out={tmp_path / out} needs the package {package}, which is not installed: "
        f"pip install 'sidae-jax[{extra}]', or pip install {package}\n"
    )
    assert done.stdout == "False\n"
