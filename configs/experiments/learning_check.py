"""The runs that benchmarks/learning_check.py repeats in PyTorch, to compare their linear probes.

python -m sidae_jax.sweep --experiment=learning_check --workdir=runs/learning_check --scale=thin --seeds=3
"""

from sidae_jax.experiments import Experiment, Pretraining, linear


def get_experiment():
    """Returns the paper's three methods on Fashion-MNIST for 30 epochs of batches of 256."""
    changes = {"epochs": 30, "batch_size": 256, "checkpoint_every": 30}
    runs = [
        (Pretraining("fashion_mnist", method, changes), linear(0.01, 1.0)) for method in ("sidae", "simsiam", "dae")
    ]
    return Experiment("The same network in JAX and in PyTorch", runs)
