"""Pre-training on the 100,000 unlabelled images of STL-10, resized to 32x32, with the paper's settings (4.1).

python -m sidae_jax.main --config=configs/stl10.py[:METHOD]

39,000 steps of 512 images. Published linear-probe accuracy after 200 epochs (paper, Table 1), evaluated on STL-10 /
CIFAR-10: SidAE (w = 0.25) 61.18 / 66.20, SimSiam 56.74 / 56.64, denoising autoencoder 48.39 / 57.08. The paper's own
Appendix Table 1 has 65.42 for SidAE (w = 0.25) on CIFAR-10.
"""

from sidae_jax import config


def get_config(method: str = "sidae"):
    c = config.pretraining(method, "stl10", train_split="train" if method == "supervised" else "unlabelled")
    if method == "sidae":
        c.w = 0.25  # the paper's choice for STL-10 (4.2)
    return c
