"""Pre-train an encoder.

python -m sidae_jax.main --config=configs/cifar10.py[:METHOD] [--workdir=DIR] [--config.KEY=VALUE ...]

By default DIR is runs/<config>-<method>-<changed keys>, such as runs/cifar10-sidae. The same command continues a run
that was stopped.
"""

from sidae_jax import interrupt  # noqa: F401, I001 (first: what follows takes a while to import)

import contextlib
import os
import pathlib
import re
from collections.abc import Callable

from absl import flags
from ml_collections import ConfigDict

from sidae_jax import cli
from sidae_jax.config import PEER_TIMEOUT, validate
from sidae_jax.errors import UserError
from sidae_jax.experiments import run_name
from sidae_jax.runs import ROOT

flags.adopt_module_key_flags(cli)  # --help shows them
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run; by default one in runs/.")
_COORDINATOR = flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0, with several processes.")
_NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "Number of processes, where no cluster says it.")
_PROCESS_ID = flags.DEFINE_integer("process_id", None, "Number of this process, where no cluster says it.")
_DISTRIBUTED = flags.DEFINE_bool(
    "distributed", False, "Join the processes of the cluster job (Slurm, TPU pod, MPI, Kubernetes)."
)
_DETERMINISTIC = flags.DEFINE_bool(
    "deterministic", False, "On GPUs, run only kernels whose results have the same bits in every run; slower."
)

_XLA_FLAG = "--xla_gpu_deterministic_ops"


def main(load: Callable[[], ConfigDict]) -> None:
    """Trains the config that `load` reads, in a process that may be one of several."""

    def load_checked() -> tuple[ConfigDict, str]:
        config = load()
        validate(config)
        if "images" in config:  # as evaluations find it, wherever they start
            config.images = os.path.abspath(os.path.expanduser(config.images))
        return config, _WORKDIR.value or str(_default_workdir(config))

    several = _COORDINATOR.value is not None or _DISTRIBUTED.value
    try:  # reports a mistake before the imports that take seconds
        config, workdir = load_checked()
        peer_timeout = config.peer_timeout
    except UserError:
        if not several:
            raise
        peer_timeout = PEER_TIMEOUT  # joins all the same, so that the mistake ends all processes

    if _DETERMINISTIC.value:
        _ask_for_deterministic_kernels()
    import jax

    from sidae_jax import mesh, peers, processes, runtime
    from sidae_jax.training.train import train

    runtime.start(_DISTRIBUTED.value, _COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value, peer_timeout)
    with peers.Watch(peer_timeout) if jax.distributed.is_initialized() else contextlib.nullcontext():
        if several:
            mesh.check_devices()
            config, workdir = processes.raise_in_all(load_checked)
        if not _WORKDIR.value and jax.process_index() == 0:
            print(f"workdir: {workdir}", flush=True)
        try:
            train(config, workdir)
        except jax.errors.JaxRuntimeError as error:
            if not _DETERMINISTIC.value or "determinis" not in str(error):
                raise
            raise UserError(
                f"--deterministic: this run has no such program for {jax.devices()[0].device_kind} "
                f"({str(error).splitlines()[0]}): leave --deterministic out"
            ) from error


def _ask_for_deterministic_kernels() -> None:
    """Adds XLA's flag to the environment, which XLA reads when JAX starts.

    Raises:
      UserError: the environment's own flags ask for the opposite.
    """
    given = os.environ.get("XLA_FLAGS", "")
    if re.search(rf"{_XLA_FLAG}=(false|0)\b", given, re.IGNORECASE):
        raise UserError(
            f"--deterministic contradicts XLA_FLAGS={given}: leave --deterministic out, or take {_XLA_FLAG} out of "
            "XLA_FLAGS"
        )
    if _XLA_FLAG not in given:
        os.environ["XLA_FLAGS"] = f"{given} {_XLA_FLAG}=true".strip()


def _default_workdir(config: ConfigDict) -> pathlib.Path:
    """Returns a folder such as runs/cifar10-sidae-w0.25: the config file, the method and the changed keys.

    A sweep names its runs in the same way. The number of seeds may grow in one folder, so it is not in the name.
    """
    name = run_name(cli.config_name(), config.method, cli.changes(config))
    return ROOT / (name if config.num_seeds == 1 else f"{name}-seeds")


if __name__ == "__main__":
    cli.run(main)
