"""Times every convolution of the networks, with its gradients, by oneDNN and by XLA; `networks/conv.py` chooses by it.

    python native/benchmark.py [N]

sidae_jax and sidae_jax_native must be installed. Each round computes both in turn, so that other load meets both;
printed are medians of the rounds in ms for N images (512), the two views of a batch of 256 for instance.
"""

import functools
import statistics
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
from sidae_jax.networks import conv, conv_onednn

ROUNDS = 9
CONVOLUTIONS = {  # (size, c, f, k, stride)
    "ResNet-18 at 32x32": [
        (32, 3, 64, 7, 2),
        (8, 64, 64, 3, 1),
        (8, 64, 128, 3, 2),
        (8, 64, 128, 1, 2),
        (4, 128, 128, 3, 1),
        (4, 128, 256, 3, 2),
        (4, 128, 256, 1, 2),
        (2, 256, 256, 3, 1),
        (2, 256, 512, 3, 2),
        (1, 512, 512, 3, 1),
    ],
    "ResNet-18 with CIFAR stem": [
        (32, 3, 64, 3, 1),
        (32, 64, 64, 3, 1),
        (32, 64, 128, 3, 2),
        (16, 128, 128, 3, 1),
        (8, 256, 256, 3, 1),
    ],
    "width 16": [(32, 3, 16, 7, 2), (8, 16, 16, 3, 1), (8, 16, 32, 3, 2), (4, 32, 32, 3, 1)],
}
TRANSPOSED = {"decoder": [(1, 512, 256), (2, 256, 128), (4, 128, 64), (8, 64, 64), (16, 64, 3)]}  # (size, c, f)


def main(n: int = 512) -> None:
    """Prints a table in Markdown."""
    columns = [f"{way}, {dtype}" for dtype in ("float32", "bfloat16") for way in ("XLA", "oneDNN")]
    print(f"| {n} images, ms: forward with gradients | {' | '.join(columns)} |\n|---|---|---|---|---|", flush=True)
    for network, cases in CONVOLUTIONS.items():
        for size, c, f, k, stride in cases:
            shapes = (n, size, size, c), (k, k, c, f)
            ways = [functools.partial(way, stride=stride) for way in (conv.conv2d, conv_onednn.conv2d)]
            _print_row(f"{network}: {size}x{size}x{c} to {f}, {k}x{k}, stride {stride}", ways, shapes)
    for network, cases in TRANSPOSED.items():
        for size, c, f in cases:
            shapes = (n, size, size, c), (3, 3, c, f)
            ways = [conv.conv_transpose2d, conv_onednn.conv_transpose2d]
            _print_row(f"{network}: {size}x{size}x{c} to {2 * size}x{2 * size}x{f}", ways, shapes)


def _print_row(name, ways, shapes):
    times = []
    for dtype in ("float32", "bfloat16"):
        rng = np.random.default_rng(0)
        x, kernel = (jnp.asarray(rng.standard_normal(shape), dtype) for shape in shapes)
        dy = jnp.asarray(rng.standard_normal(jax.eval_shape(ways[0], x, kernel).shape), dtype)
        programs = [_program(way, of_images=x.shape[-1] == 3) for way in ways]
        found = [[] for _ in programs]
        for round_ in range(ROUNDS + 2):  # the first two compile and warm up
            for program, seconds in zip(programs, found, strict=True):
                start = time.perf_counter()
                jax.block_until_ready(program(x, kernel, dy))
                if round_ >= 2:
                    seconds.append(time.perf_counter() - start)
        times += [f"{1000 * statistics.median(seconds):.1f}" for seconds in found]
    print(f"| {name} | {' | '.join(times)} |", flush=True)


def _program(convolve, of_images):
    """Returns a program for the convolution and the gradients that training needs; images need none."""

    def compute(x, kernel, dy):
        y, pullback = jax.vjp(convolve, x, kernel)
        dx, dkernel = pullback(dy)
        return (y, dkernel) if of_images else (y, dx, dkernel)

    return jax.jit(compute)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
