"""Figure 6 of the paper: the weight w on CIFAR-10 with 1% of the labels, from SimSiam (0) to DAE (1).

python -m sidae_jax.sweep --experiment=configs/experiments/figure6.py --workdir=runs/figure6
"""

from sidae_jax.experiments import Experiment, Pretraining, linear


def get_experiment():
    """Returns SidAE with five weights and the methods at the ends, with linear probes."""
    ends = [(Pretraining("cifar10", method), linear(0.01)) for method in ("simsiam", "dae")]
    weights = (0.125, 0.25, 0.5, 0.75, 0.875)
    runs = ends + [(Pretraining("cifar10", "sidae", {"w": w}), linear(0.01)) for w in weights]
    return Experiment("Figure 6: the weight w on CIFAR-10", runs)
