"""sidae_jax_native in processes of its own: what its library does as they start and end."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("sidae_jax_native", reason="sidae_jax_native is not installed: pip install ./native")

_FRESH = """
import os, threading
import jax.numpy as jnp, sidae_jax_native
threads = [threading.Thread(target=sidae_jax_native.register) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
sidae_jax_native.conv2d(jnp.ones((64, 8, 8, 64)), jnp.ones((3, 3, 64, 64)), 1).block_until_ready()
print(os.environ.get("OMP_WAIT_POLICY"), len(os.listdir("/proc/self/task")))
"""


def _fresh_process(**variables):
    environment = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "XLA_FLAGS")}
    run = [sys.executable, "-c", _FRESH]
    done = subprocess.run(run, env=environment | variables, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    policy, tasks = done.stdout.split()
    return policy, int(tasks)


def test_fresh_processes_compute_and_end():
    """The environment stays as the user has it, and OpenMP starts as many threads as OMP_NUM_THREADS says."""
    policy, tasks = _fresh_process(OMP_NUM_THREADS="1")
    assert policy == "None"
    policy, more_tasks = _fresh_process(OMP_NUM_THREADS="21", OMP_WAIT_POLICY="active")
    assert policy == "active"
    assert 10 < more_tasks - tasks < 30  # 20, but the number of XLA's own threads varies
