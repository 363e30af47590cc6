"""Weighted nearest neighbors (k = 200, temperature 0.07) on the frozen backbone's pooled features.

python -m sidae_jax.linear_eval --workdir=DIR --config=configs/knn_eval.py [--config.label_fraction=0.01]
"""

from sidae_jax.evaluation import config


def get_config():
    return config.protocol("knn")
