"""The losses of the methods, and their measures, as pure functions in the papers' notation."""

import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float, Int

from sidae_jax.networks.precision import in_full

Metrics = dict[str, Float[Array, ""]]


def ncs(a: Float[Array, "n d"], b: Float[Array, "n d"]) -> Float[Array, ""]:
    """Negative cosine similarity -a.b / max(|a||b|, 1e-8), the mean over n: D_ncs of the paper, 3.2.

    It is in [-1, 1], and ncs(a, a) = -1.
    """
    a, b = in_full(a), in_full(b)
    return -((a * b).sum(-1) / jnp.maximum(_norm(a) * _norm(b), 1e-8)).mean()


def _norm(a):
    """Returns |a| over the last axis, with gradient 0 at a = 0, where a plain square root has gradient NaN.

    optax.safe_norm takes the norm twice, and its gradient has other last bits.
    """
    square = jnp.square(a).sum(-1)
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)


def mse(a: Float[Array, "n ..."], b: Float[Array, "n ..."]) -> Float[Array, ""]:
    """Mean squared error over all elements: the mean over n of D_mse of the paper, 3.2."""
    a, b = in_full(a), in_full(b)
    return jnp.square(a - b).mean()


def simsiam(
    p1: Float[Array, "n d"], p2: Float[Array, "n d"], z1: Float[Array, "n d"], z2: Float[Array, "n d"]
) -> Float[Array, ""]:
    """L_si = ncs(p1, sg z2)/2 + ncs(p2, sg z1)/2: equation 1 of the paper."""
    return 0.5 * ncs(p1, lax.stop_gradient(z2)) + 0.5 * ncs(p2, lax.stop_gradient(z1))


def dae(
    target1: Float[Array, "n ..."],
    target2: Float[Array, "n ..."],
    reconstruction1: Float[Array, "n ..."],
    reconstruction2: Float[Array, "n ..."],
) -> Float[Array, ""]:
    """L_dae: the mean of the two views' reconstruction errors (paper, 3.2, where both targets are the image x)."""
    return 0.5 * mse(target1, reconstruction1) + 0.5 * mse(target2, reconstruction2)


def sidae(loss_dae: Float[Array, ""], loss_si: Float[Array, ""], w: float) -> tuple[Float[Array, ""], Metrics]:
    """L_sidae = w L_dae + (1 - w) L_si: paper, 3.2."""
    return w * loss_dae + (1 - w) * loss_si, {"loss_dae": loss_dae, "loss_si": loss_si}


def kl_to_standard_normal(mean: Float[Array, "n d"], log_variance: Float[Array, "n d"]) -> Float[Array, ""]:
    """KL(N(mean, exp(log_variance)) || N(0, 1)) in nats, the mean over n and over the d dimensions.

    Kingma and Welling, 2013, appendix B, have the sum over d; the report's code has the mean.
    """
    mean, log_variance = in_full(mean), in_full(log_variance)
    return 0.5 * (jnp.square(mean) + jnp.exp(log_variance) - 1 - log_variance).mean()


def info_nce(
    z1: Float[Array, "n d"], z2: Float[Array, "n d"], temperature: float, axis_name: str | None = None
) -> Float[Array, ""]:
    """The report's SimCLR loss: for each z1, the cross-entropy of its own z2 among all z2, by cosine / temperature.

    Returns the mean over this device's n pairs. SimCLR's NT-Xent (Chen et al., 2020) has the z1 as negatives too, and
    both directions. With `axis_name` the z2 come from all devices of that mapped axis. The norm of an embedding counts
    as at least 1e-8.
    """
    z1, z2 = (z / jnp.maximum(_norm(z), 1e-8)[:, None] for z in (in_full(z1), in_full(z2)))
    own = jnp.arange(z1.shape[0])
    if axis_name is not None:
        z2 = lax.all_gather(z2, axis_name, tiled=True)
        own += lax.axis_index(axis_name) * z1.shape[0]
    logits = jnp.matmul(z1, z2.T, precision=lax.Precision.HIGHEST)  # cosines divided by a small temperature
    return optax.softmax_cross_entropy_with_integer_labels(logits / temperature, own).mean()


def classification(
    logits: Float[Array, "n num_classes"], labels: Int[Array, " n"], axis_name: str | None = None
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Returns cross-entropy and accuracy, means over the examples with a label (not -1); both are 0 if none has one.

    With `axis_name`, the mean of the devices' results is the mean over the labeled examples of all devices.
    """
    logits = in_full(logits)
    labeled = labels >= 0
    count = jnp.asarray(labeled.sum(), logits.dtype)
    if axis_name is not None:
        count = lax.pmean(count, axis_name)
    errors = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.where(labeled, labels, 0))
    correct = logits.argmax(-1) == labels  # never for a label of -1
    count = jnp.where(count > 0, count, 1)
    return jnp.where(labeled, errors, 0).sum() / count, correct.sum() / count


def feature_std(z: Float[Array, "n d"], axis_name: str | None = None) -> Float[Array, ""]:
    """SimSiam's measure of collapse std(z/|z|) sqrt(d) (Chen and He, 2021, 4.1), the mean over dimensions.

    It is 1 for features spread evenly over the sphere and 0 for collapsed ones. With `axis_name` it is taken over the
    batch of all devices of that mapped axis. No gradient flows through it.
    """
    z = in_full(lax.stop_gradient(z))
    unit = z / jnp.maximum(_norm(z), 1e-8)[:, None]
    mean = unit.mean(0)
    if axis_name is not None:
        mean = lax.pmean(mean, axis_name)
    variance = jnp.square(unit - mean).mean(0)
    if axis_name is not None:
        variance = lax.pmean(variance, axis_name)
    return jnp.sqrt(variance).mean() * z.shape[-1] ** 0.5
