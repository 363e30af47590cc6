"""Settings of JAX that hold for the whole process, and joining several processes into one run."""

import os

import jax

from sidae_jax.data import cache
from sidae_jax.errors import UserError


def start(
    distributed: bool = False,
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
) -> None:
    """To be called before the first computation.

    With `coordinator` the three numbers define the processes; with `distributed`, or as one of several tasks of a
    Slurm step, JAX reads them from the cluster. Raises UserError where that fails.
    """
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(cache.folder() / "compiled"))
    try:
        if coordinator is not None:
            jax.distributed.initialize(coordinator, num_processes, process_id)
        elif distributed or int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
            jax.distributed.initialize()
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"the processes of this run could not be joined ({' '.join(str(error).split())}): check --coordinator, "
            "--num_processes and --process_id, or drop --distributed for a single process"
        ) from error
