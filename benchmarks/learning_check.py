"""Does the same network learn the same in PyTorch? The paper's methods on Fashion-MNIST, by PyTorch and torchvision.

python benchmarks/learning_check.py --data_dir=DIR --output=FILE.jsonl [--seeds=3]

The settings are those of configs/experiments/learning_check.py with --scale=thin; nothing of sidae_jax is used but the
rows that keep their labels. Needs torch, torchvision and the package. Views are torchvision's transforms of PIL images,
in the order of SimSiam's script, batches come from a DataLoader; networks are those of the tests' PyTorch reference,
without its zero weights of the last BatchNorm in a block. A line for each run is appended to FILE, and runs that are
there with the same settings are not run again.
"""

import argparse
import copy
import json
import pathlib
import sys
import time
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds
import torch
import torchvision
from PIL import Image, ImageFilter
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "reference"))

import pytorch_reference

from sidae_jax.evaluation.run import labeled_rows

METHODS = {"sidae": pytorch_reference.SidAE, "simsiam": pytorch_reference.SimSiam, "dae": pytorch_reference.DAE}
WIDTH, D, IMAGES, EPOCHS, BATCH_SIZE, LR = 16, 512, 10_240, 30, 256, 0.03


class Blur:
    """SimSiam's: PIL's Gaussian blur with a random sigma."""

    def __call__(self, image: Image.Image) -> Image.Image:
        return image.filter(ImageFilter.GaussianBlur(radius=float(torch.empty(1).uniform_(0.1, 2.0))))


class Views(Dataset):
    """(image, view 1, view 2), normalized [3, 32, 32]."""

    def __init__(self, images: list[Image.Image], normalize: transforms.Normalize):
        self.images = images
        self.plain = transforms.Compose([transforms.ToTensor(), normalize])
        self.view = transforms.Compose(
            [
                transforms.RandomResizedCrop(32, scale=(0.2, 1.0)),
                transforms.RandomApply([transforms.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
                transforms.RandomGrayscale(p=0.2),
                transforms.RandomApply([Blur()], p=0.5),
                transforms.RandomHorizontalFlip(),
                self.plain,
            ]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        image = self.images[i]
        return self.plain(image), self.view(image), self.view(image)


def read(data_dir: str, split: str) -> tuple[list[Image.Image], torch.Tensor]:
    """Images of 32x32 with three channels, and labels."""
    resize = transforms.Resize((32, 32))
    records = tfds.data_source("fashion_mnist", split=split, data_dir=data_dir)
    images = [resize(Image.fromarray(record["image"][..., 0]).convert("RGB")) for record in records]
    return images, torch.tensor([int(record["label"]) for record in records])


def pretrain(model: torch.nn.Module, views: Views, seed: int) -> float:
    """Trains the model; returns the last loss."""
    generator = torch.Generator().manual_seed(seed)
    loader = DataLoader(
        views, BATCH_SIZE, shuffle=True, drop_last=True, num_workers=2, persistent_workers=True, generator=generator
    )
    total, step = EPOCHS * len(loader), 0
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total)
    model.train()
    for epoch in range(EPOCHS):
        print(f"epoch {epoch}", end="\r", flush=True)
        for x, x1, x2 in loader:
            loss, _ = model.loss(x, x1, x2)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            step += 1
    assert step == total
    return loss.item()


def in_parts(images: list[Image.Image], plain) -> Iterator[torch.Tensor]:
    for at in range(0, len(images), 500):
        yield torch.stack([plain(image) for image in images[at : at + 500]])


def with_statistics(backbone: torch.nn.Module, images: list[Image.Image], plain) -> torch.nn.Module:
    """A copy whose BatchNorm statistics are those of one pass over the images, as an untrained backbone is measured."""
    backbone = copy.deepcopy(backbone).train()
    for module in backbone.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the mean over all batches
    with torch.no_grad():
        for part in in_parts(images, plain):
            backbone(part)
    return backbone


def features(backbone: torch.nn.Module, images: list[Image.Image], plain) -> torch.Tensor:
    backbone.eval()
    with torch.no_grad():
        return torch.cat([backbone(part) for part in in_parts(images, plain)])


def probe(train: torch.Tensor, labels: torch.Tensor, test: torch.Tensor, test_labels: torch.Tensor) -> float:
    """Accuracy of a linear layer after 50 epochs of SGD (paper, 4.1)."""
    layer = torch.nn.Linear(train.shape[1], 10)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.05, momentum=0.9)
    for _ in range(50):
        for rows in torch.randperm(len(train)).split(256):
            loss = F.cross_entropy(layer(train[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return (layer(test).argmax(1) == test_labels).double().mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", required=True, help="the folder that holds fashion_mnist as TFDS prepares it")
    parser.add_argument("--output", required=True, type=pathlib.Path)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    train, labels = read(arguments.data_dir, "train")
    test, test_labels = read(arguments.data_dir, "test")
    pretraining = train[:IMAGES]
    pixels = np.stack([np.asarray(image) for image in pretraining]).astype(np.float64) / 255
    normalize = transforms.Normalize(pixels.mean((0, 1, 2)).tolist(), pixels.std((0, 1, 2)).tolist())
    views = Views(pretraining, normalize)
    lines = arguments.output.read_text().splitlines() if arguments.output.exists() else []
    settings = {"width": WIDTH, "d": D, "images": IMAGES, "epochs": EPOCHS, "batch_size": BATCH_SIZE, "lr": LR}
    settings |= {"torch": torch.__version__, "torchvision": torchvision.__version__}
    done = {(line["method"], line["seed"]) for line in map(json.loads, lines) if settings.items() <= line.items()}
    for seed in range(arguments.seeds):
        for method, make in METHODS.items():
            if (method, seed) in done:
                continue
            start = time.time()
            torch.manual_seed(seed)
            model = make(WIDTH, D)
            for module in model.modules():
                if isinstance(module, pytorch_reference.BasicBlock):
                    torch.nn.init.ones_(module.bn2.weight)
            results = {"method": method, "seed": seed, **settings}
            measured = with_statistics(model.encoder.backbone, train, views.plain)
            untrained = [features(measured, part, views.plain) for part in (train, test)]
            results["loss"] = pretrain(model, views, seed)
            trained = [features(model.encoder.backbone, part, views.plain) for part in (train, test)]
            for fraction in (0.01, 1.0):
                rows = torch.from_numpy(labeled_rows(len(train), fraction))
                for name, (of_train, of_test) in (("untrained", untrained), ("trained", trained)):
                    results[f"{name}, {fraction:g}"] = probe(of_train[rows], labels[rows], of_test, test_labels)
            results["seconds"] = round(time.time() - start)
            with arguments.output.open("a") as file:
                file.write(json.dumps(results) + "\n")
            print(results, flush=True)


if __name__ == "__main__":
    main()
