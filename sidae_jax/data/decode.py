"""One encoded image, decoded with PIL into a square RGB array."""

import io

import numpy as np
import PIL
from jaxtyping import UInt8
from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
_VERSION = 2  # raised when decode_image returns other numbers, so that older caches are not used
_MOST_UNEQUAL = 100  # times that one side may be as long as the other
_WHITE = (255, 255, 255, 255)
_ORIENTATION = 0x0112  # EXIF's tag, whose values 2 to 8 say how an image is turned to be upright
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def version() -> str:
    """Returns what the decoded numbers depend on besides the images: this module and Pillow's decoders."""
    return f"{_VERSION}, pillow {PIL.__version__}"


def decode_image(encoded: bytes, size: int) -> UInt8[np.ndarray, "size size 3"]:
    """Decodes an image, always with PIL, so that the numbers do not depend on OpenCV.

    The image is turned as its EXIF orientation says. If it is not of the size wanted, its shorter side becomes `size`
    by PIL's antialiased bilinear filter and the middle of the longer side is kept. An image with transparency lies on
    white; of 16 bits a channel the upper 8 are kept, which is what PIL itself does with color; CMYK becomes RGB by
    PIL's formula, without color profiles; of an animation the first frame is taken; gray is resized as it is and then
    repeated to three channels.

    Args:
      encoded: the bytes of a file in one of FORMATS.
      size: the side of the result, in pixels.

    Returns:
      uint8 [size, size, 3], 0..255.

    Raises:
      PIL.UnidentifiedImageError: the bytes are no image in one of FORMATS.
      Exception: PIL raises many kinds for a damaged image: OSError, ValueError, SyntaxError, struct.error, ...
      Image.DecompressionBombError: it has more pixels than Image.MAX_IMAGE_PIXELS, for which PIL alone only warns.
      ValueError: one side is more than 100 times as long as the other.
    """
    with Image.open(io.BytesIO(encoded), formats=FORMATS) as opened:
        _check_shape(*opened.size)
        turn = _UPRIGHT.get(_orientation(opened))
        image = _gray_or_rgb(opened)
        if turn is not None:
            image = image.transpose(turn)
        if image.size != (size, size):
            short, left, top = _central_square(*image.size)
            box = (left, top, left + short, top + short)
            # PIL filters with the pixels around the box too: resized and then cropped, at the cost of the square alone.
            image = image.resize((size, size), Image.Resampling.BILINEAR, box)
        pixels = np.asarray(image)
    return pixels if pixels.ndim == 3 else np.repeat(pixels[:, :, None], 3, axis=2)


def _check_shape(width: int, height: int) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and width * height > limit:
        raise Image.DecompressionBombError(f"{width}x{height} pixels are more than PIL's limit of {limit}")
    if max(width, height) > _MOST_UNEQUAL * min(width, height):
        raise ValueError(f"of {width}x{height} pixels, one side is more than {_MOST_UNEQUAL} times the other")


def _central_square(width: int, height: int) -> tuple[int, int, int]:
    """Returns the side, left and top of the largest square in the middle."""
    short = min(width, height)
    return short, (width - short) // 2, (height - short) // 2


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(_ORIENTATION, 1)
    except Exception:  # any of PIL's: broken metadata do not damage the pixels
        return 1


def _gray_or_rgb(image: Image.Image) -> Image.Image:
    """Returns the image in mode "L" or "RGB"."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, _WHITE), image).convert("RGB")
    if image.mode == "1":
        return image.convert("L")
    return image if image.mode in ("L", "RGB") else image.convert("RGB")
