"""Pre-training on the 100,000 unlabelled images of STL-10, resized to 32x32, with the paper's settings (4.1).

python -m sidae_jax.main --config=configs/stl10.py[:METHOD]

39,000 steps of 512 images. Published linear-probe accuracy after 200 epochs (paper, Table 1), evaluated on STL-10 /
CIFAR-10: SidAE (w = 0.25) 61.18 / 66.20, SimSiam 56.74 / 56.64, denoising autoencoder 48.39 / 57.08. The paper's own
Appendix Table 1 has 65.42 for SidAE (w = 0.25) on CIFAR-10.
"""

from sidae_jax.config import pretraining
from sidae_jax.settings import own_settings


def get_config(method: str = "sidae"):
    config = pretraining(method, "stl10")  # all keys, with the defaults of the method's paper
    config.train_split = "train" if method == "supervised" else "unlabelled"  # 5,000 images, or 100,000 without labels
    if own_settings(method):  # those of its own source, which sidae_jax/settings.py lists
        return config

    config.epochs = 200
    config.batch_size = 512
    config.lr = 0.03  # SGD with momentum, cosine decay to 0
    if "w" in config:
        config.w = 0.25  # weight of the reconstruction, the paper's choice for STL-10 (4.2); 0 is SimSiam
    config.views.p_blur = 0.0
    return config
