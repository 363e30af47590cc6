"""The report's figures of images and of projections, and the files of pictures that they are drawn from."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image
from report_files import color, colored, summary, texts, write_sweep

from sidae_jax.evaluation import picture_file
from sidae_jax.report import image_figures
from sidae_jax.report.run_index import Run, find_runs


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_sweep(tmp_path_factory.mktemp("runs"))


def embedded(svg):
    (data,) = re.findall(r'href="data:image/png;base64,([^"]*)"', svg)
    assert re.search(r"<image [^>]*scale\(1 -1\)", svg)  # it is stored upside down
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))[::-1]


def middles(mosaic, rows, columns):
    """Returns the color in the middle of each picture."""
    height, width = (np.array(mosaic.shape[:2]) + 2) / (rows, columns)
    places = [[(int(height * (i + 0.45)), int(width * (j + 0.45))) for j in range(columns)] for i in range(rows)]
    return np.array([[mosaic[place] for place in row] for row in places])


def test_the_pictures_stand_beside_their_labels(folder):
    seen = image_figures.read(find_runs(folder))
    labels = [run.pretraining.label for run, _ in seen]
    assert labels == ["cifar10-sidae-w0.25", "cifar10-sidae-w0.5", "cifar10-simsiam"]
    assert {run.seed for run, _ in seen} == {0}
    ((title, svg),) = image_figures.augmentations(seen).items()
    assert title == "Augmentations of cifar10"
    assert texts(svg) == ["image", "first view", "second view"]
    wanted = [[color(kind, i) for i in range(8)] for kind in (0, 1, 2)]
    np.testing.assert_array_equal(middles(embedded(svg), 3, 8), wanted)
    ((title, svg),) = image_figures.reconstructions(seen).items()
    runs = ["cifar10-sidae-w0.25", "cifar10-sidae-w0.5"]  # the third has no decoder
    of_images, of_views = ([f"{run}, epoch 2, of the {what}" for run in runs] for what in ("image", "view"))
    assert " ".join(texts(svg)) == " ".join(["image", *of_images, "view", *of_views])  # long labels have two lines
    wanted = [[color(kind, i) for i in range(8)] for kind in (0, 3, 3, 1, 4, 4)]
    np.testing.assert_array_equal(middles(embedded(svg), 6, 8), wanted)


def test_the_projection_has_a_panel_a_run_and_its_classes(folder):
    found = image_figures.read(find_runs(folder))
    ((title, svg),) = image_figures.projections(found).items()
    assert title == "t-SNE of the features of 30 test images of cifar10"
    names = ("cifar10-sidae-w0.25", "cifar10-sidae-w0.5", "cifar10-simsiam")
    assert sorted(texts(svg)) == sorted(["bird", "cat", "dog", *(f"{name}, seed 0, epoch 2" for name in names)])
    (svg,) = image_figures.projections([*found, found[0]]).values()
    assert len(re.findall(r'<g id="axes_\d+">', svg)) == 4  # no empty ones in the second row


def test_a_corrupt_picture_file_is_skipped_with_a_warning(tmp_path, caplog):
    picture_file.write(tmp_path / "whole.npz", colored(8))
    whole = (tmp_path / "whole.npz").read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes(byte ^ 255 for byte in whole[middle : middle + 8]) + whole[middle + 8 :]
    (tmp_path / "whole.npz").unlink()
    for name, content in (("cut", whole[:middle]), ("empty", b""), ("flipped", flipped), ("text", b"no archive")):
        path = tmp_path / name / "eval" / picture_file.NAME
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    runs = [Run(summary().pretraining, 0, path, None) for path in sorted(tmp_path.iterdir())]
    assert image_figures.read(runs) == []
    assert caplog.text.count("is corrupt and skipped") == 4
