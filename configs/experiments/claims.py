"""The runs that test the paper's claims on CIFAR-10 and Fashion-MNIST: Table 1, Figures 4 to 7.

Runs that the table and the figures share are done once. Of Figure 7 it is the half with 1% of the labels. At
--scale=thin, a width of 16, one CPU core needs some 25 minutes for one run with its evaluations.

python -m sidae_jax.sweep --experiment=configs/experiments/claims.py --workdir=runs/claims --scale=thin --seeds=3
"""

from sidae_jax.experiments import Experiment, Pretraining, finetuning, linear


def get_experiment():
    """Returns the three methods on two data sets, and SidAE with four more weights on CIFAR-10."""
    runs = []
    for dataset in ("cifar10", "fashion_mnist"):
        for method in ("sidae", "simsiam", "dae"):
            evaluations = linear(0.01, 1.0) + (finetuning(0.01) if dataset == "cifar10" else [])
            if method == "sidae":  # training from scratch is fine-tuning of the untrained backbone
                evaluations += finetuning(*((1.0,) if dataset == "cifar10" else (0.01, 1.0)), untrained_only=True)
            runs.append((Pretraining(dataset, method), evaluations))
    for w in (0.125, 0.25, 0.75, 0.875):
        evaluations = linear(0.01, 1.0) + (finetuning(0.01) if w == 0.125 else [])
        runs.append((Pretraining("cifar10", "sidae", {"w": w}), evaluations))
    return Experiment("The papers' claims on two data sets", runs)
