"""PyTorch's side of the comparison: answers the requests of `throughput.py`."""

import gc

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

    def drop(self) -> dict:
        """Forget all settings, their compiled programs and what they held of the GPU's memory."""
        self.trainings.clear()
        if pytorch_sidae.DEVICE.type == "cuda":
            torch.compiler.reset()  # with the memory of its CUDA graphs
            gc.collect()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        return {}

    def ready(self, batch: str) -> dict:
        """Put the images of a file on the device."""
        images = np.load(batch, allow_pickle=False)
        self.batch = [torch.from_numpy(image).to(pytorch_sidae.DEVICE) for image in images]
        return {}

    def step(self, setting: str, times: int = 1) -> dict:
        """Seconds a step on the ready tensors, and the loss of the last one."""
        mean, loss = self._timed(self.trainings[setting], times, lambda: self.batch)
        return {"seconds": mean, "loss": loss}

    def _timed(self, training, times, next_batch):
        pytorch_sidae.use_precision(training.setting)

        def one_step():
            self.loss = training.step(*next_batch())

        mean = seconds(one_step, times, pytorch_sidae.synchronize)
        return mean, self.loss.item()

    def load(self, images: str, batch_size: int, workers: int) -> dict:
        pixels = np.load(images, allow_pickle=False)
        self.batches = pytorch_sidae.batches(pytorch_sidae.Views(pixels, MEAN, STD), batch_size, workers)
        return {}

    def pipeline(self, setting: str, times: int = 1) -> dict:
        """Seconds a step with the batches of the data workers."""
        mean, _ = self._timed(self.trainings[setting], times, lambda: next(self.batches))
        return {"seconds": mean}

    def evaluate(self, images: str, labels: str, setting: str) -> dict:
        """Seconds an epoch of the probe that encodes the images anew."""
        pixels, classes = (np.load(path, allow_pickle=False) for path in (images, labels))
        pytorch_sidae.use_precision(setting)
        evaluation = pytorch_sidae.Evaluation(pixels, classes, MEAN, STD, setting)
        pytorch_sidae.synchronize()
        return {"seconds": seconds(evaluation.epoch, 1, pytorch_sidae.synchronize)}

    def memory(self) -> dict:
        """Peak of the GPU's memory, or else of the process."""
        if pytorch_sidae.DEVICE.type == "cuda":
            return {"peak_mb": torch.cuda.max_memory_allocated() / 2**20}
        return {"peak_mb": peak_memory_mb()}

    def devices(self) -> dict:
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return {"gpus": names, "version": torch.__version__}


if __name__ == "__main__":
    side = Side()
    names = ("weights", "prepare", "drop", "ready", "step", "load", "pipeline", "evaluate", "memory", "devices")
    serve({name: getattr(side, name) for name in names})
