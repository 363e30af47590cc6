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


def _run(program, **variables):
    """Returns what a Python program prints; it must end within two minutes, without an error."""
    environment = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "XLA_FLAGS")}
    run = [sys.executable, "-c", program]
    done = subprocess.run(run, env=environment | variables, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def _fresh_process(**variables):
    policy, tasks = _run(_FRESH, **variables)
    return policy, int(tasks)


def test_fresh_processes_compute_and_end():
    """The environment stays as the user has it, and OpenMP starts as many threads as OMP_NUM_THREADS says."""
    policy, tasks = _fresh_process(OMP_NUM_THREADS="1")
    assert policy == "None"
    policy, more_tasks = _fresh_process(OMP_NUM_THREADS="21", OMP_WAIT_POLICY="active")
    assert policy == "active"
    assert 10 < more_tasks - tasks < 30  # 20, but the number of XLA's own threads varies


_EIGHT_DEVICES = """
import os
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import PartitionSpec as P
import sidae_jax_native

rng = np.random.default_rng(0)
x, kernel = (jnp.asarray(rng.integers(-8, 9, shape), jnp.float32) for shape in [(64, 8, 8, 64), (3, 3, 64, 64)])

def compute(x, kernel):
    y, pullback = jax.vjp(lambda x, kernel: sidae_jax_native.conv2d(x, kernel, 1), x, kernel)
    dx, dkernel = pullback(jnp.sign(y))
    return y, dx, jax.lax.psum(dkernel, "devices")

def program(devices, each):
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:devices]), ("devices",))
    specs = {"in_specs": (each, P()), "out_specs": (each, each, P())}
    return jax.jit(jax.shard_map(compute, mesh=mesh, check_vma=False, **specs))

sharded = program(8, P("devices"))
wanted = [np.asarray(array) for array in program(1, P())(x, kernel)]
for step in range(60):
    found = [np.asarray(array) for array in sharded(x, kernel)]
    assert all(map(np.array_equal, found, wanted))
    if step in (19, 59):
        print(len(os.listdir("/proc/self/task")))
"""


def test_eight_devices_need_no_more_threads_as_steps_go_by():
    """Each device's thread has OpenMP threads of its own, as many after 60 steps as after 20."""
    flags = "--xla_force_host_platform_device_count=8"
    few, many = map(int, _run(_EIGHT_DEVICES, XLA_FLAGS=flags, OMP_NUM_THREADS="3"))
    assert many <= few + 4  # a thread of XLA that has not called before brings two
    assert many < 100


_FORK = """
import multiprocessing, warnings
import jax.numpy as jnp, numpy as np, sidae_jax_native
convolve = lambda: sidae_jax_native.conv2d(jnp.ones((64, 8, 8, 64)), jnp.ones((3, 3, 64, 64)), 1)
before = np.asarray(convolve())
warnings.filterwarnings("ignore", "os.fork", RuntimeWarning)  # JAX's: a child must not use it
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map(np.sum, [np.ones(10)] * 4) == [10] * 4
    assert np.array_equal(convolve(), before)
assert np.array_equal(convolve(), before)
"""

_ENDS_DURING_CALLS = """
import jax, jax.numpy as jnp, sidae_jax_native
x = jnp.ones((64, 8, 8, 64))
step = lambda _, x: 1e-5 * sidae_jax_native.conv2d(x, sidae_jax_native.kernel_gradient(x, x, 1, 3), 1)
long = jax.jit(lambda x, steps: jax.lax.fori_loop(0, steps, step, x))
long(x, 1).block_until_ready()
result = long(x, 100)
assert not result.is_ready()
"""


def test_forked_processes_end_and_the_parent_goes_on():
    assert _run(_FORK) == []


def test_a_process_ends_during_calls():
    assert _run(_ENDS_DURING_CALLS) == []
