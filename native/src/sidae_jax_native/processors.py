"""How many processors this process may keep busy: by its affinity mask, and by the quotas of its cgroups."""

import math
import os
import pathlib
from collections.abc import Iterator


def usable() -> int:
    """Returns the number of processors in the calling thread's affinity mask, or the CPU quota rounded up if smaller.

    `docker --cpus`, limits of Kubernetes and systemd's CPUQuota are quotas: the process sees all processors of the
    machine, but once its threads have used up the quota together, all of them stand still until the next period, 100 ms
    by default.
    """
    return math.ceil(min([len(os.sched_getaffinity(0)), *quotas()]))


def quotas(root: str = "/") -> Iterator[float]:
    """Yields the CPU quota, in processors, of each cgroup around this process that has one.

    Sources: cgroups(7), and in the kernel's documentation "Control Group v2" (cpu.max) and "CFS Bandwidth Control"
    (version 1).

    Args:
        root: The folder that has proc/self/cgroup and sys/fs/cgroup.
    """
    mount = pathlib.Path(root, "sys/fs/cgroup")
    for line in _text(pathlib.Path(root, "proc/self/cgroup")).splitlines():
        _, controllers, group = line.split(":", 2)
        if not controllers:
            yield from _of_group_and_parents(mount, group, _quota_v2)
        elif "cpu" in controllers.split(","):
            yield from _of_group_and_parents(mount / "cpu", group, _quota_v1)


def _of_group_and_parents(mount, group, quota_of):
    """Yields the quotas of the folders from the group's up to the mount.

    In a container the group's path may be the one outside of it, and its folder the mount itself: then the folders
    between are missing.
    """
    path = mount / group.lstrip("/")
    for folder in (path, *path.parents[: len(path.parts) - len(mount.parts)]):
        if quota := quota_of(folder):
            yield quota


def _quota_v2(folder):
    words = _text(folder / "cpu.max").split()  # "150000 100000": so many us in each period of so many us; or "max ..."
    return int(words[0]) / int(words[1]) if words and words[0] != "max" else None


def _quota_v1(folder):
    quota, period = _text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us")
    return int(quota) / int(period) if quota and int(quota) > 0 else None  # -1: none


def _text(path):
    """Returns what a file holds; nothing if it cannot be read, as on systems without cgroups."""
    try:
        return path.read_text()
    except OSError:
        return ""
