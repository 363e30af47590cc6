"""PyTorch's side of the comparison: answers the requests of `throughput.py`."""

import numpy as np
import pytorch_sidae
import torch
from workers import peak_memory_mb, seconds, serve

MEAN, STD = (0.5,) * 3, (0.25,) * 3


class Side:
    """What the requests work on: the training in several settings, and the data."""

    def __init__(self):
        self.trainings = {}

    def weights(self, path: str) -> dict:
        """Write the initial weights of the float32 setting to a file."""
        np.savez(path, **pytorch_sidae.Training("float32").state())
        return {}

    def prepare(self, setting: str, weights: str) -> dict:
        training = pytorch_sidae.Training(setting)
        training.load(dict(np.load(weights, allow_pickle=False)))
        self.trainings[setting] = training
        return {}

    def drop(self, settings: list[str]) -> dict:
        for setting in settings:
            del self.trainings[setting]
        return {}

    def ready(self, batch: str) -> dict:
        self.batch = [torch.from_numpy(image) for image in np.load(batch, allow_pickle=False)]
        return {}

    def step(self, setting: str, times: int = 1) -> dict:
        """Seconds a step on the ready tensors, and the loss of the last one."""
        training, losses = self.trainings[setting], []
        mean = seconds(lambda: losses.append(training.step(*self.batch)), times)
        return {"seconds": mean, "loss": losses[-1]}

    def load(self, images: str, batch_size: int, workers: int) -> dict:
        pixels = np.load(images, allow_pickle=False)
        self.batches = pytorch_sidae.batches(pytorch_sidae.Views(pixels, MEAN, STD), batch_size, workers)
        return {}

    def pipeline(self, setting: str, times: int = 1) -> dict:
        """Seconds a step with the batches of the data workers."""
        training = self.trainings[setting]
        return {"seconds": seconds(lambda: training.step(*next(self.batches)), times)}

    def evaluate(self, images: str, labels: str) -> dict:
        """Seconds an epoch of the probe that encodes the images anew."""
        pixels, classes = (np.load(path, allow_pickle=False) for path in (images, labels))
        return {"seconds": seconds(pytorch_sidae.Evaluation(pixels, classes, MEAN, STD).epoch, 1)}

    def memory(self) -> dict:
        return {"peak_mb": peak_memory_mb()}


if __name__ == "__main__":
    side = Side()
    names = ("weights", "prepare", "drop", "ready", "step", "load", "pipeline", "evaluate", "memory")
    serve({name: getattr(side, name) for name in names})
