"""Finds a prepared TFDS data set, or prepares it without TensorFlow and without waiting for a dead network."""

import contextlib
import gzip
import io
import json
import os
import pathlib
import sys
import tarfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import requests
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download import download_manager, resource

from sidae_jax.data import builders, prepared, shuffle
from sidae_jax.errors import UserError, one_line
from sidae_jax.files import FULL, disk_errno, disk_trouble, read_regular
from sidae_jax.runs.values import printable

_TIMEOUT = 3  # seconds to connect, and again to answer
# What reading a corrupt archive raises; a download's SHA-256 was checked, but the disk can fail later.
_CORRUPT = (ValueError, EOFError, tarfile.TarError, gzip.BadGzipFile, zlib.error)


def prepared_builder(dataset: str, data_dir: str | None) -> tfds.core.DatasetBuilder:
    """Returns a builder whose data is prepared in a format with random access.

    A data set that is prepared in `data_dir` is used as it is, and nothing is written. Otherwise one of
    `builders.BUILDERS` is downloaded (never from TFDS's own bucket; SHA-256 checked) and prepared there. Two processes
    that do so at once work in folders of their own, and the result of the first to finish stays.

    Args:
      dataset: a name in `builders.BUILDERS`, or of any other prepared data set that has images, as
        `prepared.folder_of` takes it.
      data_dir: an existing folder, or None for TFDS's default.

    Raises:
      UserError: the data set is neither known nor prepared, or cannot be read, downloaded or written.
    """
    root = data_dir or tfds.core.constants.DATA_DIR
    if dataset in builders.BUILDERS:
        _check_files(pathlib.Path(root) / dataset)
        builder = _known(builders.BUILDERS[dataset], data_dir)
    else:
        folder = prepared.folder_of(dataset, root, builders.BUILDERS)
        _check_files(folder)
        builder = _open(lambda: tfds.builder_from_directory(folder), dataset, data_dir or root)
        _check_features(builder, dataset)
    formats = builder.info.available_file_formats()
    if not formats & tfds.core.FileFormat.with_random_access():
        found = ", ".join(sorted(format_.value for format_ in formats)) or "an unknown format"
        raise UserError(
            f"dataset {dataset!r} lies prepared in {builder.data_dir} as {found}, but array_record is wanted: "
            "give another --config.data_dir, where it is prepared anew"
        )
    return builder


def unreadable(builder: tfds.core.DatasetBuilder, error: Exception) -> UserError:
    """Returns the error for a prepared data set that cannot be read."""
    return UserError(
        f"dataset {builder.name!r} lies prepared in {builder.data_dir} but cannot be read ({one_line(error)}): copy or "
        "prepare that folder anew, or give another --config.data_dir"
    )


def is_image(feature: tfds.features.FeatureConnector | None) -> bool:
    """Returns whether a feature is there and is an encoded image."""
    return isinstance(feature, tfds.features.Image)


def _known(builder_cls: type[tfds.core.DatasetBuilder], data_dir: str | None) -> tfds.core.DatasetBuilder:
    builder = _open(lambda: builder_cls(data_dir=data_dir), builder_cls.name, data_dir)
    # is_prepared() alone would log a warning about a folder that is not there.
    if not (builder.data_path.exists() and builder.is_prepared()):
        _check_archives(builder)
        _prepare(builder)
        builder = _open(lambda: builder_cls(data_dir=data_dir), builder_cls.name, data_dir)
    return builder


def _check_files(folder: pathlib.Path) -> None:
    """Raises UserError for what TFDS would wait for or run: pipes, devices, and classes of modules that are not its."""
    for path in _files(folder):
        if not path.is_file() and os.path.lexists(path):
            raise UserError(
                f"{path} is no regular file: copy or prepare {folder} anew, or give another --config.data_dir"
            )
        if path.name != "features.json":
            continue
        try:
            names = list(_class_names(json.loads(read_regular(path))))
        except FileNotFoundError:  # another process has just put the finished one in its place
            continue
        except (OSError, ValueError, RecursionError) as error:
            raise UserError(
                f"{path} cannot be read ({one_line(error)}): copy or prepare {folder} anew, or give another "
                "--config.data_dir"
            ) from error
        if foreign := [name for name in names if not name.startswith("tensorflow_datasets.")]:
            raise UserError(
                f"{path} names the class {printable(foreign[0])[:80]!r}, whose module would be run: give a data set of "
                "TFDS's own features"
            )


def _files(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields what is in the folder, but not what TFDS prepares there in this moment, as another process may do."""
    seen = set()
    for top, folders, names in os.walk(folder, followlinks=True):  # TFDS follows them, too
        seen.add(os.path.realpath(top))
        folders[:] = sorted(
            name
            for name in folders
            if ".incomplete" not in name and os.path.realpath(os.path.join(top, name)) not in seen
        )
        yield from (pathlib.Path(top, name) for name in sorted(names))


def _class_names(value: Any) -> Iterator[str]:
    """Yields the names of classes that TFDS imports for a features.json, in its form of today and in the older one."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.values()
            for key in ("pythonClassName", "python_class_name", "type"):
                if isinstance(value.get(key), str) and "." in value[key]:
                    yield value[key]
        elif isinstance(value, list):
            waiting += value


def _check_features(builder: tfds.core.DatasetBuilder, dataset: str) -> None:
    features = builder.info.features
    features = dict(features.items()) if isinstance(features, tfds.features.FeaturesDict) else {}
    image: Any = features.get("image")
    if not (is_image(image) and image.np_dtype in (np.uint8, np.uint16)):
        raise UserError(
            f"dataset={dataset!r} lies prepared in {builder.data_dir} but has no feature `image` that is one (its "
            f"features: {', '.join(sorted(map(str, features)))}): give a data set of images"
        )


def _open(make: Callable[[], tfds.core.DatasetBuilder], name: str, data_dir: str | None) -> tfds.core.DatasetBuilder:
    try:
        builder = make()
        _ = builder.info  # reads dataset_info.json where the data is prepared
        return builder
    except Exception as error:  # protobuf, JSON, OS or TFDS: any of theirs means a folder it cannot read
        raise UserError(
            f"--config.data_dir={data_dir}: TFDS cannot read its folder {name} ({one_line(error)}): "
            "copy or prepare it anew, or give another --config.data_dir"
        ) from error


def _check_archives(builder: tfds.core.DatasetBuilder) -> None:
    """Raises UserError if the first archive that is not on disk cannot be downloaded; TFDS would retry for minutes."""
    missing = _missing_archives(builder)
    if not missing:
        return
    url = next(iter(missing))
    try:
        # The library TFDS downloads with: so the same proxies, the same certificates.
        with requests.get(url, stream=True, timeout=_TIMEOUT) as response:
            if response.status_code == 200:
                return
            reason = f"HTTP status {response.status_code}"
    except requests.RequestException as error:
        reason = type(error).__name__
    raise UserError(
        f"dataset {builder.name!r} is not prepared in {builder.data_dir} and {url} cannot be downloaded ({reason}): "
        "give a --config.data_dir that holds it (to a sweep, the variable TFDS_DATA_DIR), or prepare it on a machine "
        f"with network and copy the folder {builder.name} into {builder.data_dir_root}, or put "
        f"{', '.join(missing.values())} into {_downloads(builder) / 'manual'}, or use dataset 'digits', which "
        "needs no network"
    )


def _downloads(builder: tfds.core.DatasetBuilder):
    return builder.data_dir_root / "downloads"


def _missing_archives(builder: tfds.core.DatasetBuilder) -> dict[str, str]:
    """Returns URL -> file name of the archives that TFDS would have to download."""
    missing = {}
    for url, info in (builder.url_infos or {}).items():
        name = resource.get_dl_fname(url, info.checksum)
        folder = _downloads(builder)
        here = any(resource.is_locally_cached(path / name) for path in (folder / builder.name, folder))
        if not here and not (folder / "manual" / info.filename).exists():
            missing[url] = info.filename
    return missing


def _prepare(builder: tfds.core.DatasetBuilder) -> None:
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    config = tfds.download.DownloadConfig(try_download_gcs=False)
    try:
        # TFDS prints to stdout, which is for results, and announces downloads that do not happen.
        said = sys.stderr if builder.url_infos else io.StringIO()
        with contextlib.redirect_stdout(said), shuffle.without_tensorflow():
            builder.download_and_prepare(file_format="array_record", download_config=config)
    except Exception as error:
        number = disk_errno(str(error))  # array_record has RuntimeError for it
        if number is not None and number in FULL:
            place = f"the data set {builder.name!r} in {builder.data_dir_root}"
            raise disk_trouble(place, number, "start again, or give another --config.data_dir") from error
        if isinstance(error, (download_manager.NonMatchingChecksumError, *_CORRUPT)):
            raise _failed(builder, error, f"delete {_downloads(builder)} and start again") from error
        if not isinstance(error, OSError | tfds.download.DownloadError):  # requests' errors are OSErrors
            raise
        if builder.is_prepared():
            return  # another process was first
        network = " and the network" if builder.url_infos else ""
        raise _failed(builder, error, f"check that the folder can be written{network}") from error


def _failed(builder: tfds.core.DatasetBuilder, error: Exception, way_out: str) -> UserError:
    return UserError(
        f"dataset {builder.name!r} could not be prepared in {builder.data_dir} ({one_line(error)}): "
        f"{way_out}, or give another --config.data_dir"
    )
