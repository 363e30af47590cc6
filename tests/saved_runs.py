"""Runs with checkpoints that are evaluated, without any training: for the tests of the evaluation."""

import dataclasses

import jax.numpy as jnp
import numpy as np
from flax import nnx

from sidae_jax.config import pretraining
from sidae_jax.data.normalization import Normalization
from sidae_jax.evaluation import backbone as backbones
from sidae_jax.methods import make_method
from sidae_jax.runs import checkpoint

PRETRAINING = pretraining("simsiam", "digits", width=4, d_hid=32, seed=3)
NORMALIZATION = Normalization((0.2, 0.3, 0.4), (0.5, 0.6, 0.7))  # not that of the images evaluated


def arrays_of(method: nnx.Module) -> checkpoint.Arrays:
    """Named as in a checkpoint."""
    _, params, batch_stats = nnx.split(method, nnx.Param, nnx.BatchStat)
    return checkpoint.to_arrays(params, "params.") | checkpoint.to_arrays(batch_stats, "batch_stats.")


def state_arrays() -> checkpoint.Arrays:
    """Those of the method before its first step."""
    return arrays_of(make_method(PRETRAINING, None))


def trained_arrays(step: int) -> checkpoint.Arrays:
    """As if trained: every value has moved."""
    rng = np.random.default_rng(step)
    return {
        name: value + rng.uniform(0.01, 0.2, value.shape).astype(value.dtype) for name, value in state_arrays().items()
    }


def save_moved(workdir, made_by):
    """Saves a run in which every value has moved, but less, so that its features have one magnitude in all blocks."""
    rng = np.random.default_rng(0)
    arrays = {
        name: value + rng.uniform(*((0.01, 0.2) if value.ndim == 1 else (-0.01, 0.01)), value.shape).astype(value.dtype)
        for name, value in arrays_of(make_method(made_by, None)).items()
    }
    return save(workdir, {4: arrays}, made_by)


def save(workdir, arrays_by_step, made_by=PRETRAINING, dataset="digits"):
    metadata = {
        "config": {**made_by.to_dict(), "dataset": dataset},
        "normalization": dataclasses.asdict(NORMALIZATION),
    }
    with checkpoint.Checkpoints(workdir, read_only=False) as checkpoints:
        for step, arrays in arrays_by_step.items():
            checkpoints.save(step, arrays, {"step": step, "epoch": step / 2, **metadata}, scheduled=True)
    return workdir


def restore(workdir, step):
    with checkpoint.Checkpoints(workdir, read_only=True) as checkpoints:
        return backbones.restore_backbone(checkpoints, step)


def normalized_by_hand(images):
    normalized = (images / np.float64(255) - NORMALIZATION.mean) / NORMALIZATION.std
    return jnp.asarray(normalized, jnp.float32)


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
