"""What config.precision means: the precision of matrix products and convolutions, and the dtype of activations.

float32: products in full float32.
tensorfloat32: products in XLA's default precision, which is TF32 on NVIDIA, one pass in bfloat16 on TPUs and full
  float32 on CPUs. The activations are float32.
bfloat16: activations and the operands of products in bfloat16, with sums in float32.

Parameters, their gradients' sums over devices, the optimizer's state, BatchNorm's statistics, losses and views are
float32 in all of them.
"""

import contextlib

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def products_in(precision: str) -> contextlib.AbstractContextManager:
    """Returns a context in which convolutions and products that name no precision are traced with this one."""
    return jax.default_matmul_precision("highest" if precision == "float32" else "default")


def as_activations(x: Float[Array, "..."], precision: str) -> Float[Array, "..."]:
    """Returns the input of a network in the dtype of its activations, which all its layers keep."""
    return x.astype(jnp.bfloat16) if precision == "bfloat16" else x


def in_full(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Returns an array as statistics and losses need it: bfloat16 becomes float32."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
