"""SidAE on scikit-learn's 1,797 handwritten digits, which come with the installation: the program's first run.

python -m sidae_jax.main --config=configs/digits.py --workdir=runs/digits
"""

from sidae_jax import config


def get_config(method: str = "sidae"):
    c = config.pretraining(method, "digits", batch_size=128, epochs=25, checkpoint_every=25)
    c.views.p_blur = 0.5
    return c
