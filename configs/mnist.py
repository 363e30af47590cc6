"""Pre-training on MNIST with the paper's settings (4.1): as CIFAR-10, and views are blurred half of the time.

python -m sidae_jax.main --config=configs/mnist.py[:METHOD]

23,400 steps of 512 images. Published linear-probe accuracy after 200 epochs (paper, Table 1), with all labels / 1%
of them: SidAE 97.80 / 94.65, SimSiam 96.59 / 79.42, denoising autoencoder 97.23 / 88.41.
"""

from sidae_jax.config import pretraining
from sidae_jax.settings import own_settings


def get_config(method: str = "sidae"):
    config = pretraining(method, "mnist")  # all keys, with the defaults of the method's paper
    if own_settings(method):  # those of its own source, which sidae_jax/settings.py lists
        return config

    config.train_split = "train"
    config.epochs = 200
    config.batch_size = 512
    config.lr = 0.03  # SGD with momentum, cosine decay to 0
    if "w" in config:
        config.w = 0.5  # weight of the reconstruction; 0 is SimSiam
    config.views.p_blur = 0.5
    return config
