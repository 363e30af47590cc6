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

    With `coordinator` the other two define the processes; with `distributed`, or as one of several tasks of a Slurm
    step (srun; not the shell of sbatch or salloc), JAX reads them from the cluster. Raises UserError where that fails.
    """
    if coordinator is None and (num_processes is not None or process_id is not None):
        raise UserError(
            "--num_processes and --process_id say nothing without --coordinator: give --coordinator=HOST:PORT of "
            "process 0 to each process, or --distributed where a cluster knows its processes"
        )
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(cache.folder() / "compiled"))
    # This service would swallow SIGTERM from here to the first step, and have orbax save on a count of its own.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        if num_processes == 1 and not process_id:
            pass  # nobody to join, and JAX's coordinator now and then aborts at exit when its one client is itself
        elif coordinator is not None:
            # "deactivate": inside a Slurm or MPI job JAX would take missing values, and the devices, from there
            jax.distributed.initialize(coordinator, num_processes, process_id, cluster_detection_method="deactivate")
        elif distributed or int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
            jax.distributed.initialize()
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"the processes of this run could not be joined ({' '.join(str(error).split())}): check --coordinator, "
            "--num_processes and --process_id, or drop --distributed for a single process"
        ) from error
