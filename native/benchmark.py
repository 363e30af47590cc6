"""Times a convolution with its gradients: this package, XLA's convolution, and what sidae_jax does without the package.

Each round calls the three in turn, so that other load meets all of them; printed are medians of the rounds, in ms.
Run it as `python native/benchmark.py`, with sidae_jax installed.
"""

import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np
from sidae_jax.networks import conv, conv_xla

import sidae_jax_native

ROUNDS = 15
N = 512
CASES = {  # (size, c, f, k, stride)
    "8x8x64, 3x3": (8, 64, 64, 3, 1),
    "4x4x128, 3x3": (4, 128, 128, 3, 1),
    "stem 7x7/2, 32x32x3 (no input gradient)": (32, 3, 64, 7, 2),
}
WAYS = {"native": sidae_jax_native.conv2d, "XLA": conv_xla.conv2d, "sidae_jax": conv.conv2d}


def _program(convolve, stride, with_input_gradient):
    def compute(x, kernel, dy):
        y, pullback = jax.vjp(lambda x, kernel: convolve(x, kernel, stride), x, kernel)
        dx, dkernel = pullback(dy)
        return (y, dx, dkernel) if with_input_gradient else (y, dkernel)

    return jax.jit(compute)


def main():
    """Prints a table in Markdown."""
    rng = np.random.default_rng(0)
    print(f"| {N} images, ms | " + " | ".join(WAYS) + " |\n|---|" + "---|" * len(WAYS))
    for name, (size, c, f, k, stride) in CASES.items():
        shapes = [(N, size, size, c), (k, k, c, f), (N, size // stride, size // stride, f)]
        for dtype in ("float32", "bfloat16"):
            arrays = [jnp.asarray(rng.normal(size=shape), dtype) for shape in shapes]
            programs = [_program(convolve, stride, with_input_gradient=c > 3) for convolve in WAYS.values()]
            times = [[] for _ in programs]
            for round_ in range(ROUNDS + 2):  # the first two compile and warm up
                for program, found in zip(programs, times, strict=True):
                    start = time.perf_counter()
                    jax.block_until_ready(program(*arrays))
                    found.extend([time.perf_counter() - start] if round_ >= 2 else [])
            medians = (f"{1000 * statistics.median(found):.1f}" for found in times)
            print(f"| {name}, {dtype} | " + " | ".join(medians) + " |", flush=True)


if __name__ == "__main__":
    main()
