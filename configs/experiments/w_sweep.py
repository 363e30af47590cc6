"""Appendix A, Table 1 of the paper: the weight w on four data sets, 1% and 100% of the labels.

python -m sidae_jax.sweep --experiment=configs/experiments/w_sweep.py --workdir=runs/w_sweep
"""

from sidae_jax.experiments import Experiment, Pretraining, linear


def get_experiment():
    runs = [
        (Pretraining(dataset, "sidae", {"w": w}), linear(0.01, 1.0))
        for dataset in ("cifar10", "fashion_mnist", "mnist", "stl10")
        for w in (0.125, 0.25, 0.5, 0.75, 0.875)
    ]
    return Experiment("Appendix A, Table 1: the weight w", runs)
