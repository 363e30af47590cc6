"""Fine-tuning (paper, 4.1): the whole backbone and a linear layer trained on the labels.

python -m sidae_jax.linear_eval --workdir=DIR --config=configs/finetune.py [--config.label_fraction=0.01]

The line of step 0, the untrained backbone, is the supervised baseline from scratch.
"""

from sidae_jax.evaluation import config


def get_config():
    return config.protocol("finetune")
