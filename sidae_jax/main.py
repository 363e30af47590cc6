"""Pre-train an encoder.

python -m sidae_jax.main --config=configs/cifar10.py[:METHOD] [--workdir=DIR] [--config.KEY=VALUE ...]

DIR is runs/<config>-<method>-<changed keys> unless it is given, such as runs/cifar10-sidae. The same command again
continues where the run in DIR was stopped.
"""

from sidae_jax import interrupt  # noqa: F401, I001 (first: what follows takes a while to import)

import pathlib

from absl import flags
from ml_collections import ConfigDict

from sidae_jax import cli
from sidae_jax.config import validate
from sidae_jax.experiments import Pretraining
from sidae_jax.runs import newest

flags.adopt_module_key_flags(cli)  # --help shows them
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run; by default one in runs/.")
_COORDINATOR = flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0, with several processes.")
_NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "Number of processes, where no cluster says it.")
_PROCESS_ID = flags.DEFINE_integer("process_id", None, "Number of this process, where no cluster says it.")
_DISTRIBUTED = flags.DEFINE_bool(
    "distributed", False, "Join the processes of the cluster job (Slurm, TPU pod, MPI, Kubernetes)."
)


def main(config: ConfigDict) -> None:
    validate(config)
    workdir = _WORKDIR.value or str(_default_workdir(config))

    # Only now what takes seconds to import.
    import jax

    from sidae_jax import runtime
    from sidae_jax.training.train import train

    runtime.start(_DISTRIBUTED.value, _COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value)
    if _WORKDIR.value is None and jax.process_index() == 0:
        print(f"workdir: {workdir}", flush=True)
    train(config, workdir)


def _default_workdir(config: ConfigDict) -> pathlib.Path:
    """runs/cifar10-sidae-w0.25: the config file, the method and the keys that are not as the file has them.

    As a sweep names its runs. The number of seeds may grow in one folder, and so is not in its name.
    """
    name = Pretraining(cli.config_name(), config.method, cli.changes(config)).name
    return newest.ROOT / (name if config.num_seeds == 1 else f"{name}-seeds")


if __name__ == "__main__":
    cli.run(main)
