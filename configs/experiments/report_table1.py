"""Table 1 of the report: a two-layer MLP on frozen features, and ResNet-18 trained with labels.

The settings are those of its released code, which are the defaults of these methods. Besides the MLP, which is trained
afterward, this experiment evaluates the classifier that the code trains during pre-training.

python -m sidae_jax.sweep --experiment=configs/experiments/report_table1.py --workdir=runs/report_table1
"""

from sidae_jax.experiments import Evaluation, Experiment, Pretraining


def get_experiment():
    """Returns the four methods on both data sets with an MLP probe and the online probe."""
    evaluations = [Evaluation("mlp_eval"), Evaluation("online_eval")]
    runs = [
        (Pretraining(dataset, method), evaluations)
        for dataset in ("mnist", "cifar10")
        for method in ("ae", "vae", "simclr", "supervised")
    ]
    return Experiment("Report, Table 1: a two-layer MLP on frozen features", runs)
