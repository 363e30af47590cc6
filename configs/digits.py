"""SidAE on scikit-learn's 1,797 handwritten digits, which come with the installation: the program's first run.

python -m sidae_jax.main --config=configs/digits.py[:METHOD]

440 steps of 64 images, a few minutes on two CPU cores, with half of ResNet-18's width. Not an experiment of the paper.
"""

from sidae_jax import config


def get_config(method: str = "sidae"):
    small = {"batch_size": 64, "epochs": 20, "checkpoint_every": 10, "width": 32, "stem": "imagenet"}
    c = config.pretraining(method, "digits", **small)
    if method in ("sidae", "simsiam", "dae"):
        c.d_hid = 512
        c.views.p_blur = 0.5  # the report's methods have no blur
    return c
