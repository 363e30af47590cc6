"""A folder of images as a data set.

The reader is ours. TFDS's folder builder, tfds.ImageFolder, imports TensorFlow to list a folder already, has no random
access (`as_data_source`), and knows only DIR/SPLIT/CLASS with JPEG and PNG.
"""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from absl import logging
from PIL import Image, UnidentifiedImageError

from sidae_jax import array_cache, files, grown_arrays
from sidae_jax.data import decode, decoding, folder_files, splits
from sidae_jax.data.encoded import EncodedImages
from sidae_jax.data.folder_files import ImageFile, Split
from sidae_jax.errors import UserError, one_line
from sidae_jax.growing_entry import Part, no_rows
from sidae_jax.settings import FolderSettings

_MOST_BYTES = 1 << 29  # of a file
_SHOWN = 3  # damaged files named in a message


class FolderSource:
    """The images in a folder of the user's, in which nothing is ever written.

    Attributes:
      name: what it is called in messages.
      class_names: the names of its classes' folders, sorted; none if it is flat.
    """

    def __init__(self, settings: FolderSettings, size: int, encoded: bool = False):
        """Finds the files of a folder; its images become squares of side `size`.

        encoded: whether they stay encoded and are decoded when they are read.

        Raises:
          UserError: the folder is not there or cannot be read, holds no file, or has splits that are not clear.
        """
        self._settings = settings
        self._size = size
        self._kept = decoding.SUMS if encoded else decoding.pixels(size)
        self.name = f"the folder config.images={settings.images}"
        self._root = _existing_folder(settings.images)
        try:
            found = folder_files.find(self._root)
        except OSError as error:
            raise UserError(
                f"config.images={settings.images}: {error.filename} cannot be read ({error.strerror}): make it "
                "readable for this user"
            ) from error
        if not found:
            raise UserError(
                f"config.images={settings.images} holds no file: give a folder of images, with a folder for each class "
                "or without"
            )
        if unclear := folder_files.unclear_splits(found):
            raise UserError(
                f"config.images={settings.images} has the folders {', '.join(map(_printable, unclear))}, which are "
                f"neither all splits nor all classes: name the splits {', '.join(folder_files.SPLITS)} and move the "
                "others away, or give one of them as --config.images"
            )
        self._splits, class_names = folder_files.arrange(found, settings.test_share)
        self.class_names = tuple(map(_printable, class_names))  # which go to terminals and files in UTF-8
        self._decoded: dict[str, tuple[np.ndarray | EncodedImages, np.ndarray]] = {}
        self._names: dict[str, list[str]] = {}

    def counts(self, named: Sequence[str]) -> Mapping[str, int]:
        """Returns the number of files of each split; of those named only the images, which are decoded for it."""
        counts = {name: len(split.files) for name, split in self._splits.items()}
        for name in {splits.actual(name, counts) for name in named} & counts.keys():
            counts[name] = len(self.whole_split(name)[0])
        return counts

    def whole_split(self, split: str) -> tuple[np.ndarray | EncodedImages, np.ndarray]:
        """Returns the images and labels of a split, from the cache if it has them; see `source.Images`.

        Raises:
          UserError: a file of the split is damaged and config.on_damage is "refuse".
        """
        if split not in self._decoded:
            self._decoded[split] = self._decode(split)
        return self._decoded[split]

    def names(self, split: str) -> list[str]:
        """Returns the path from the folder of each image of a split that `whole_split` returned, in its order."""
        return self._names[split]

    def _decode(self, name: str) -> tuple[np.ndarray | EncodedImages, np.ndarray]:
        split = self._splits[name]
        if self._settings.on_damage == "refuse":  # what is seen without decoding, first
            self._tell(name, [[file.name, file.problem] for file in split.files if file.problem])
        made_from = {
            "folder": self._root,
            "files": len(split.files),
            "names, sizes and times": _sha256(split.files),
            "size": self._size,
            "decoding": decode.version(),
        }
        arrays, damage = grown_arrays.load_or_grow(
            array_cache.user_folder(),
            self._entry_name(name),
            {self._kept.name: self._kept.row},
            made_from | {"kept": self._kept.name},
            len(split.files),
            lambda start: self._parts(name, split, start),
        )
        self._tell(name, damage)
        damaged = {file for file, _ in damage}
        intact = [item for item, file in enumerate(split.files) if file.name not in damaged]
        self._names[name] = [_printable(split.files[item].name) for item in intact]
        labels = np.array(split.labels, np.int32)[intact]
        labels.flags.writeable = False
        if self._kept.name == "images":
            return arrays["images"], labels

        def read(item: int) -> bytes:
            return self._read(split.files[item])

        return EncodedImages(read, np.array(intact, np.int64), arrays["sums"], self._size, made_from), labels

    def _entry_name(self, split: str) -> str:
        folder = re.sub(r"[^\w.-]", "_", os.path.basename(self._root))
        return f"folder-{folder[:40]}-{split}"

    def _parts(self, name: str, split: Split, start: int) -> Iterator[Part]:
        starts = range(start, len(split.files), decoding.BLOCK)
        blocks = ((first, split.files[first : first + decoding.BLOCK]) for first in starts)
        parts = decoding.in_threads(self._decode_block, blocks)
        return decoding.with_progress(parts, start, len(split.files), f"{self._root} {name}")

    def _decode_block(self, block: tuple[int, list[ImageFile]]) -> Part:
        first, block_files = block
        rows, damage = [no_rows(self._kept.row)], []
        for file in block_files:
            try:
                rows.append(self._kept.of(decode.decode_image(self._read(file), self._size))[None])
            except (UserError, MemoryError):
                raise
            except UnidentifiedImageError:
                damage.append([file.name, f"is no image in one of {', '.join(decode.FORMATS)}"])
            except Image.DecompressionBombError:
                damage.append([file.name, f"has more pixels than {Image.MAX_IMAGE_PIXELS}, PIL's limit"])
            except Exception as error:  # PIL raises any kind for a damaged image
                damage.append([file.name, one_line(error) or type(error).__name__])
        return Part(first + len(block_files), {self._kept.name: np.concatenate(rows)}, damage)

    def _read(self, file: ImageFile) -> bytes:
        """Returns the content of a file. Raises ValueError if it cannot be used, UserError if it cannot be read."""
        if file.problem:
            raise ValueError(file.problem)
        if file.size == 0:
            raise ValueError("is empty")
        if file.size > _MOST_BYTES:
            raise ValueError(f"has {file.size} bytes, more than {_MOST_BYTES}")
        name = f"config.images={self._settings.images}: {_printable(file.name)}"
        try:
            with open(os.path.join(self._root, file.name), "rb") as opened:
                status = os.fstat(opened.fileno())
                content = opened.read(file.size + 1)
        except OSError as error:  # no damage: kept as such in the cache, it would outlast what mends it
            raise UserError(
                f"{name} cannot be read ({error.strerror}): make it readable for this user, or take it away, and "
                "start again"
            ) from error
        if (status.st_size, status.st_mtime_ns, len(content)) != (file.size, file.mtime_ns, file.size):
            raise UserError(f"{name} changes while it is read: start again once the folder is at rest")
        return content

    def _tell(self, split: str, damage: list[list[str]]) -> None:
        """Says which files are skipped, or raises UserError; `damage` has a file's name and what is wrong with it."""
        if not damage:
            return
        total = len(self._splits[split].files)
        some = "; ".join(f"{_printable(name)}: {problem}" for name, problem in damage[:_SHOWN])
        some += "; ..." if damage[_SHOWN:] else ""
        what = f"{len(damage)} of the {total} files of {self.name}, split {split},"
        listed = self._write_list(split, damage)
        if self._settings.on_damage == "skip":
            logging.warning("%s are skipped (%s)%s", what, some, listed)
            return
        raise UserError(
            f"{what} cannot be used ({some}){listed}: mend or remove them, or give "
            "--config.on_damage=skip to do without them"
        )

    def _write_list(self, split: str, damage: list[list[str]]) -> str:
        """Writes the names of all damaged files beside the cached images, and returns where for a message."""
        digest = _sha256(self._splits[split].files)[:16]
        path = array_cache.user_folder() / f"{self._entry_name(split)}-{digest}.damaged.txt"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            files.write_text(path, "".join(f"{_printable(name)}: {problem}\n" for name, problem in damage))
        except OSError:
            return ""
        return f", all listed in {path}"


def _existing_folder(images: str | None) -> str:
    folder = os.path.realpath(os.path.expanduser(images or ""))
    if images and os.path.isdir(folder):
        return folder
    problem = "is not a folder" if images and os.path.exists(folder) else "does not exist"
    raise UserError(f"config.images={images} {problem}: give the folder of your images, --config.images=DIR")


def _printable(name: str) -> str:
    return name if name.isprintable() else ascii(name)


def _sha256(split_files: Sequence[ImageFile]) -> str:
    digest = hashlib.sha256()
    for file in split_files:
        fields = (os.fsencode(file.name), str(file.size).encode(), str(file.mtime_ns).encode(), file.problem.encode())
        digest.update(b"\0".join(fields) + b"\n")
    return digest.hexdigest()
