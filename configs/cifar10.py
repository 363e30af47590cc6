"""Pre-training on CIFAR-10 with the paper's settings (4.1).

python -m sidae_jax.main --config=configs/cifar10.py[:METHOD]

19,400 steps of 512 images. Published linear-probe accuracy after 200 epochs (paper, Table 1), with all labels / 1%
of them: SidAE 64.75 / 51.67, SimSiam 57.08 / 44.06, denoising autoencoder 57.44 / 40.67.
"""

from sidae_jax.config import pretraining
from sidae_jax.settings import own_settings


def get_config(method: str = "sidae"):
    config = pretraining(method, "cifar10")  # all keys, with the defaults of the method's paper
    if own_settings(method):  # those of its own source, which sidae_jax/settings.py lists
        return config

    config.train_split = "train"
    config.epochs = 200
    config.batch_size = 512
    config.lr = 0.03  # SGD with momentum, cosine decay to 0
    if "w" in config:
        config.w = 0.5  # weight of the reconstruction; 0 is SimSiam
    config.views.p_blur = 0.0
    return config
