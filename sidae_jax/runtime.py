"""Settings of JAX that hold for the whole process, and joining several processes into one run.

Compiled programs are kept in the folder "compiled" of the user's cache, up to 4 GiB: each start removes the ones
used longest ago. JAX_COMPILATION_CACHE_DIR names another folder, which is left alone, and with
JAX_COMPILATION_CACHE_MAX_SIZE (bytes; it needs the package filelock) JAX keeps a limit itself.
"""

import contextlib
import os
import pathlib
from typing import Any

import jax

from sidae_jax.array_cache import user_folder
from sidae_jax.errors import UserError

_CACHE_BYTES = 4 * 2**30


def start(
    distributed: bool = False,
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    peer_timeout: int | None = None,
) -> None:
    """Prepares JAX; call it before the first computation. In a notebook what the session has set before is kept.

    With `coordinator` the other two arguments define the processes. With `distributed`, or as one of several tasks of a
    Slurm step (srun; not the shell of sbatch or salloc), JAX reads them from the cluster. `peer_timeout` is that of
    peers.Watch, which ends a run whose process is lost before JAX does.

    Raises:
      UserError: the processes cannot be joined.
    """
    if coordinator is None and (num_processes is not None or process_id is not None):
        raise UserError(
            "--num_processes and --process_id say nothing without --coordinator: give --coordinator=HOST:PORT of "
            "process 0 to each process, or --distributed where a cluster knows its processes"
        )
    cache_dir = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]  # made by jax at run time
    if cache_dir is None:  # nor set by the environment
        folder = user_folder() / "compiled"
        if "JAX_COMPILATION_CACHE_MAX_SIZE" not in os.environ:
            trim(folder, _CACHE_BYTES)
        jax.config.update("jax_compilation_cache_dir", str(folder))
    # This service would swallow SIGTERM from here to the first step, and make orbax save at steps of its own choice.
    jax.config.update("jax_enable_preemption_service", False)
    # JAX's own end of such a run is an abort, for when the watch could not: it counts less than it is given
    heartbeat: dict[str, Any] = {} if peer_timeout is None else {"heartbeat_timeout_seconds": 2 * peer_timeout + 20}
    try:
        if jax.distributed.is_initialized():
            pass  # the session has joined them itself
        elif num_processes == 1 and not process_id:
            pass  # nothing to join, and JAX's coordinator sometimes aborts at exit if its only client is itself
        elif coordinator is not None:
            # "deactivate": inside a Slurm or MPI job JAX would take missing values, and the devices, from there
            jax.distributed.initialize(
                coordinator, num_processes, process_id, cluster_detection_method="deactivate", **heartbeat
            )
        elif distributed or _slurm_tasks() > 1:
            jax.distributed.initialize(**heartbeat)
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"the processes of this run could not be joined ({' '.join(str(error).split())}): check --coordinator, "
            "--num_processes and --process_id, or drop --distributed for a single process"
        ) from error


def require_single_process(program: str) -> None:
    """Raises UserError if a single-process program was started in several processes (by srun, or joined).

    Call it before `start` too, which would join them first.
    """
    processes = jax.process_count() if jax.distributed.is_initialized() else _slurm_tasks()
    if processes > 1:
        raise UserError(
            f"{program} was started in {processes} processes, which would all write the same files: start it in one, "
            f"on a cluster by srun --ntasks=1 python -m sidae_jax.{program}; it uses every GPU of its node"
        )


def _slurm_tasks() -> int:
    """Returns the number of tasks in this Slurm step; 1 outside of one, as in the shell of sbatch or salloc."""
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))


def trim(folder: pathlib.Path, limit: int) -> None:
    """Removes the compiled programs in `folder` used longest ago until the rest takes at most `limit` bytes.

    Several processes may do so at once, and use the cache meanwhile: a missing program is compiled again. JAX's own
    limit is not used, since JAX stops writing once one program has no record of its last use, as programs written
    without a limit or by a process that was killed.
    """
    found = []
    for path in folder.glob("*-cache"):
        with contextlib.suppress(OSError):
            stat = path.stat()
            found.append((max(stat.st_atime, stat.st_mtime), path, stat.st_size))
    total = sum(size for *_, size in found)
    for _, path, size in sorted(found):
        if total <= limit:
            break
        with contextlib.suppress(OSError):
            path.unlink()
        total -= size
