"""The hostile files that are tried."""

import os
import pathlib
import shutil

import numpy as np
from image_folders import BOMB, write_digits

from reliability.hostile_files import (
    _DEEP,
    _LONG,
    NAME,
    Hostile,
    _npy,
    _npy_header,
    _objects,
    _pickled,
    edited,
    linked,
    new_link,
    object_array,
    pictures,
    pipe,
    put,
    safetensors,
    said,
    vouched,
    zip_bomb,
)

_FEATURES, _IMAGES = "whole/eval/features/*-test-*.features.npy", "cache/sidae_jax/digits*test*.images.npy"
_NEWEST, _METADATA = "part/checkpoints/9/", "whole/checkpoints/12/metadata/metadata"
_INFO, _CLASSES = "data/digits/1.0.0/dataset_info.json", "data/digits/1.0.0/features.json"
_ARRAY = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
_EXPORT = ("load export", "init_from")


_OUTSIDE = (
    '{"name": "digits", "version": "1.0.0", "fileFormat": "array_record", "splits": [{"name": "test", '
    '"filepathTemplate": "../../../../../../{SPLIT}", "shardLengths": ["360"], "numBytes": "1"}]}'
)


def _images(damage):
    def harm(world: pathlib.Path, outside: pathlib.Path) -> None:
        write_digits(world / "images", 12, damaged={3: BOMB})
        (world / "images/1" / (NAME.replace("/", "_"))).write_bytes(b"no image")
        damage(world / "images/0", outside)

    return harm


def _deep_folders(folder: pathlib.Path, _: pathlib.Path) -> None:
    here = os.open(folder, os.O_RDONLY)
    for _ in range(300):  # deeper, and shutil.rmtree fails to remove it after the test
        os.mkdir("d", dir_fd=here)
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)


def _link(folder: pathlib.Path, target: str | pathlib.Path) -> None:
    (folder / "link.png").symlink_to(target)


def _unknown_data_set(world: pathlib.Path, text: str) -> None:
    shutil.copytree(world / "data/digits", world / "data/pets")
    for name in ("dataset_info.json", "features.json"):
        path = world / "data/pets/1.0.0" / name
        path.write_text(path.read_text().replace("tensorflow_datasets.core.features.image_feature.Image", text))


def _config(**changes):
    return edited("whole/config.json", lambda content: content["config"].update(changes))


def _metadata(**changes):
    return edited(_METADATA, lambda content: content["config"].update(changes), "metadata_sha256")


CASES = [
    # what would run if it were unpickled
    Hostile("objects in cached features", ("linear_eval", "verify whole"), vouched(_FEATURES, _objects)),
    Hostile("a pickle in cached features", ("linear_eval",), vouched(_FEATURES, _pickled)),
    Hostile("objects in cached images", ("embed", "linear_eval"), vouched(_IMAGES, _objects)),
    Hostile("a pickle in cached images", ("embed",), vouched(_IMAGES, _pickled)),
    Hostile("objects in pictures.npz", ("report", "verify whole"), pictures(images=object_array)),
    Hostile("objects as class names", ("report",), pictures(class_names=object_array)),
    Hostile("a pickle as pictures.npz", ("report",), put("whole/eval/pictures.npz", _pickled)),
    Hostile("a pickle as an export", _EXPORT, put("encoder.safetensors", _pickled)),
    Hostile("a pickle as metadata", ("load", "runs show"), put(_METADATA, _pickled)),
    Hostile("a pickle as an array", ("main",), put(f"{_NEWEST}state/ocdbt.process_0/d/*", _pickled)),
    # bombs
    Hostile("absurd shape of cached images", ("embed",), vouched(_IMAGES, _npy_header((1 << 40, 32, 32, 3)))),
    Hostile("another dtype of cached images", ("embed",), vouched(_IMAGES, _npy(np.zeros((360, 32, 32, 3))))),
    Hostile("other features", ("linear_eval",), vouched(_FEATURES, _npy(np.zeros((7, 2), np.float32)))),
    Hostile("absurd shape of features", ("linear_eval",), vouched(_FEATURES, _npy_header((1 << 50, 9), "<f4"))),
    Hostile("a bomb as pictures.npz", ("report", "verify whole"), zip_bomb),
    Hostile("a million classes", ("report",), pictures(class_names=np.array(["x"] * 1_000_000))),
    Hostile("deep config.json", ("main", "runs show, stopped"), put("part/config.json", _DEEP)),
    Hostile("deep config.json", ("report", "api.Run", "runs show", "verify whole"), put("whole/config.json", _DEEP)),
    Hostile("endless number", ("report", "api.Run"), put("whole/config.json", '{"config": {"seed": ' + _LONG + "}}")),
    Hostile("long text", ("runs show", "report"), _config(dataset="x" * 20_000_000)),
    Hostile("long value", ("runs show", "report"), _config(stem="x" * 20_000_000)),
    Hostile("deep metrics", ("main",), put("part/metrics.jsonl", _DEEP + "\n")),
    Hostile("deep metrics", ("report", "runs show", "load best", "api.Run"), put("whole/metrics.jsonl", _DEEP + "\n")),
    Hostile("endless number", ("report", "api.Run"), put("whole/metrics.jsonl", '{"step": ' + _LONG + "}\n")),
    Hostile("deep results", ("report", "api.Run", "linear_eval"), put("whole/eval/linear*.jsonl", _DEEP + "\n")),
    Hostile("endless number", ("report",), put("whole/eval/linear*.jsonl", '{"step": ' + _LONG + "}\n")),
    Hostile("deep status", ("runs show, stopped", "main"), put("part/status.json", _DEEP)),
    Hostile("deep done.jsonl", ("sweep",), put("done.jsonl", _DEEP + "\n")),
    Hostile("deep metadata", ("load", "runs show"), put(_METADATA, _DEEP)),
    Hostile("deep _METADATA of orbax", ("main",), put(f"{_NEWEST}state/_METADATA", _DEEP)),
    Hostile("deep sidecar", ("embed",), put("cache/sidae_jax/digits*test*.json", _DEEP)),
    Hostile("deep dataset_info.json", ("embed",), put(_INFO, _DEEP)),
    Hostile("absurd width", ("load", "linear_eval", "export", "embed"), _metadata(width=10**9)),
    Hostile("absurd d_hid", ("export", "load"), _metadata(d_hid=10**12)),
    Hostile("absurd size", ("embed", "load", "linear_eval"), _metadata(size=10**9)),
    Hostile("an export's absurd header", _EXPORT, safetensors({}, length=1 << 62)),
    Hostile("an export's overlapping arrays", _EXPORT, safetensors({"a": _ARRAY, "b": _ARRAY})),
    Hostile("an export beyond its file", _EXPORT, safetensors({"a": _ARRAY | {"data_offsets": [0, 1 << 40]}})),
    Hostile("an export of absurd shape", _EXPORT, safetensors({"a": _ARRAY | {"shape": [1 << 40, 1 << 40]}})),
    Hostile("an export's deep header", _EXPORT, safetensors(_DEEP)),
    Hostile("an export's deep mean", ("load export",), said(mean=_DEEP)),
    Hostile("an export's zero std", ("load export",), said(std="[0, 0, 0]")),
    Hostile("an export's long mean", ("load export",), said(mean=str([0.5] * 100_000))),
    Hostile("an export's absurd width", ("load export",), said(width=_LONG[:100_000])),
    # pipes, devices and links
    *(
        Hostile("a pipe", programs, pipe(pattern))
        for pattern, programs in {
            "whole/config.json": ("report", "api.Run", "runs show", "verify whole"),
            "part/config.json": ("main",),
            "whole/metrics.jsonl": ("report", "api.Run", "load best"),
            "part/metrics.jsonl": ("main",),
            "part/status.json": ("main", "runs show, stopped"),
            "whole/eval/linear*.jsonl": ("report", "linear_eval", "api.Run"),
            "whole/eval/pictures.npz": ("report", "verify whole"),
            _FEATURES: ("linear_eval", "verify whole"),
            _IMAGES: ("embed",),
            "cache/sidae_jax/digits*test*.json": ("embed",),
            _METADATA: ("load", "linear_eval"),
            f"{_NEWEST}state/_METADATA": ("main",),
            _INFO: ("embed",),
            "encoder.safetensors": _EXPORT,
            "done.jsonl": ("sweep",),
        }.items()
    ),
    *(
        Hostile("a link to /dev/zero", programs, linked(pattern, "/dev/zero"))
        for pattern, programs in {
            "whole/config.json": ("report", "api.Run"),
            "part/metrics.jsonl": ("main",),
            "whole/eval/pictures.npz": ("report",),
            _METADATA: ("load",),
            _IMAGES: ("embed",),
            _CLASSES: ("embed",),
            "encoder.safetensors": _EXPORT,
        }.items()
    ),
    *(
        Hostile("a link out of the workdir", ("main",), linked(f"part/{name}"))
        for name in ("metrics.jsonl", "config.json", "status.json", "checkpoints/9/metadata/metadata")
    ),
    Hostile("a lock that is a link", ("main",), new_link("part/.lock")),
    Hostile("a lock that is a link", ("linear_eval",), new_link("whole/eval/.lock")),
    Hostile("results that are a link", ("linear_eval",), linked("whole/eval/linear*.jsonl")),
    Hostile("features that are a link", ("linear_eval",), linked(_FEATURES)),
    Hostile("an export's place is a link", ("export",), new_link("out.safetensors")),
    # names
    Hostile("names of files outside", ("embed",), put(_INFO, _OUTSIDE)),
    Hostile("a class of another module", ("embed pets",), lambda w, _: _unknown_data_set(w, "antigravity.Image")),
    Hostile("names with markup", ("runs show", "report", "api.Run"), _config(dataset=NAME[:60], train_split=NAME[:60])),
    Hostile("names with markup", ("main",), edited("part/config.json", lambda c: c["config"].update(lr=NAME))),
    Hostile("versions with markup", ("main",), edited("part/config.json", lambda c: c["versions"].update(jax=NAME))),
    Hostile("classes with markup", ("report",), pictures(class_names=np.array([NAME] * 10))),
    Hostile("bombs and odd names among images", ("embed images",), _images(lambda folder, _: None)),
    Hostile("a pipe among images", ("embed images",), _images(lambda folder, _: os.mkfifo(folder / "pipe.png"))),
    Hostile("/dev/zero among images", ("embed images",), _images(lambda f, _: _link(f, "/dev/zero"))),
    Hostile("a link out of the images", ("embed images",), _images(lambda f, out: _link(f, out))),
    Hostile("deep folders of images", ("embed images",), _images(_deep_folders)),
]  # fmt: skip
