"""Figure 4 of the paper: accuracy by pre-training epochs on CIFAR-10 with 1% and 100% of the labels.

python -m sidae_jax.sweep --experiment=configs/experiments/figure4.py --workdir=runs/figure4
"""

from sidae_jax.experiments import Experiment, Pretraining, finetuning, linear


def get_experiment():
    """Returns the three methods with linear probes, and the supervised baseline."""
    supervised = finetuning(0.01, 1.0, untrained_only=True)
    runs = [
        (Pretraining("cifar10", method), linear(0.01, 1.0) + (supervised if method == "sidae" else []))
        for method in ("sidae", "simsiam", "dae")
    ]
    return Experiment("Figure 4: accuracy by pre-training epochs, CIFAR-10, 1% and 100% of the labels", runs)
