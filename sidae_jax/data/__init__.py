"""Images for training and evaluation: TFDS data sets without TensorFlow, and folders, decoded once and cached."""

from sidae_jax.data.source import DATASETS, Images, check_name, load, load_slices, make_ready

__all__ = ["DATASETS", "Images", "check_name", "load", "load_slices", "make_ready"]
