"""Augmented views, on the device: torchvision's transforms on PIL images, in float32.

The transforms and their order are the paper's (3.2), which are SimSiam's for CIFAR-10. An image is three planes
[3, side, side] in [0, 1], and a view of it [3, size, size] with size <= side: stored larger than the views, images keep
detail for the crops. PIL rounds to 8 bits between the transforms; nothing is rounded here.

`sample_params` turns a key into the random parameters of one view, and `apply` is a deterministic function of them.
"""

import itertools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Key, UInt8

from sidae_jax.settings import ViewSettings

_EXACT = lax.Precision.HIGHEST  # one pass in bfloat16 would move a pixel by up to one of 255 levels

Planes = Float[Array, "3 _ _"]
Plane = Float[Array, "_ _"]
Images = Float[Array, "n size size 3"]


# How many uniform numbers the parameters of one view take, by what they are for.
_UNIFORMS = {"areas": 10, "ratios": 10, "corner": 2, "applied": 4, "jitter": 4, "order": 4, "sigma": 1}


class ViewParams(NamedTuple):
    """The random parameters of one view. The crop is in pixels; without jitter its factors are 1 and its hue is 0."""

    top: Int[Array, ""]
    left: Int[Array, ""]
    height: Int[Array, ""]
    width: Int[Array, ""]
    jitter: Float[Array, "4"]  # brightness, contrast, saturation, hue
    jitter_rank: Int[Array, "4"]  # the place of each of the four in the order
    gray: Bool[Array, ""]
    sigma: Float[Array, ""]  # 0: no blur
    flip: Bool[Array, ""]


def make_views(
    keys: Key[Array, " n"],
    images: UInt8[Array, "n side side 3"],
    settings: ViewSettings,
    mean: Float[Array | np.ndarray, "3"],
    std: Float[Array | np.ndarray, "3"],
    size: int | None = None,
) -> tuple[Images, Images, Images]:
    """Returns the normalized images and two views of each, all of `size` <= side, by default the images' own.

    The views of an image depend only on the image and its key, not on the rest of the batch.
    """
    planes = _planes(images)
    side = images.shape[1]
    size = size or side

    def view(planes: Planes, key: Key[Array, ""]) -> Planes:
        return apply(planes, sample_params(key, settings, side), settings, size)

    # both views in one call: half the program to compile
    two_keys = jax.vmap(lambda key: jax.random.split(key, 2))(keys)
    views = jax.vmap(jax.vmap(view, (None, 0)))(planes, two_keys)
    x, x1, x2 = (p.transpose(0, 2, 3, 1) for p in (_resize(planes, size), views[:, 0], views[:, 1]))
    # fused into the concatenation of the views, the transposition would be several times slower
    return lax.optimization_barrier(tuple((image - mean) / std for image in (x, x1, x2)))


def resized(
    images: UInt8[Array, "n side side 3"],
    mean: Float[Array | np.ndarray, "3"],
    std: Float[Array | np.ndarray, "3"],
    size: int,
) -> Images:
    """Returns the normalized images that `make_views` returns beside the views."""
    return (_resize(_planes(images), size).transpose(0, 2, 3, 1) - mean) / std


def _planes(images):
    return images.transpose(0, 3, 1, 2).astype(jnp.float32) / 255


def _resize(planes, size):
    side = planes.shape[-1]
    if size == side:
        return planes
    whole = crop_matrix(0, side, side, size)
    return _resample(whole, planes, whole)


def sample_params(key: Key[Array, ""], settings: ViewSettings, side: int) -> ViewParams:
    """Draws the random parameters of one view of an image of side x side pixels."""
    # one call, since random bits take long to compile
    ends = list(itertools.accumulate(_UNIFORMS.values()))
    uniform = dict(zip(_UNIFORMS, jnp.split(jax.random.uniform(key, (ends[-1],)), ends[:-1]), strict=True))
    top, left, height, width = _crop(uniform["areas"], uniform["ratios"], uniform["corner"], settings, side)
    jittered, gray, blurred, flip = uniform["applied"] < jnp.array(
        [settings.p_jitter, settings.p_gray, settings.p_blur, settings.p_flip]
    )
    strength = jnp.array([settings.brightness, settings.contrast, settings.saturation, settings.hue])
    neutral = jnp.array([1.0, 1.0, 1.0, 0.0])
    low = jnp.maximum(neutral - strength, jnp.array([0.0, 0.0, 0.0, -1.0]))
    jitter = _between(uniform["jitter"], low, neutral + strength)
    return ViewParams(
        top=top,
        left=left,
        height=height,
        width=width,
        jitter=jnp.where(jittered, jitter, neutral),
        jitter_rank=_rank(uniform["order"]),
        gray=gray,
        sigma=jnp.where(blurred, _between(uniform["sigma"][0], *settings.blur_sigma), 0.0),
        flip=flip,
    )


def _rank(values):
    """Returns the place that each value has in ascending order."""
    return (values[None, :] < values[:, None]).sum(1)


def _between(uniform, low, high):
    return low + (high - low) * uniform


def _crop(areas, ratios, corner, settings, side):
    """Returns torchvision's RandomResizedCrop.get_params: the first of ten tries that fits, or else the whole image.

    `areas` and `ratios` (ten each) and `corner` (two) are uniform in [0, 1).
    """
    area = side * side * _between(areas, *settings.crop_scale)
    ratio = jnp.exp(_between(ratios, *(math.log(ratio) for ratio in settings.crop_ratio)))
    widths = jnp.round(jnp.sqrt(area * ratio)).astype(jnp.int32)
    heights = jnp.round(jnp.sqrt(area / ratio)).astype(jnp.int32)
    fits = (widths > 0) & (widths <= side) & (heights > 0) & (heights <= side)
    first = jnp.argmax(fits)
    # torchvision falls back to a central crop of the nearest ratio: the whole of a square image, if 1 is allowed
    height = jnp.where(fits.any(), heights[first], side)
    width = jnp.where(fits.any(), widths[first], side)
    room = jnp.stack([side - height, side - width])
    top, left = jnp.minimum(jnp.floor(corner * (room + 1)).astype(jnp.int32), room)
    return top, left, height, width


def apply(planes: Planes, params: ViewParams, settings: ViewSettings, size: int) -> Planes:
    """Makes one view of size x size: crop, jitter, grayscale, blur, flip.

    Transforms that `settings` rule out cost nothing.
    """
    side = planes.shape[-1]
    columns = crop_matrix(params.left, params.width, side, size)
    # mirroring commutes with everything after the crop: done here, on the matrix, the flip costs nothing
    columns = jnp.where(params.flip, columns[::-1], columns)
    planes = _resample(crop_matrix(params.top, params.height, side, size), planes, columns)
    if settings.p_jitter > 0:
        planes = color_jitter(planes, params.jitter, params.jitter_rank)
    if settings.p_gray > 0:
        planes = jnp.where(params.gray, grayscale(planes)[None], planes)
    if settings.p_blur > 0:
        matrix = blur_matrix(params.sigma, max(settings.blur_sigma), size)
        planes = _resample(matrix, planes, matrix)
    return planes


def _resample(rows, planes, columns):
    return jnp.matmul(jnp.matmul(rows, planes, precision=_EXACT), columns.T, precision=_EXACT)


def crop_matrix(
    start: Int[Array, ""] | int, length: Int[Array, ""] | int, side: int, size: int
) -> Float[Array, "size side"]:
    """Returns the matrix that resizes `length` of `side` pixels, from `start` on, to `size`, by PIL's bilinear filter.

    PIL crops before it resizes, so pixels outside the crop have no weight and the others are renormalized. Where it
    makes an image smaller its filter is as much wider.
    """
    center = start + (jnp.arange(size) + 0.5) * (length / size)
    pixel = jnp.arange(side)
    distance = jnp.abs(pixel[None, :] + 0.5 - center[:, None])
    if size < side:
        distance /= jnp.maximum(length / size, 1)
    weight = jnp.maximum(1 - distance, 0)
    weight = jnp.where((pixel >= start) & (pixel < start + length), weight, 0)
    return weight / weight.sum(1, keepdims=True)


def color_jitter(planes: Planes, jitter: Float[Array, "4"], rank: Int[Array, "4"]) -> Planes:
    """torchvision's ColorJitter: brightness, contrast, saturation and hue, each once, in the order of `rank`.

    Hue is costly, so it is computed once, between two rounds of the other three; a factor of 1 changes nothing. Within
    a round the sequence b s b c b s b of brightness, saturation and contrast has all their orders in it, and only one
    mean over the image, for contrast, which would end a kernel.
    """
    brightness_last = rank[0] > rank[2]

    def blends(planes, due):
        brightness, contrast, saturation = jnp.where(due, jitter[:3], 1.0)
        after_contrast = due[1] & (rank[:3] > rank[1])
        for second in (False, True):
            now = after_contrast == second
            b, s = jnp.where(now[0], brightness, 1.0), jnp.where(now[2], saturation, 1.0)
            planes = _blend(planes, 0.0, jnp.where(brightness_last, 1.0, b))
            planes = _blend(planes, grayscale(planes), s)
            planes = _blend(planes, 0.0, jnp.where(brightness_last, b, 1.0))
            if not second:
                planes = _blend(planes, grayscale(planes).mean(), contrast)
        return planes

    before_hue = rank[:3] < rank[3]
    return blends(shift_hue(blends(planes, before_hue), jitter[3]), ~before_hue)


def _blend(planes, partner, factor):
    return jnp.clip(factor * planes + (1 - factor) * partner, 0, 1)


def grayscale(planes: Planes) -> Plane:
    """PIL's mode L: 0.299 R + 0.587 G + 0.114 B (ITU-R 601-2)."""
    return 0.299 * planes[0] + 0.587 * planes[1] + 0.114 * planes[2]


def shift_hue(planes: Planes, turns: Float[Array, ""]) -> Planes:
    """Turns the hue in HSV space by a fraction of the circle, without PIL's quantization of hue to 256 steps."""
    red, green, blue = planes
    value, low = jnp.max(planes, 0), jnp.min(planes, 0)
    chroma = value - low
    divisor = jnp.where(chroma > 0, chroma, 1.0)
    # not `value == red`: a compiler may round red otherwise in its two places, and the hue would jump to another sixth;
    # where two channels are nearly the same, both cases have nearly the same hue
    sixths = jnp.where(
        (red >= green) & (red >= blue),
        (green - blue) / divisor,
        jnp.where(green >= blue, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    offset = jnp.array([5.0, 3.0, 1.0])[:, None, None]
    k = offset + sixths + 6 * turns
    k -= 6 * jnp.floor(k / 6)  # modulo 6; jnp.mod is several times slower on CPU
    return value - chroma * jnp.clip(jnp.minimum(k, 4 - k), 0, 1)


def blur_matrix(sigma: Float[Array, ""], largest_sigma: float, size: int) -> Float[Array, "size size"]:
    """Returns PIL's GaussianBlur along one axis: three passes of a box of fractional radius, edge pixels repeated.

    0 <= sigma <= largest_sigma; sigma 0 gives the identity. The radius follows Pillow's BoxBlur.c, where the box
    of radius r weights the pixel at distance o by clip(r + 1 - o, 0, 1) / (2r + 1).
    """
    variance = sigma * sigma / 3
    inner = jnp.floor((jnp.sqrt(12 * variance + 1) - 1) / 2)
    outer = (2 * inner + 1) * (inner * (inner + 1) - 3 * variance) / (6 * (variance - (inner + 1) ** 2))
    radius = inner + outer
    reach = math.floor((math.sqrt(4 * largest_sigma**2 + 1) - 1) / 2) + 1

    def weight(distance):
        return jnp.clip(radius + 1 - distance, 0, 1) / (2 * radius + 1)

    pixel, offsets = np.arange(size), np.arange(-reach, reach + 1)
    neighbor = pixel[:, None] + offsets
    beyond = np.stack([neighbor <= 0, neighbor >= size - 1]).astype(np.float32)  # of either edge, or on it
    first, last = jnp.einsum("o,eio->ei", weight(np.abs(offsets)), beyond, precision=_EXACT)[..., None]
    box = weight(np.abs(pixel[:, None] - pixel))  # 0 beyond the reach
    box = jnp.where(pixel == 0, first, jnp.where(pixel == size - 1, last, box))
    return jnp.matmul(jnp.matmul(box, box, precision=_EXACT), box, precision=_EXACT)
