"""Evaluate the checkpoints of a run by a linear probe, or by the protocol of another config.

python -m sidae_jax.linear_eval [--workdir=DIR] [--config=configs/linear_eval.py] [--step=N] [--config.KEY=VALUE ...]

Configs: linear_eval.py, mlp_eval.py, knn_eval.py, finetune.py and online_eval.py, in configs/.
"""

from sidae_jax import interrupt  # noqa: F401, I001 (first: what follows takes a while to import)

from collections.abc import Callable

from absl import flags
from ml_collections import ConfigDict

from sidae_jax import cli
from sidae_jax.evaluation.config import protocol, validate
from sidae_jax.runs import measured, newest

flags.adopt_module_key_flags(cli)  # --help shows them
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the pre-training run; by default the newest in runs/.")
_STEP = flags.DEFINE_string(
    "step",
    None,
    "Evaluate this checkpoint and the untrained backbone; best: the one with the highest kNN in training; 0: only the "
    "untrained backbone.",
)


def main(load: Callable[[], ConfigDict]) -> None:
    """Evaluates a run by the config that `load` reads. Raises UserError."""
    config = load()
    workdir = _WORKDIR.value or newest.announce(newest.newest_run())
    validate(config)
    step = measured.parse_step(_STEP.value)

    # Only now what takes seconds to import.
    from sidae_jax import runtime
    from sidae_jax.evaluation.run import evaluate

    runtime.require_single_process("linear_eval")
    runtime.start()
    evaluate(config, workdir, step)


if __name__ == "__main__":
    cli.run(main, default=protocol)
