"""Figure 7 of the paper: accuracy by pre-training epochs, CIFAR-10 fine-tuned, 1% and 100% of the labels.

python -m sidae_jax.sweep --experiment=configs/experiments/figure7.py --workdir=runs/figure7
"""

from sidae_jax.experiments import Experiment, Pretraining, finetuning


def get_experiment():
    # SidAE with the weight that was best in Figure 6 (4.2); step 0 of each is the supervised baseline
    changes = {"sidae": {"w": 0.125}, "simsiam": {}, "dae": {}}
    runs = [(Pretraining("cifar10", method, changes[method]), finetuning(0.01, 1.0)) for method in changes]
    return Experiment("Figure 7: accuracy by pre-training epochs, CIFAR-10 fine-tuned, 1% and 100% of the labels", runs)
