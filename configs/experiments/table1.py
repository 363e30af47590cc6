"""Table 1 of the paper: linear probes with 1% and 100% of the labels.

On the first three data sets it also has the supervised baseline, which the paper shows only in its figures.

python -m sidae_jax.sweep --experiment=configs/experiments/table1.py --workdir=runs/table1
"""

from sidae_jax.experiments import Experiment, Pretraining, finetuning, linear

METHODS = ("sidae", "simsiam", "dae")


def get_experiment():
    """Returns the three methods on four data sets with linear probes, and the supervised baseline."""
    runs = [
        (Pretraining(dataset, method), linear(0.01, 1.0) + (SUPERVISED if method == "sidae" else []))
        for dataset in ("cifar10", "fashion_mnist", "mnist")
        for method in METHODS
    ]
    # Pre-training on STL-10 uses w = 0.25 (4.2), with evaluations on STL-10 and on CIFAR-10.
    transfers = linear(1.0) + linear(1.0, dataset="cifar10", train_split="train", test_split="test")
    runs += [(Pretraining("stl10", method), transfers) for method in METHODS]
    return Experiment("Table 1: downstream accuracy by method and data set", runs)


# Training from scratch is fine-tuning of the untrained backbone.
SUPERVISED = finetuning(0.01, 1.0, untrained_only=True)
