"""Folders of real images for the tests: scikit-learn's digits as JPEG files, some damaged in different ways."""

import io
import pathlib

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

TEXT, EMPTY, CUT, BOMB, ZEROS = "text", "empty", "cut", "bomb", "zeros"


def write_digits(root: pathlib.Path, count: int, *, damaged: dict[int, str] | None = None) -> list[pathlib.Path]:
    """Writes digit i to root/<label>/<i>.jpg, of every third in color, and every fourth lying on its side by EXIF."""
    values, labels = load_digits(return_X_y=True)
    paths = []
    for index in range(count):
        pixels = np.kron(np.rint(values[index].reshape(8, 8) * (255 / 16)).astype(np.uint8), np.ones((5, 5), np.uint8))
        image, exif = Image.fromarray(pixels), Image.Exif()
        if index % 3 == 0:
            image = image.convert("RGB")
        if index % 4 == 0:
            image = image.transpose(Image.Transpose.ROTATE_90)
            exif[0x0112] = 6
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=95, exif=exif)
        path = root / str(labels[index]) / f"{index:04d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_damage(buffer.getvalue(), (damaged or {}).get(index)))
        paths.append(path)
    return paths


def _damage(content: bytes, kind: str | None) -> bytes:
    sides = (60_000).to_bytes(4, "little") * 2
    bitmap = b"BM" + bytes(8) + b"\x36\0\0\0\x28\0\0\0" + sides + b"\x01\0\x18\0" + bytes(24)
    damaged = {TEXT: b"no image", EMPTY: b"", CUT: content[: len(content) // 2], BOMB: bitmap, ZEROS: bytes(500)}
    return damaged.get(kind, content)
