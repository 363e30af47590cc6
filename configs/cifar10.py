"""Pre-training on CIFAR-10 with the paper's settings (4.1).

python -m sidae_jax.main --config=configs/cifar10.py[:METHOD]

19,400 steps of 512 images. Published linear-probe accuracy after 200 epochs (paper, Table 1), with all labels / 1%
of them: SidAE 64.75 / 51.67, SimSiam 57.08 / 44.06, denoising autoencoder 57.44 / 40.67.
"""

from sidae_jax import config


def get_config(method: str = "sidae"):
    return config.pretraining(method, "cifar10")
