"""The runs that test the report's claims with a part of its 150 epochs: Table 1 without the supervised network.

It is meant for --scale=thin, where the whole schedule would take hours of a CPU core for each run. MNIST has
half the epochs of CIFAR-10, to save time.

python -m sidae_jax.sweep --experiment=configs/experiments/report_claims.py --workdir=runs/claims --scale=thin --seeds=3
"""

from sidae_jax.experiments import Evaluation, Experiment, Pretraining


def get_experiment():
    """Returns the three methods that the claims compare, on both data sets, with the MLP probe after the last epoch."""
    runs = [
        (Pretraining(dataset, method, {"epochs": epochs, "checkpoint_every": epochs}), [Evaluation("mlp_eval")])
        for dataset, epochs in (("cifar10", 20), ("mnist", 10))
        for method in ("ae", "vae", "simclr")
    ]
    return Experiment("The report's claims on two data sets", runs)
