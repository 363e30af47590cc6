"""The report's probe: a two-layer perceptron (512 units, BatchNorm) on the frozen backbone's pooled features.

python -m sidae_jax.linear_eval --workdir=DIR --config=configs/mlp_eval.py [--config.label_fraction=0.01]
"""

from sidae_jax.evaluation import config


def get_config():
    return config.protocol("mlp")
