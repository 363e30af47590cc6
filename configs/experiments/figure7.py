"""Figure 7 of the paper: accuracy by pre-training epochs, fine-tuned on CIFAR-10 with 1% and 100% of the labels.

python -m sidae_jax.sweep --experiment=configs/experiments/figure7.py --workdir=runs/figure7
"""

from sidae_jax.experiments import Experiment, Pretraining, finetuning


def get_experiment():
    """Returns the three methods with fine-tuning."""
    # SidAE has the best weight of Figure 6 (4.2). Step 0 of each run is the supervised baseline.
    changes = {"sidae": {"w": 0.125}, "simsiam": {}, "dae": {}}
    runs = [(Pretraining("cifar10", method, changes[method]), finetuning(0.01, 1.0)) for method in changes]
    return Experiment("Figure 7: accuracy by pre-training epochs, CIFAR-10 fine-tuned, 1% and 100% of the labels", runs)
