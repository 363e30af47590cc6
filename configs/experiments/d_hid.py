"""Appendix 2 of the paper: the dimension d of the latent space on CIFAR-10.

The text states neither w nor the fraction of the labels; this experiment uses w = 0.5 with 1% and 100% of them.

python -m sidae_jax.sweep --experiment=configs/experiments/d_hid.py --workdir=runs/d_hid
"""

from sidae_jax.experiments import Experiment, Pretraining, linear


def get_experiment():
    """Returns the three methods with three dimensions each, and their linear probes."""
    runs = [
        (Pretraining("cifar10", method, {"d_hid": d}), linear(0.01, 1.0))
        for method in ("sidae", "simsiam", "dae")
        for d in (512, 1024, 2048)
    ]
    return Experiment("Appendix 2: the dimension of the latent space", runs)
