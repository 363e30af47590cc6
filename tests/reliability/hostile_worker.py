"""The server of `worker`, in a sandbox and with bounded memory.

python -m reliability.hostile_worker WORLD: it may write in the folder that WORLD lies in, and in JAX's cache, alone.
"""

import json
import os
import pathlib
import re
import resource
import sys

from reliability import worker
from reliability.sandbox import Sandbox
from sidae_jax.data import folder_source, tfds_source  # noqa: F401 (urllib3 binds a socket when it is imported)

_MORE = 8 << 30  # bytes of addresses that a case may take beyond those of this process


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    world = pathlib.Path(sys.argv[1])
    worker.prepare(world)
    sandbox = Sandbox([world.parent, os.environ["JAX_COMPILATION_CACHE_DIR"]])
    started = False
    for line in sys.stdin:
        name = json.loads(line)
        if name == "make":
            worker.make(world)
            answer = {}
        else:
            if not started:
                sandbox.start()  # not before: to make pictures, scikit-learn runs lscpu
                started = True
            sandbox.seen.clear()
            _memory("5")
            before = _memory()
            resource.setrlimit(resource.RLIMIT_AS, (_status("VmSize") + _MORE, resource.RLIM_INFINITY))
            answer = worker.run(world, name)
            answer |= {"forbidden": sandbox.seen, "grown": _memory() - before}
        print(json.dumps(answer), file=answers, flush=True)


def _memory(reset: str = "") -> int:
    """Returns the most memory that this process has had, in bytes, after forgetting what was before if asked to."""
    if reset:
        pathlib.Path("/proc/self/clear_refs").write_text(reset)
    return _status("VmHWM")


def _status(key: str) -> int:
    found = re.search(rf"{key}:\s+(\d+) kB", pathlib.Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 if found else 0


if __name__ == "__main__":
    main()
