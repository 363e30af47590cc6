"""How many threads oneDNN uses: by cgroups' quotas of processor time, the affinity mask, and OMP_NUM_THREADS."""

import contextlib
import os
import pathlib
import shlex
import subprocess
import sys
import uuid

import pytest

pytest.importorskip("sidae_jax_native", reason="sidae_jax_native is not installed: pip install ./native")
from sidae_jax_native import processors

# name: (proc/self/cgroup, files below sys/fs/cgroup, quotas from the innermost group outwards)
LAYOUTS = {
    "v2, a quota": ("0::/a.slice\n", {"a.slice/cpu.max": "150000 100000\n"}, [1.5]),
    "v2, none": ("0::/a.slice\n", {"a.slice/cpu.max": "max 100000\n"}, []),
    "v2, of the groups around": (
        "0::/kubepods/my pod:1/main\n",
        {
            "kubepods/cpu.max": "800000 100000\n",
            "kubepods/my pod:1/cpu.max": "200000 50000\n",
            "kubepods/my pod:1/main/cpu.max": "max 100000\n",
            "kubepods/another/cpu.max": "1000 100000\n",
        },
        [4, 8],
    ),
    "v2, a container's group is the root of the mount": ("0::/docker/1f2e\n", {"cpu.max": "50000 100000\n"}, [0.5]),
    "v2, a container's own namespace": ("0::/\n", {"cpu.max": "300000 100000\n"}, [3]),
    "v2, a path out of the namespace": ("0::/../sibling\n", {"cpu.max": "300000 100000\n"}, [3]),
    "v1, a quota": (
        "12:cpuset:/b\n4:cpu,cpuacct:/a/b\n1:name=systemd:/c\n",
        {
            "cpu/a/b/cpu.cfs_quota_us": "-1\n",
            "cpu/a/b/cpu.cfs_period_us": "100000\n",
            "cpu/a/cpu.cfs_quota_us": "250000\n",
            "cpu/a/cpu.cfs_period_us": "100000\n",
            "cpu/c/cpu.cfs_quota_us": "1000\n",
            "cpu/c/cpu.cfs_period_us": "100000\n",
        },
        [2.5],
    ),
    "v1, a container's group is the root of the mount": (
        "4:cpuacct,cpu:/docker/1f2e\n",
        {"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "50000\n"},
        [2],
    ),
    "both": (
        "4:cpu:/a\n0::/a\n",
        {"cpu/a/cpu.cfs_quota_us": "20000\n", "cpu/a/cpu.cfs_period_us": "10000\n", "unified/a/cgroup.procs": ""},
        [2],
    ),
    "no cgroups": (None, {}, []),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_quotas_of_both_versions(name, tmp_path):
    groups, files, wanted = LAYOUTS[name]
    files = {f"sys/fs/cgroup/{path}": text for path, text in files.items()}
    for path, text in ({"proc/self/cgroup": groups} | files if groups else {}).items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert list(processors.quotas(str(tmp_path))) == wanted


_THREADS = """
import ctypes, os
import sidae_jax_native
sidae_jax_native.register()
print(ctypes.CDLL("libgomp.so.1").omp_get_max_threads(), os.environ.get("OMP_NUM_THREADS"))
"""


def _threads(before="", **variables):
    """Returns OpenMP's number of threads in a process, and OMP_NUM_THREADS there afterwards.

    A shell does `before`, then becomes this process.
    """
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"} | variables
    command = f"{before} exec {shlex.join([sys.executable, '-c', _THREADS])}"
    done = subprocess.run(["sh", "-ec", command], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@contextlib.contextmanager
def _group(quota):
    """Makes a group with a quota, in processors, and one without a quota within; yields the latter's folder."""
    outer = pathlib.Path("/sys/fs/cgroup/cpu", f"sidae_jax_test_{uuid.uuid4().hex}")
    try:
        outer.mkdir()
    except OSError as error:
        pytest.skip(f"no group can be made in cgroups of version 1: {error}")
    try:
        (outer / "inner").mkdir()
        (outer / "cpu.cfs_quota_us").write_text(str(round(quota * int((outer / "cpu.cfs_period_us").read_text()))))
        yield outer / "inner"
    finally:
        (outer / "inner").rmdir()
        outer.rmdir()


def test_as_many_threads_as_the_affinity_mask_has_processors():
    allowed = os.sched_getaffinity(0)
    assert _threads() == [str(processors.usable()), "None"]
    assert processors.usable() <= len(allowed)
    assert _threads(f"taskset -cp {min(allowed)} $$ >/dev/null;") == ["1", "None"]


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one processor: a quota cannot mean fewer")
def test_no_more_threads_than_the_quota_allows():
    for quota, threads in (0.5, 1), (1, 1), (1.5, 2), (1000, 1000):
        with _group(quota) as group:
            wanted = min(threads, processors.usable())
            assert _threads(f"echo $$ > {group}/cgroup.procs;") == [str(wanted), "None"]


def test_the_user_s_number_of_threads_wins():
    allowed = os.sched_getaffinity(0)
    assert _threads(f"taskset -cp {min(allowed)} $$ >/dev/null;", OMP_NUM_THREADS="2") == ["2", "2"]
    with _group(1) as group:
        assert _threads(f"echo $$ > {group}/cgroup.procs;", OMP_NUM_THREADS="3") == ["3", "3"]
