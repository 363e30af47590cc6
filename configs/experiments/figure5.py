"""Figure 5 of the paper: accuracy by pre-training epochs on MNIST and Fashion-MNIST with 1% of the labels.

python -m sidae_jax.sweep --experiment=configs/experiments/figure5.py --workdir=runs/figure5
"""

from sidae_jax.experiments import Experiment, Pretraining, finetuning, linear


def get_experiment():
    """Returns the three methods on both data sets with linear probes, and the supervised baseline."""
    supervised = finetuning(0.01, untrained_only=True)
    runs = [
        (Pretraining(dataset, method), linear(0.01) + (supervised if method == "sidae" else []))
        for dataset in ("mnist", "fashion_mnist")
        for method in ("sidae", "simsiam", "dae")
    ]
    return Experiment("Figure 5: accuracy by pre-training epochs, MNIST and Fashion-MNIST, 1% of the labels", runs)
