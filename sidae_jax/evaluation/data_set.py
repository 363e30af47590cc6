"""The data set that an evaluation is on."""

import dataclasses
import os
from typing import Any

from ml_collections import ConfigDict

from sidae_jax import data
from sidae_jax.config import folder_settings
from sidae_jax.errors import UserError
from sidae_jax.settings import FOLDER, FOLDER_KEYS, FolderSettings


@dataclasses.dataclass(frozen=True)
class DataSet:
    """A data set of an evaluation.

    name: as `data.load` takes it; data_dir: the TFDS folder, None for the default; folder: of images, if it is that;
    size: of the images, in pixels.
    """

    name: str
    data_dir: str | None
    folder: FolderSettings | None
    size: int

    @property
    def title(self) -> str:
        """What titles and files call it: its name, or "folder pets" for the images in /data/pets."""
        return self.name if self.folder is None else f"{self.name} {os.path.basename(str(self.folder.images))}"

    def make_ready(self) -> None:
        """Downloads and prepares what `load` would. Raises UserError if that cannot be done."""
        data.make_ready(self.name, self.data_dir, self.folder, self.size)

    def load(self, key: str, split: str) -> data.Images:
        """Returns the images of a split, all of which have labels; `key` is that of the config which named it."""
        images = data.load(self.name, split, self.data_dir, folder=self.folder, size=self.size)
        if self.folder is not None and not images.class_names:
            raise UserError(
                f"config.images={self.folder.images} has no labels, which an evaluation needs: give another "
                "--config.images=DIR, with a folder for each class"
            )
        if (images.labels < 0).any():
            raise UserError(
                f"config.{key}={split} of {self.name} has images without labels: "
                f"give a split that has them, such as --config.{key}=train"
            )
        return images

    def record(self, images: data.Images) -> dict[str, Any]:
        """Returns what a result says of the data set, of which `images` are a part."""
        if self.folder is None:
            return {"dataset": self.name}
        settings = {"images": self.folder.images, "test_share": self.folder.test_share}
        return {"dataset": self.name, **settings, "class_names": list(images.class_names)}


def choose(config: ConfigDict, pretraining: ConfigDict) -> DataSet:
    """Returns the data set of an evaluation of a pre-training.

    Given `images` and no `dataset` it is that folder. What is not given is the pre-training's, if that was on a folder.

    Raises:
      UserError: a key of folders of images is given for another data set, or no folder for "folder".
    """
    given: dict[str, Any] = {key: config[key] for key in FOLDER_KEYS if config[key] is not None}
    name = config.dataset or (FOLDER if "images" in given else pretraining.dataset)
    if name != FOLDER:
        for key, value in given.items():
            raise UserError(
                f"config.{key}={value} is a key of folders of images, and this evaluation is on {name}: leave "
                f"--config.{key} out, or give --config.images=DIR and no other --config.dataset"
            )
        return DataSet(name, config.data_dir or pretraining.data_dir, None, pretraining.size)
    if "images" in given:
        given["images"] = os.path.abspath(os.path.expanduser(given["images"]))
    folder = dataclasses.replace(folder_settings(pretraining) or FolderSettings(), **given)
    if folder.images is None:
        raise UserError("config.images is missing: give the folder of your images, --config.images=DIR")
    return DataSet(name, None, folder, pretraining.size)
