"""Pre-trains where a save takes seconds, and one second counts as long: the fsync of metrics.jsonl sleeps.

python -m tests.reliability.slow_disk is sidae_jax.main but for that: no file system here is slow on demand.
"""

import os
import time

from sidae_jax import cli, main
from sidae_jax.training import console

_fsync = os.fsync


def _slow(number: int) -> None:
    if os.readlink(f"/proc/self/fd/{number}").endswith("metrics.jsonl"):
        time.sleep(1.5)
    _fsync(number)


if __name__ == "__main__":
    os.fsync, console.LONG = _slow, 1.0
    cli.run(main.main)
