"""Figure 8 of the paper: pre-training on STL-10, evaluated on STL-10 and on CIFAR-10 with all labels.

python -m sidae_jax.sweep --experiment=configs/experiments/figure8.py --workdir=runs/figure8
"""

from sidae_jax.experiments import Experiment, Pretraining, finetuning, linear


def get_experiment():
    """Returns the three methods with linear probes on both data sets, and the supervised baselines."""
    on_cifar10 = {"dataset": "cifar10", "train_split": "train", "test_split": "test"}
    supervised = finetuning(1.0, untrained_only=True) + finetuning(1.0, untrained_only=True, **on_cifar10)
    transfers = linear(1.0) + linear(1.0, **on_cifar10)
    runs = [
        (Pretraining("stl10", method), transfers + (supervised if method == "sidae" else []))
        for method in ("sidae", "simsiam", "dae")
    ]
    return Experiment("Figure 8: pre-training on STL-10", runs)
