"""The online probe of the report: the classifier that ae, vae, simclr and supervised train on the way, on test images.

python -m sidae_jax.linear_eval --workdir=DIR --config=configs/online_eval.py

Nothing is trained: there is no untrained backbone to compare with, and no part of the labels to choose.
"""

from sidae_jax.evaluation import config


def get_config():
    return config.protocol("online")
