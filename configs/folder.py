"""Pre-training on a folder of your own images, resized to 32x32, with the paper's settings (4.1).

python -m sidae_jax.main --config=configs/folder.py[:METHOD] --config.images=DIR

README.md, "Your own images", says what DIR may look like. The methods ae, vae, simclr and supervised need
--config.num_classes, the number of class folders.
"""

from sidae_jax.config import pretraining
from sidae_jax.settings import own_settings


def get_config(method: str = "sidae"):
    config = pretraining(method, "folder")  # all keys, with the defaults of the method's paper
    config.test_share = 0.1  # of the images, held out where there is no folder test/ or val/
    config.on_damage = "refuse"  # or skip: what is done about files that are no intact images
    if own_settings(method):  # those of its own source, which sidae_jax/settings.py lists
        return config

    config.epochs = 200
    config.batch_size = 512
    config.lr = 0.03  # SGD with momentum, cosine decay to 0
    config.views.p_blur = 0.0
    return config
