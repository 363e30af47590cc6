"""The linear probe of the paper (4.1): one linear layer on the frozen backbone's pooled features.

python -m sidae_jax.linear_eval --workdir=DIR [--config=configs/linear_eval.py --config.label_fraction=0.01]
"""

from sidae_jax.evaluation import config


def get_config():
    return config.protocol("linear")
