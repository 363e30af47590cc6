"""Independent PyTorch reference of the networks, losses and optimizer steps (the oracle of the parity tests).

Written from the paper (section 3.2), torchvision's resnet.py and facebookresearch/simsiam's builder.py, with
their state dict names; it shares nothing with the package. Images are [n, 3, 32, 32] (normalized), pooled
features [n, 8 * width], latents [n, d].
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

EPS = 1e-8


class BasicBlock(nn.Module):
    """torchvision's BasicBlock: [n, inplanes, h, w] -> [n, planes, h / stride, w / stride]."""

    def __init__(self, inplanes: int, planes: int, stride: int = 1):
        super().__init__()
        self.conv1 = nn.Conv2d(inplanes, planes, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(planes, planes, kernel_size=3, stride=1, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = None
        if stride != 1 or inplanes != planes:
            self.downsample = nn.Sequential(
                nn.Conv2d(inplanes, planes, kernel_size=1, stride=stride, bias=False),
                nn.BatchNorm2d(planes),
            )

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return self.relu(out + identity)


class ResNet18(nn.Module):
    """torchvision's ResNet-18 without `fc`, zero_init_residual=True: [n, 3, h, w] -> pooled [n, 8 * width].

    stem="imagenet": 7x7/2 convolution, BN, ReLU, 3x3/2 max pool (32x32 ends at 1x1).
    stem="cifar": 3x3/1 convolution, BN, ReLU, no pool (32x32 ends at 4x4).
    """

    def __init__(self, width: int = 64, stem: str = "imagenet"):
        super().__init__()
        if stem == "imagenet":
            self.conv1 = nn.Conv2d(3, width, kernel_size=7, stride=2, padding=3, bias=False)
            self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        elif stem == "cifar":
            self.conv1 = nn.Conv2d(3, width, kernel_size=3, stride=1, padding=1, bias=False)
            self.maxpool = nn.Identity()
        else:
            raise ValueError(f"stem is 'imagenet' or 'cifar', not {stem!r}")
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.layer1 = nn.Sequential(BasicBlock(width, width), BasicBlock(width, width))
        self.layer2 = nn.Sequential(BasicBlock(width, 2 * width, 2), BasicBlock(2 * width, 2 * width))
        self.layer3 = nn.Sequential(BasicBlock(2 * width, 4 * width, 2), BasicBlock(4 * width, 4 * width))
        self.layer4 = nn.Sequential(BasicBlock(4 * width, 8 * width, 2), BasicBlock(8 * width, 8 * width))
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.constant_(module.weight, 1)
                nn.init.constant_(module.bias, 0)
        for module in self.modules():
            if isinstance(module, BasicBlock):
                nn.init.constant_(module.bn2.weight, 0)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return torch.flatten(self.avgpool(x), 1)


def projector(in_dim: int, d: int) -> nn.Sequential:
    """SimSiam's 3-layer projection MLP: [n, in_dim] -> [n, d], hidden width in_dim."""
    return nn.Sequential(
        nn.Linear(in_dim, in_dim, bias=False),
        nn.BatchNorm1d(in_dim),
        nn.ReLU(),
        nn.Linear(in_dim, in_dim, bias=False),
        nn.BatchNorm1d(in_dim),
        nn.ReLU(),
        # SimSiam's code leaves here the fc layer's bias, at its initial value (requires_grad = False) as BN
        # follows. BN subtracts it again: without it the outputs in training mode are the same.
        nn.Linear(in_dim, d, bias=False),
        nn.BatchNorm1d(d, affine=False),
    )


def predictor(d: int) -> nn.Sequential:
    """SimSiam's 2-layer prediction MLP with bottleneck d / 4: [n, d] -> [n, d]."""
    return nn.Sequential(
        nn.Linear(d, d // 4, bias=False),
        nn.BatchNorm1d(d // 4),
        nn.ReLU(),
        nn.Linear(d // 4, d),
    )


class Decoder(nn.Module):
    """Linear and five transposed convolutions 3x3, stride 2 (paper 3.2): [n, d] -> [n, 3, 32, 32]."""

    def __init__(self, d: int, width: int = 64):
        super().__init__()
        self.fc = nn.Linear(d, 8 * width)
        channels = [8 * width, 4 * width, 2 * width, width, width]
        layers = []
        for before, after in pairwise(channels):
            layers += [
                nn.ConvTranspose2d(before, after, 3, stride=2, padding=1, output_padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            ]
        layers.append(nn.ConvTranspose2d(width, 3, 3, stride=2, padding=1, output_padding=1))
        self.deconv = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        return self.deconv(self.fc(z)[:, :, None, None])


class Encoder(nn.Module):
    """Backbone and projector: [n, 3, h, w] -> z [n, d]."""

    def __init__(self, width: int = 64, d: int = 2048, stem: str = "imagenet"):
        super().__init__()
        self.backbone = ResNet18(width, stem)
        self.projector = projector(8 * width, d)

    def forward(self, x: Tensor) -> Tensor:
        return self.projector(self.backbone(x))


def mse(a: Tensor, b: Tensor) -> Tensor:
    """Paper's D_mse, mean over the elements of an example, then over the batch."""
    return ((a - b) ** 2).flatten(1).mean(1).mean()


def ncs(a: Tensor, b: Tensor) -> Tensor:
    """Paper's D_ncs, -a.b / max(|a| |b|, 1e-8), of [n, d] and [n, d], mean over the batch."""
    dot = (a * b).sum(1)
    norms = a.norm(dim=1) * b.norm(dim=1)
    return -(dot / torch.clamp(norms, min=EPS)).mean()


def simsiam_loss(p1: Tensor, p2: Tensor, z1: Tensor, z2: Tensor) -> Tensor:
    """Paper's L_si; the z side is detached here."""
    return ncs(p1, z2.detach()) / 2 + ncs(p2, z1.detach()) / 2


def dae_loss(x: Tensor, recon1: Tensor, recon2: Tensor) -> Tensor:
    """Paper's L_dae, of the original image and two reconstructions [n, 3, h, w]."""
    return mse(x, recon1) / 2 + mse(x, recon2) / 2


class SimSiam(nn.Module):
    """L_si alone."""

    def __init__(self, width: int = 64, d: int = 2048, stem: str = "imagenet"):
        super().__init__()
        self.encoder = Encoder(width, d, stem)
        self.predictor = predictor(d)

    def loss(self, x: Tensor, x1: Tensor, x2: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        z1, z2 = self.encoder(x1), self.encoder(x2)
        p1, p2 = self.predictor(z1), self.predictor(z2)
        loss_si = simsiam_loss(p1, p2, z1, z2)
        return loss_si, {"loss_si": loss_si}


class DAE(nn.Module):
    """L_dae alone, two views."""

    def __init__(self, width: int = 64, d: int = 2048, stem: str = "imagenet"):
        super().__init__()
        self.encoder = Encoder(width, d, stem)
        self.decoder = Decoder(d, width)

    def loss(self, x: Tensor, x1: Tensor, x2: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        loss_dae = dae_loss(x, self.decoder(self.encoder(x1)), self.decoder(self.encoder(x2)))
        return loss_dae, {"loss_dae": loss_dae}


class SidAE(nn.Module):
    """w L_dae + (1 - w) L_si (paper 3.2); two separate forward passes, so two updates of the statistics."""

    def __init__(self, width: int = 64, d: int = 2048, w: float = 0.5, stem: str = "imagenet"):
        super().__init__()
        self.w = w
        self.encoder = Encoder(width, d, stem)
        self.predictor = predictor(d)
        self.decoder = Decoder(d, width)

    def loss(self, x: Tensor, x1: Tensor, x2: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        z1, z2 = self.encoder(x1), self.encoder(x2)
        p1, p2 = self.predictor(z1), self.predictor(z2)
        loss_dae = dae_loss(x, self.decoder(z1), self.decoder(z2))
        loss_si = simsiam_loss(p1, p2, z1, z2)
        loss = self.w * loss_dae + (1 - self.w) * loss_si
        return loss, {"loss_dae": loss_dae, "loss_si": loss_si}


def cosine(lr: float, step: int, total: int) -> float:
    """Learning rate of step 0 .. total - 1: cosine(lr, 0, total) = lr, half way lr / 2."""
    return lr / 2 * (1 + math.cos(math.pi * step / total))


def sgd_steps(model: nn.Module, batches: list[tuple[Tensor, ...]], lrs: list[float]) -> list[float]:
    """One SGD step per (x, x1, x2) and learning rate; returns the losses, each before its step.

    Momentum 0.9, weight decay 5e-4 on every parameter (BN and biases too), as torch.optim.SGD defines it.
    """
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0, momentum=0.9, weight_decay=5e-4)
    losses = []
    for (x, x1, x2), lr in zip(batches, lrs, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = lr
        loss, _ = model.loss(x, x1, x2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
