"""Pre-training on MNIST with the paper's settings (4.1): as CIFAR-10, and views are blurred half of the time.

python -m sidae_jax.main --config=configs/mnist.py[:METHOD]

23,400 steps of 512 images. Published linear-probe accuracy after 200 epochs (paper, Table 1), with all labels / 1%
of them: SidAE 97.80 / 94.65, SimSiam 96.59 / 79.42, denoising autoencoder 97.23 / 88.41.
"""

from sidae_jax import config


def get_config(method: str = "sidae"):
    c = config.pretraining(method, "mnist")
    if method in ("sidae", "simsiam", "dae"):  # the report's have no blur
        c.views.p_blur = 0.5
    return c
