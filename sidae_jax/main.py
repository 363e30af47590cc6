"""Pre-train an encoder.

python -m sidae_jax.main --config=configs/cifar10.py[:METHOD] --workdir=DIR [--config.KEY=VALUE ...]

The same command again continues where the run in DIR was stopped.
"""

from absl import flags
from ml_collections import ConfigDict

from sidae_jax import cli
from sidae_jax.config import validate
from sidae_jax.errors import UserError

flags.adopt_module_key_flags(cli)  # --help shows them
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run: config, metrics and checkpoints.")
_COORDINATOR = flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0, with several processes.")
_NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "Number of processes, where no cluster says it.")
_PROCESS_ID = flags.DEFINE_integer("process_id", None, "Number of this process, where no cluster says it.")
_DISTRIBUTED = flags.DEFINE_bool(
    "distributed", False, "Join the processes of the cluster job (Slurm, TPU pod, MPI, Kubernetes)."
)


def main(config: ConfigDict) -> None:
    if _WORKDIR.value is None:
        raise UserError("--workdir is missing: give the folder of the run, such as --workdir=runs/cifar10")
    validate(config)

    # Only now what takes seconds to import.
    from sidae_jax import runtime
    from sidae_jax.training.train import train

    runtime.start(_DISTRIBUTED.value, _COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value)
    train(config, _WORKDIR.value)


if __name__ == "__main__":
    cli.run(main)
