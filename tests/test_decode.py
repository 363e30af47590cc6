"""One image of every kind that a folder may hold, against what its pixels are by hand."""

import io

import numpy as np
import pytest
from PIL import Image

from sidae_jax.data.decode import decode_image

RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 256, (24, 24), np.uint8)
COLOR = np.kron(RNG.integers(0, 256, (3, 3, 3), np.uint8), np.ones((8, 8, 1), np.uint8))  # JPEG's blocks
# The eight orientations of EXIF 2.3, 4.6.4: where row 0 and column 0 of the stored image are in the upright one.
UPRIGHT = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],  # top, right
    3: lambda stored: stored[::-1, ::-1],  # bottom, right
    4: lambda stored: stored[::-1],  # bottom, left
    5: lambda stored: stored.swapaxes(0, 1),  # left, top
    6: lambda stored: stored.swapaxes(0, 1)[:, ::-1],  # right, top
    7: lambda stored: stored.swapaxes(0, 1)[::-1, ::-1],  # right, bottom
    8: lambda stored: stored.swapaxes(0, 1)[::-1],  # left, bottom
}


def encoded(image, kind="PNG", **options) -> bytes:
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, kind, **options)
    return buffer.getvalue()


def rgb(gray) -> np.ndarray:
    return np.repeat(gray[:, :, None], 3, axis=2)


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("BMP", {}), ("WEBP", {"lossless": True}), ("GIF", {})])
def test_lossless_formats_keep_every_pixel(kind, options):
    np.testing.assert_array_equal(decode_image(encoded(COLOR, kind, **options), 24), COLOR)
    np.testing.assert_array_equal(decode_image(encoded(GRAY, kind, **options), 24), rgb(GRAY))


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_lossy_formats_are_decoded_by_pil(kind):
    content = encoded(COLOR, kind, quality=95)
    decoded = decode_image(content, 24)
    with Image.open(io.BytesIO(content)) as image:
        np.testing.assert_array_equal(decoded, np.asarray(image))
    assert abs(decoded.astype(int) - COLOR).mean() < 30  # half the colors of the blocks' edges is lost


def test_black_and_white_and_palettes():
    bits = GRAY > 127
    np.testing.assert_array_equal(decode_image(encoded(bits), 24), rgb(bits * np.uint8(255)))
    palette = Image.fromarray(COLOR).quantize(9, dither=Image.Dither.NONE)
    assert palette.mode == "P"
    np.testing.assert_array_equal(decode_image(encoded(palette), 24), COLOR)


def test_the_first_frame_of_an_animation():
    first, second = Image.fromarray(GRAY), Image.fromarray(255 - GRAY)
    for kind in ("GIF", "WEBP"):
        content = encoded(first, kind, save_all=True, append_images=[second], lossless=True)
        np.testing.assert_array_equal(decode_image(content, 24), rgb(GRAY))


def test_transparency_lies_on_white():
    alpha = RNG.integers(0, 256, (24, 24, 1), np.uint8)
    by_hand = (COLOR * (alpha / 255) + 255 * (1 - alpha / 255)).round()
    decoded = decode_image(encoded(np.concatenate([COLOR, alpha], axis=2)), 24)
    assert abs(decoded - by_hand).max() <= 1
    gray = decode_image(encoded(np.concatenate([GRAY[:, :, None], alpha], axis=2)), 24)
    assert abs(gray - (rgb(GRAY) * (alpha / 255) + 255 * (1 - alpha / 255)).round()).max() <= 1
    palette = Image.fromarray(GRAY // 64)
    palette.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90, 0, 0, 0])
    color = np.uint8([[10, 20, 30], [40, 50, 60], [255, 255, 255], [0, 0, 0]])[GRAY // 64]
    np.testing.assert_array_equal(decode_image(encoded(palette, transparency=2), 24), color)


def test_16_bits_become_8():
    deep = RNG.integers(0, 65536, (24, 24), np.uint16)
    content = encoded(deep)
    with Image.open(io.BytesIO(content)) as image:
        assert image.mode.startswith("I;16")
    np.testing.assert_array_equal(decode_image(content, 24), rgb((deep // 256).astype(np.uint8)))


def test_cmyk_becomes_rgb():
    inks = np.kron(RNG.integers(0, 256, (3, 3, 4), np.uint8), np.ones((8, 8, 1), np.uint8))
    content = encoded(Image.fromarray(inks, "CMYK"), "JPEG", quality=100, subsampling=0)
    by_hand = (255 - inks[:, :, :3].astype(int)) * (255 - inks[:, :, 3:].astype(int)) / 255
    assert abs(decode_image(content, 24) - by_hand).max() <= 6


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_images_stand_upright(orientation):
    stored, exif = RNG.integers(0, 256, (24, 40, 3), np.uint8), Image.Exif()
    exif[0x0112] = orientation
    upright = UPRIGHT[orientation](stored)
    rows, columns = upright.shape[:2]
    top, left = (rows - 24) // 2, (columns - 24) // 2
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True})):
        decoded = decode_image(encoded(stored, kind, exif=exif, **options), 24)
        np.testing.assert_array_equal(decoded, upright[top : top + 24, left : left + 24])


def test_broken_exif_does_not_damage_an_image():
    content = encoded(COLOR, exif=b"Exif\0\0II*\0\xff\xff\xff\x7fnonsense")
    np.testing.assert_array_equal(decode_image(content, 24), COLOR)


@pytest.mark.parametrize("size", [24, 32, 64, 96])
def test_the_middle_is_kept_at_every_size(size):
    """A ramp along the longer side stays a ramp, of the values in the middle."""
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint8), (128, 256)).copy()
    decoded = decode_image(encoded(ramp), size)
    assert decoded.shape == (size, size, 3)
    centers = 64 + (np.arange(size) + 0.5) * (128 / size) - 0.5
    assert abs(decoded[size // 2, 1:-1, 0] - centers[1:-1]).max() <= 1


def test_absurd_images_are_refused():
    with pytest.raises(ValueError, match=r"of 2x201 pixels, one side is more than 100 times the other"):
        decode_image(encoded(np.zeros((201, 2), np.uint8)), 24)
    assert decode_image(encoded(np.zeros((200, 2), np.uint8)), 24).shape == (24, 24, 3)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_decompression_bombs_are_refused_where_pil_only_warns(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 24 * 24 - 1)
    with pytest.raises(Image.DecompressionBombError, match="24x24 pixels"):
        decode_image(encoded(GRAY), 24)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 24 * 24)
    assert decode_image(encoded(GRAY), 24).shape == (24, 24, 3)


@pytest.mark.parametrize("content", [b"", b"text", encoded(GRAY)[:300], encoded(GRAY, "JPEG")[:300], b"%PDF-1.4"])
def test_what_is_no_whole_image_is_an_error(content):
    with pytest.raises((OSError, SyntaxError)):
        decode_image(content, 24)


def test_other_formats_are_not_opened():
    with pytest.raises(OSError, match="cannot identify image"):
        decode_image(encoded(COLOR, "TIFF"), 24)
