"""Pre-training on Fashion-MNIST with the paper's settings (4.1): as CIFAR-10, and views are blurred half of the time.

python -m sidae_jax.main --config=configs/fashion_mnist.py[:METHOD]

23,400 steps of 512 images. Published linear-probe accuracy after 200 epochs (paper, Table 1), with all labels / 1%
of them: SidAE 88.78 / 81.62, SimSiam 85.10 / 77.84, denoising autoencoder 87.67 / 80.20.
"""

from sidae_jax import config


def get_config(method: str = "sidae"):
    c = config.pretraining(method, "fashion_mnist")
    if method in ("sidae", "simsiam", "dae"):  # the report's have no blur
        c.views.p_blur = 0.5
    return c
