"""torchvision's transforms on PIL images, written with PIL and NumPy only (the oracle of the view tests).

Source: torchvision/transforms/_functional_pil.py and transforms.py; SimSiam's loader.py for the blur. Images
are uint8 [h, w, 3] RGB arrays in and out.
"""

import math

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter


def _pil(img: np.ndarray) -> Image.Image:
    if img.dtype != np.uint8 or img.ndim != 3 or img.shape[-1] != 3:
        raise ValueError(f"expected uint8 [h, w, 3], got {img.dtype} {img.shape}")
    return Image.fromarray(np.ascontiguousarray(img))


def brightness(img: np.ndarray, f: float) -> np.ndarray:
    """F.adjust_brightness: blend with black; f = 1 is the identity, f = 0 black."""
    return np.array(ImageEnhance.Brightness(_pil(img)).enhance(f))


def contrast(img: np.ndarray, f: float) -> np.ndarray:
    """F.adjust_contrast: blend with one gray, the rounded mean of the image's L; f = 1 is the identity."""
    return np.array(ImageEnhance.Contrast(_pil(img)).enhance(f))


def saturation(img: np.ndarray, f: float) -> np.ndarray:
    """F.adjust_saturation: blend with the image's L; f = 1 is the identity, f = 0 is `grayscale`."""
    return np.array(ImageEnhance.Color(_pil(img)).enhance(f))


def hue(img: np.ndarray, f: float) -> np.ndarray:
    """F.adjust_hue, f in [-0.5, 0.5]: int(f * 255) is added to the uint8 hue modulo 256."""
    if not -0.5 <= f <= 0.5:
        raise ValueError(f"hue factor {f} is not in [-0.5, 0.5]")
    h, s, v = _pil(img).convert("HSV").split()
    shifted = (np.array(h, dtype=np.int32) + int(f * 255)) % 256  # int() truncates toward zero, as there
    h = Image.fromarray(shifted.astype(np.uint8))
    return np.array(Image.merge("HSV", (h, s, v)).convert("RGB"))


def grayscale(img: np.ndarray) -> np.ndarray:
    """F.to_grayscale(num_output_channels=3)."""
    gray = np.array(_pil(img).convert("L"), dtype=np.uint8)
    return np.dstack([gray, gray, gray])


def hflip(img: np.ndarray) -> np.ndarray:
    """F.hflip."""
    return np.array(_pil(img).transpose(Image.Transpose.FLIP_LEFT_RIGHT))


def resized_crop(
    img: np.ndarray, top: int, left: int, height: int, width: int, size: tuple[int, int] = (32, 32)
) -> np.ndarray:
    """F.resized_crop, PIL's bilinear resize (antialiased when it shrinks); size = (h, w)."""
    crop = _pil(img).crop((left, top, left + width, top + height))
    return np.array(crop.resize(size[::-1], Image.Resampling.BILINEAR))


def gaussian_blur(img: np.ndarray, sigma: float) -> np.ndarray:
    """SimSiam's GaussianBlur: PIL's filter (three extended box blurs, edges repeated), radius = sigma."""
    return np.array(_pil(img).filter(ImageFilter.GaussianBlur(radius=sigma)))


def crop_params(
    rng: np.random.Generator,
    height: int = 32,
    width: int = 32,
    scale: tuple[float, float] = (0.2, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> tuple[int, int, int, int]:
    """RandomResizedCrop.get_params: (top, left, height, width) of a random crop."""
    area = height * width
    low, high = math.log(ratio[0]), math.log(ratio[1])
    for _ in range(10):
        target_area = area * rng.uniform(scale[0], scale[1])
        aspect_ratio = math.exp(rng.uniform(low, high))
        w = round(math.sqrt(target_area * aspect_ratio))
        h = round(math.sqrt(target_area / aspect_ratio))
        if 0 < w <= width and 0 < h <= height:
            top = int(rng.integers(0, height - h + 1))
            left = int(rng.integers(0, width - w + 1))
            return top, left, h, w
    in_ratio = width / height  # fallback: the largest central crop of an allowed ratio
    if in_ratio < min(ratio):
        w, h = width, round(width / min(ratio))
    elif in_ratio > max(ratio):
        w, h = round(height * max(ratio)), height
    else:
        w, h = width, height
    return (height - h) // 2, (width - w) // 2, h, w
