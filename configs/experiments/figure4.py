"""Figure 4 of the paper: accuracy by pre-training epochs, CIFAR-10, 1% and 100% of the labels.

python -m sidae_jax.sweep --experiment=configs/experiments/figure4.py --workdir=runs/figure4
"""

from sidae_jax.experiments import Experiment, Pretraining, finetuning, linear


def get_experiment():
    supervised = finetuning(0.01, 1.0, untrained_only=True)
    runs = [
        (Pretraining(dataset, method), linear(0.01, 1.0) + (supervised if method == "sidae" else []))
        for dataset in ("cifar10",)
        for method in ("sidae", "simsiam", "dae")
    ]
    return Experiment("Figure 4: accuracy by pre-training epochs, CIFAR-10, 1% and 100% of the labels", runs)
