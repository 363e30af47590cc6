"""Images for training and evaluation: TFDS data sets without TensorFlow, decoded once and cached."""

from sidae_jax.data.source import DATASETS, Images, load

__all__ = ["DATASETS", "Images", "load"]
