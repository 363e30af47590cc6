"""SidAE on scikit-learn's 1,797 handwritten digits, which come with the installation: the program's first run.

python -m sidae_jax.main --config=configs/digits.py[:METHOD]

440 steps of 64 images, a few minutes on two CPU cores, with half of ResNet-18's width. Not an experiment of the paper.
"""

from sidae_jax.config import pretraining
from sidae_jax.settings import own_settings


def get_config(method: str = "sidae"):
    config = pretraining(method, "digits")
    config.epochs = 20
    config.batch_size = 64
    config.checkpoint_every = 10
    config.width = 32
    config.stem = "imagenet"

    if not own_settings(method):
        config.views.p_blur = 0.5
        if "d_hid" in config:
            config.d_hid = 512  # dimensions of z
    return config
