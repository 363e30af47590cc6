"""Independent PyTorch reference of torchvision's ResNets (torchvision/models/resnet.py), without `fc`.

Written from torchvision's file, with its state dict names; it shares nothing with the package. `norm` is torchvision's
norm_layer: a function of the number of channels.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

Norm = Callable[[int], nn.Module]


def downsample(inplanes: int, planes: int, stride: int, norm: Norm) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inplanes, planes, kernel_size=1, stride=stride, bias=False), norm(planes))


class BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, inplanes: int, planes: int, stride: int, norm: Norm):
        super().__init__()
        self.conv1 = nn.Conv2d(inplanes, planes, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = norm(planes)
        self.conv2 = nn.Conv2d(planes, planes, kernel_size=3, padding=1, bias=False)
        self.bn2 = norm(planes)
        self.downsample = None
        if stride != 1 or inplanes != planes:
            self.downsample = downsample(inplanes, planes, stride, norm)

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        out = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(out)) + identity)


class Bottleneck(nn.Module):
    """With the stride in the 3x3 convolution: torchvision's ResNet v1.5."""

    expansion = 4

    def __init__(self, inplanes: int, planes: int, stride: int, norm: Norm):
        super().__init__()
        self.conv1 = nn.Conv2d(inplanes, planes, kernel_size=1, bias=False)
        self.bn1 = norm(planes)
        self.conv2 = nn.Conv2d(planes, planes, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn2 = norm(planes)
        self.conv3 = nn.Conv2d(planes, planes * self.expansion, kernel_size=1, bias=False)
        self.bn3 = norm(planes * self.expansion)
        self.downsample = None
        if stride != 1 or inplanes != planes * self.expansion:
            self.downsample = downsample(inplanes, planes * self.expansion, stride, norm)

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        out = torch.relu(self.bn1(self.conv1(x)))
        out = torch.relu(self.bn2(self.conv2(out)))
        return torch.relu(self.bn3(self.conv3(out)) + identity)


class ResNet(nn.Module):
    """[n, 3, h, w] -> pooled features [n, 8 * width * expansion]."""

    def __init__(self, block: type[nn.Module], layers: tuple[int, ...], width: int = 64, norm: Norm = nn.BatchNorm2d):
        super().__init__()
        self.inplanes = width
        self.conv1 = nn.Conv2d(3, width, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = norm(width)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        for i, count in enumerate(layers):
            setattr(self, f"layer{i + 1}", self.stage(block, width * 2**i, count, 2 if i else 1, norm))

    def stage(self, block: type[nn.Module], planes: int, count: int, stride: int, norm: Norm) -> nn.Sequential:
        blocks = [block(self.inplanes, planes, stride, norm)]
        self.inplanes = planes * block.expansion
        blocks += [block(self.inplanes, planes, 1, norm) for _ in range(count - 1)]
        return nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x)))).mean((2, 3))


def resnet34(width: int = 64) -> ResNet:
    return ResNet(BasicBlock, (3, 4, 6, 3), width)


def resnet50(width: int = 64) -> ResNet:
    return ResNet(Bottleneck, (3, 4, 6, 3), width)


def resnet18_gn(width: int = 64, groups: int = 32) -> ResNet:
    return ResNet(BasicBlock, (2, 2, 2, 2), width, lambda channels: nn.GroupNorm(groups, channels))
