"""One start of one logger in a process: NAME FOLDER CHECKPOINT LOSS STEPS, and `kill` to end it by SIGKILL."""

import os
import pathlib
import signal
import sys
import time

import numpy as np

from sidae_jax.loggers.loggers import open_one
from sidae_jax.loggers.protocol import LoggedRun

CONFIG = {"w": 0.5, "data_dir": None, "views": {"hue": 0.1}}
PICTURE = np.stack([np.full((4, 6, 3), value, np.uint8) for value in (0, 100, 200)])


def start(name, folder, checkpoint, loss, steps, *kill):
    logger = open_one(name, LoggedRun(folder, folder, "name", "group", CONFIG, int(checkpoint)))
    for step in map(int, steps.split(",")):
        logger.log({"loss": float(loss), "knn": float("nan") if step == 20 else 0.5}, step)
    logger.pictures("views", PICTURE, step)
    if kill:
        time.sleep(1)  # Trackio writes twice a second
        os.kill(os.getpid(), signal.SIGKILL)
    logger.close(finished=True)


if __name__ == "__main__":
    start(sys.argv[1], pathlib.Path(sys.argv[2]), *sys.argv[3:])
