"""SidAE's training step, its data and its probe in PyTorch: what `throughput.py` compares with.

The networks are those of the tests' PyTorch reference; the rest is written as a PyTorch user who wants speed would.
"""

import contextlib
import itertools
import math
import random
from collections.abc import Iterator

import numpy as np
import pytorch_reference  # tests/reference, which `workers.py` puts on the path
import torch
from PIL import Image, ImageEnhance
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def use_precision(setting: str) -> None:
    """Set the switches of this process that its convolutions and products, compiled ones too, read.

    TF32 is off unless the setting says so: cuDNN's own default is on.
    """
    allowed = "tensorfloat32" in setting.split()
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    torch.backends.cudnn.allow_tf32 = allowed
    torch.backends.cudnn.benchmark = True


def autocast(setting: str) -> contextlib.AbstractContextManager:
    return torch.autocast(DEVICE.type, torch.bfloat16) if "bfloat16" in setting.split() else contextlib.nullcontext()


def memory_format(setting: str) -> torch.memory_format:
    return torch.channels_last if "channels_last" in setting.split() else torch.contiguous_format


def compile_mode(setting: str) -> str | None:
    """torch.compile's mode; "compiled" is its default one, and the others record CUDA graphs."""
    modes = {"compiled": "default", "reduce-overhead": "reduce-overhead", "max-autotune": "max-autotune"}
    return next((modes[word] for word in setting.split() if word in modes), None)


def synchronize() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


class Training:
    """SidAE (ResNet-18, d = 2048, w = 0.5) with SGD; `step` takes float32 [n, 3, 32, 32] images and two views.

    `plans.py` says what a setting is. Call `use_precision` before steps.
    """

    def __init__(self, setting: str, lr: float = 0.03):
        self.setting, self.memory_format = setting, memory_format(setting)
        torch.manual_seed(0)
        self.model = pytorch_reference.SidAE().to(DEVICE, memory_format=self.memory_format)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=lr, momentum=0.9, weight_decay=5e-4, fused=True)
        mode = compile_mode(setting)
        self.loss = torch.compile(self._loss, mode=mode) if mode else self._loss
        self.in_graphs = mode not in (None, "default")

    def state(self) -> dict[str, np.ndarray]:
        """Parameters and statistics under PyTorch's names."""
        return {name: value.cpu().numpy().copy() for name, value in self.model.state_dict().items()}

    def load(self, state: dict[str, np.ndarray]) -> None:
        self.model.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in state.items()})

    def _loss(self, x: Tensor, x1: Tensor, x2: Tensor) -> Tensor:
        model = self.model
        z1, z2 = model.encoder(x1), model.encoder(x2)
        p1, p2 = model.predictor(z1), model.predictor(z2)
        loss_dae = (F.mse_loss(model.decoder(z1), x) + F.mse_loss(model.decoder(z2), x)) / 2
        loss_si = -(F.cosine_similarity(p1, z2.detach()).mean() + F.cosine_similarity(p2, z1.detach()).mean()) / 2
        return 0.5 * loss_dae + 0.5 * loss_si

    def step(self, x: Tensor, x1: Tensor, x2: Tensor) -> Tensor:
        """Returns the loss, for which nothing has waited yet."""
        images = (image.to(DEVICE, non_blocking=True).to(memory_format=self.memory_format) for image in (x, x1, x2))
        if self.in_graphs:
            torch.compiler.cudagraph_mark_step_begin()  # the loss of the step before may be overwritten
        with autocast(self.setting):
            loss = self.loss(*images)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return loss.detach()


class Views(Dataset):
    """(image, view 1, view 2) as float32 tensors: torchvision's transforms as its PIL backend computes them.

    Not torchvision itself, whose wheels go with one build of PyTorch alone.
    """

    def __init__(self, images: np.ndarray, mean: tuple[float, ...], std: tuple[float, ...]):
        self.images = images
        self.mean, self.std = (torch.tensor(value).view(3, 1, 1) for value in (mean, std))

    def tensor(self, image: Image.Image) -> Tensor:
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
        return pixels.to(torch.float32).div_(255).sub_(self.mean).div_(self.std)

    def augment(self, image: Image.Image) -> Image.Image:
        """RandomResizedCrop, ColorJitter (p = 0.8), RandomGrayscale (p = 0.2), RandomHorizontalFlip."""
        for _ in range(10):
            area, ratio = 1024 * random.uniform(0.2, 1), math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
            width, height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if width <= 32 and height <= 32:
                left, top = random.randint(0, 32 - width), random.randint(0, 32 - height)
                image = image.crop((left, top, left + width, top + height)).resize((32, 32), Image.Resampling.BILINEAR)
                break
        if random.random() < 0.8:
            jitters = [*((blend, random.uniform(0.6, 1.4)) for blend in _BLENDS), (None, random.uniform(-0.1, 0.1))]
            random.shuffle(jitters)
            for blend, amount in jitters:
                image = blend(image).enhance(amount) if blend else _turn_hue(image, amount)
        if random.random() < 0.2:
            image = Image.merge("RGB", [image.convert("L")] * 3)
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if random.random() < 0.5 else image

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor, Tensor]:
        image = Image.fromarray(self.images[i])
        return self.tensor(image), self.tensor(self.augment(image)), self.tensor(self.augment(image))


_BLENDS = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)


def _turn_hue(image: Image.Image, turns: float) -> Image.Image:
    hue, saturation, value = image.convert("HSV").split()
    turned = Image.fromarray(np.array(hue) + np.uint8(int(turns * 255) % 256))
    return Image.merge("HSV", (turned, saturation, value)).convert("RGB")


def batches(views: Views, batch_size: int, workers: int) -> Iterator[list[Tensor]]:
    """Shuffled batches, epoch after epoch."""
    loader = DataLoader(
        views,
        batch_size,
        shuffle=True,
        num_workers=workers,
        drop_last=True,
        persistent_workers=workers > 0,
        pin_memory=DEVICE.type == "cuda",
    )
    return itertools.chain.from_iterable(iter(loader) for _ in itertools.count())


class Evaluation:
    """A linear layer on the frozen backbone, which encodes the images anew in every epoch, as SimSiam's script does."""

    def __init__(
        self, images: np.ndarray, labels: np.ndarray, mean: tuple[float, ...], std: tuple[float, ...], setting: str
    ):
        self.setting, self.memory_format = setting, memory_format(setting)
        self.backbone = pytorch_reference.ResNet18().to(DEVICE, memory_format=self.memory_format).eval()
        self.layer = torch.nn.Linear(512, 10, device=DEVICE)
        self.optimizer = torch.optim.SGD(self.layer.parameters(), lr=0.05, momentum=0.9)
        self.images = torch.from_numpy(images).to(DEVICE).permute(0, 3, 1, 2)
        self.labels = torch.from_numpy(labels).long().to(DEVICE)
        self.mean, self.std = (torch.tensor(value, device=DEVICE).view(3, 1, 1) for value in (mean, std))

    def epoch(self) -> Tensor:
        """One epoch over all images; returns the last loss."""
        for rows in torch.randperm(len(self.images), device=DEVICE).split(256):
            x = ((self.images[rows].float() / 255 - self.mean) / self.std).to(memory_format=self.memory_format)
            with torch.no_grad(), autocast(self.setting):
                features = self.backbone(x)
            loss = F.cross_entropy(self.layer(features.float()), self.labels[rows])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        return loss.detach()
