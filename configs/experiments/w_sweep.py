"""Appendix A, Table 1 of the paper: the weight w on four data sets.

CIFAR-10, Fashion-MNIST and MNIST are evaluated with 1% and 100% of the labels. Pre-training on STL-10 is evaluated on
STL-10 and CIFAR-10 with all labels.

python -m sidae_jax.sweep --experiment=configs/experiments/w_sweep.py --workdir=runs/w_sweep
"""

from sidae_jax.experiments import Experiment, Pretraining, linear

WEIGHTS = (0.125, 0.25, 0.5, 0.75, 0.875)


def get_experiment():
    """Returns SidAE with five weights on four data sets, with linear probes."""
    runs = [
        (Pretraining(dataset, "sidae", {"w": w}), linear(0.01, 1.0))
        for dataset in ("cifar10", "fashion_mnist", "mnist")
        for w in WEIGHTS
    ]
    transfers = linear(1.0) + linear(1.0, dataset="cifar10", train_split="train", test_split="test")
    runs += [(Pretraining("stl10", "sidae", {"w": w}), transfers) for w in WEIGHTS]
    return Experiment("Appendix A, Table 1: the weight w", runs)
