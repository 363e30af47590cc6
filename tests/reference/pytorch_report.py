"""Independent PyTorch reference of the report's methods (AE, VAE, SimCLR, supervised), the oracle of their tests.

Written from the settings of the report's released code (mishgon/ssl-sandbox) as facts and the public structure of
lightning-bolts' `resnet18_decoder` (pl_bolts.models.autoencoders.components), with their state dict names; it shares
nothing with the package. `width` 64 is the standard: f = 8 * width = 512 features. Images [n, 3, 32, 32] (normalized),
features [n, f], latents [n, d], class indices [n] int64. Nothing fixes a dtype: `.double()` a module for float64.
"""

import torch
from pytorch_reference import BasicBlock, ResNet18
from torch import Tensor, nn
from torch.nn import functional as F

METHODS = ("ae", "vae", "simclr", "supervised")
KL_WEIGHT = 0.1
TEMPERATURE = 0.1
LEARNING_RATE = 3e-4


class ReportHead(nn.Sequential):
    """[n, in_features] -> [n, out]; hidden width in_features; PyTorch's initialization.

    The first Linear keeps its bias, though BN subtracts it again in training mode: its gradient is 0 up to rounding.
    Names: 0 Linear, 1 BN, 3 Linear.
    """

    def __init__(self, in_features: int, out: int):
        super().__init__(
            nn.Linear(in_features, in_features), nn.BatchNorm1d(in_features), nn.ReLU(), nn.Linear(in_features, out)
        )


def resize_conv(inplanes: int, planes: int, kernel: int, scale: int) -> nn.Module:
    """Nearest up-sampling (if scale > 1), then a convolution without bias that keeps the size.

    Named `weight` when scale is 1, else `1.weight`.
    """
    conv = nn.Conv2d(inplanes, planes, kernel, padding=kernel // 2, bias=False)
    return conv if scale == 1 else nn.Sequential(nn.Upsample(scale_factor=scale, mode="nearest"), conv)


class DecoderBlock(nn.Module):
    """[n, inplanes, h, w] -> [n, planes, scale * h, scale * w]: the basic block turned round.

    conv1 3x3 (inplanes, inplanes), bn1, ReLU at the small size; then up-sampling, conv2 3x3 (inplanes, planes), bn2;
    plus the shortcut; ReLU. The shortcut is x itself, or up-sampling, 1x1 convolution, BN where shapes change. So the
    second convolution, not the first, changes the channels and the size. No convolution has a bias.
    """

    def __init__(self, inplanes: int, planes: int, scale: int = 1):
        super().__init__()
        self.conv1 = resize_conv(inplanes, inplanes, 3, 1)
        self.bn1 = nn.BatchNorm2d(inplanes)
        self.conv2 = resize_conv(inplanes, planes, 3, scale)
        self.bn2 = nn.BatchNorm2d(planes)
        self.upsample = None
        if scale != 1 or inplanes != planes:
            self.upsample = nn.Sequential(resize_conv(inplanes, planes, 1, scale), nn.BatchNorm2d(planes))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.upsample is None else self.upsample(x)
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + shortcut)


class ReportDecoder(nn.Module):
    """lightning-bolts' residual ResNet-18 decoder for 32x32: [n, latent] -> [n, 3, 32, 32].

    For images of height 32, first_conv=False, maxpool1=False. In order, with the standard width's channels:

        linear   Linear(latent, 512 * 4 * 4) with bias, seen as [n, 512, 4, 4]; no BN and no ReLU follow it
        layer1   DecoderBlock(512, 256, scale 2), DecoderBlock(256, 256)    4x4 ->  8x8
        layer2   DecoderBlock(256, 128, scale 2), DecoderBlock(128, 128)    8x8 -> 16x16
        layer3   DecoderBlock(128, 64, scale 2),  DecoderBlock(64, 64)    16x16 -> 32x32
        layer4   DecoderBlock(64, 64),            DecoderBlock(64, 64)    32x32, both shortcuts are the identity
        conv1    3x3 convolution (64, 3) without bias; no BN and nothing after it

    The two other up-samplings of the original (after `linear` to height // 8, before `conv1` by 1) are then the
    identity and have no parameters. The fourth stage scales only with maxpool1=True. PyTorch's own initialization.
    """

    def __init__(self, latent: int, width: int = 64):
        super().__init__()
        self.linear = nn.Linear(latent, 8 * width * 4 * 4)
        self.layer1 = nn.Sequential(DecoderBlock(8 * width, 4 * width, 2), DecoderBlock(4 * width, 4 * width))
        self.layer2 = nn.Sequential(DecoderBlock(4 * width, 2 * width, 2), DecoderBlock(2 * width, 2 * width))
        self.layer3 = nn.Sequential(DecoderBlock(2 * width, width, 2), DecoderBlock(width, width))
        self.layer4 = nn.Sequential(DecoderBlock(width, width), DecoderBlock(width, width))
        self.conv1 = nn.Conv2d(width, 3, kernel_size=3, stride=1, padding=1, bias=False)

    def forward(self, z: Tensor) -> Tensor:
        maps = self.linear(z).reshape(len(z), -1, 4, 4)
        return self.conv1(self.layer4(self.layer3(self.layer2(self.layer1(maps)))))


def ae_loss(x: Tensor, recon: Tensor) -> Tensor:
    """Mean squared error over all elements of the batch, of images [n, 3, h, w]."""
    return ((recon - x) ** 2).mean()


def vae_sample(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    """[n, d] each; noise is standard normal."""
    return mean + torch.exp(0.5 * log_variance) * noise


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Of N(mean, exp(log_variance)) from N(0, 1), in nats, averaged over the batch and the dimensions [n, d]."""
    return (0.5 * (mean**2 + torch.exp(log_variance) - log_variance - 1)).mean()


def vae_loss(x: Tensor, recon: Tensor, mean: Tensor, log_variance: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """AE's loss of a reconstruction from `vae_sample`, plus 0.1 times the mean KL divergence."""
    loss_recon, loss_kl = ae_loss(x, recon), kl_divergence(mean, log_variance)
    return loss_recon + KL_WEIGHT * loss_kl, {"loss_recon": loss_recon, "loss_kl": loss_kl}


def simclr_loss(z1: Tensor, z2: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """[n, d], [n, d] -> cross-entropy of each view 1 with all n views 2, its own the right one; one direction."""
    logits = F.normalize(z1, dim=1) @ F.normalize(z2, dim=1).T / temperature
    return F.cross_entropy(logits, torch.arange(len(z1), device=z1.device))


def classifier_loss(classifier: nn.Module, features: Tensor, labels: Tensor, supervised: bool) -> Tensor:
    """Cross-entropy on the features of the image; only `supervised` lets the gradient into the backbone."""
    return F.cross_entropy(classifier(features if supervised else features.detach()), labels)


class ReportMethod(nn.Module):
    """One of METHODS: `backbone`, `classifier`, and by method `head` (all but supervised) and `decoder` (AE, VAE).

    The head's output has d = latent numbers for AE and SimCLR (the released code: 128 in both), 2 * latent for VAE:
    the means, then the log-variances (the facts name them in this order).
    """

    def __init__(self, name: str, width: int = 64, latent: int = 128, classes: int = 10):
        super().__init__()
        if name not in METHODS:
            raise ValueError(f"name is one of {METHODS}, not {name!r}")
        self.name = name
        self.backbone = ResNet18(width, "cifar")
        for module in self.backbone.modules():
            if isinstance(module, BasicBlock):  # open in the facts: torchvision's default, zero_init_residual=False
                nn.init.ones_(module.bn2.weight)
        self.classifier = ReportHead(8 * width, classes)
        if name != "supervised":
            self.head = ReportHead(8 * width, 2 * latent if name == "vae" else latent)
        if name in ("ae", "vae"):
            self.decoder = ReportDecoder(latent, width)

    def loss(
        self, x: Tensor, x1: Tensor, x2: Tensor, labels: Tensor, noise: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of one step (the method's plus the classifier's) and its parts; noise [n, d] is for VAE only."""
        # Every method makes the three passes, in this order: the running statistics move by all of them.
        features, features1, features2 = self.backbone(x), self.backbone(x1), self.backbone(x2)
        # Open in the facts: which features the heads see. Here only those that a loss needs: the classifier the
        # image's, AE's and VAE's head and decoder the image's, SimCLR's head view 1's, then view 2's.
        parts = {"loss_classifier": classifier_loss(self.classifier, features, labels, self.name == "supervised")}
        loss = parts["loss_classifier"]
        if self.name == "ae":
            parts["loss_ae"] = ae_loss(x, self.decoder(self.head(features)))
            loss = loss + parts["loss_ae"]
        elif self.name == "vae":
            mean, log_variance = self.head(features).chunk(2, dim=1)
            recon = self.decoder(vae_sample(mean, log_variance, noise))
            parts["loss_vae"], terms = vae_loss(x, recon, mean, log_variance)
            loss = loss + parts["loss_vae"]
            parts |= terms
        elif self.name == "simclr":
            parts["loss_simclr"] = simclr_loss(self.head(features1), self.head(features2))
            loss = loss + parts["loss_simclr"]
        return loss, parts

    def outputs(self, x: Tensor) -> dict[str, Tensor]:
        """features, logits and, where the method has them, latent (VAE: the mean) and recon (VAE: of the mean)."""
        features = self.backbone(x)
        out = {"features": features, "logits": self.classifier(features)}
        if self.name != "supervised":
            out["latent"] = self.head(features)
        if self.name == "vae":
            out["latent"], out["log_variance"] = out["latent"].chunk(2, dim=1)
        if self.name in ("ae", "vae"):
            out["recon"] = self.decoder(out["latent"])
        return out


def adam_steps(model: ReportMethod, batches: list[tuple[Tensor, ...]], lr: float = LEARNING_RATE) -> list[float]:
    """One step per (x, x1, x2, labels, noise): constant rate, one Adam; returns the losses, each before its step."""
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)  # betas 0.9, 0.999, eps 1e-8, no weight decay
    losses = []
    for batch in batches:
        loss, _ = model.loss(*batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
