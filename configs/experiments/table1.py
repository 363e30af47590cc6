"""Table 1 of the paper: linear probes with 1% and 100% of the labels.

Beside it, on the first three data sets, the supervised baseline, which the paper has in its figures alone.

python -m sidae_jax.sweep --experiment=configs/experiments/table1.py --workdir=runs/table1
"""

from sidae_jax.experiments import Experiment, Pretraining, finetuning, linear

METHODS = ("sidae", "simsiam", "dae")


def get_experiment():
    runs = [
        (Pretraining(dataset, method), linear(0.01, 1.0) + (SUPERVISED if method == "sidae" else []))
        for dataset in ("cifar10", "fashion_mnist", "mnist")
        for method in METHODS
    ]
    # STL-10 is pre-trained with w = 0.25 (4.2), evaluated on itself and on CIFAR-10
    transfers = linear(1.0) + linear(1.0, dataset="cifar10", train_split="train", test_split="test")
    runs += [(Pretraining("stl10", method), transfers) for method in METHODS]
    return Experiment("Table 1: downstream accuracy by method and data set", runs)


# from scratch: an evaluation of the untrained backbone alone
SUPERVISED = finetuning(0.01, 1.0, untrained_only=True)
