"""Makes tests/reference/golden_backbones.npz: torchvision's other ResNets at width 4, by PyTorch in float64.

    python tests/reference/make_golden_backbones.py        # needs the extra `parity`, a few seconds

Weights and images are those of golden_backbones.py, in float32. Keys, for each backbone:

    <backbone>/features, /eval_features    [6, f], training and evaluation mode
    <backbone>/grad/<name of ours>         `kept` of the gradient of sum(features * pull), training mode
"""

import hashlib
from pathlib import Path

import golden_backbones as golden
import numpy as np
import pytorch_backbones
import torch
from torch_names import from_torch

PATH = Path(__file__).with_name("golden_backbones.npz")
OF_BACKBONE = "encoder.backbone."
NETWORKS = {
    "resnet34": lambda: pytorch_backbones.resnet34(golden.WIDTH),
    "resnet50": lambda: pytorch_backbones.resnet50(golden.WIDTH),
    "resnet18_gn": lambda: pytorch_backbones.resnet18_gn(golden.WIDTH, groups=2),
}


def fill(network: torch.nn.Module, backbone: str) -> None:
    """Gives every parameter and statistic its value of golden_backbones.py, in place."""
    for name, value in network.state_dict().items():
        for ours, array in from_torch({OF_BACKBONE + name: value.numpy()}, golden.BLOCKS[backbone]).items():
            weight = golden.weight(backbone, ours, array.shape)
            value.copy_(torch.from_numpy(weight.transpose(3, 2, 0, 1) if weight.ndim == 4 else weight))


def compute(dtype: torch.dtype) -> dict[str, np.ndarray]:
    """All golden arrays, computed in `dtype`."""
    out = {}
    x = torch.from_numpy(golden.images()).to(dtype)
    for backbone, make in NETWORKS.items():
        network = make()
        fill(network, backbone)
        network.to(dtype).eval()
        with torch.no_grad():
            out[f"{backbone}/eval_features"] = network(x).numpy()
        network.train()
        features = network(x)
        (features * torch.from_numpy(golden.pull(features.shape[1])).to(dtype)).sum().backward()
        out[f"{backbone}/features"] = features.detach().numpy()
        gradients = {OF_BACKBONE + name: p.grad.numpy() for name, p in network.named_parameters()}
        for name, gradient in from_torch(gradients, golden.BLOCKS[backbone]).items():
            out[f"{backbone}/grad/{name}"] = golden.kept(gradient)
    return {name: value.astype(np.float32) for name, value in out.items()}


def main() -> None:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    made, single = compute(torch.float64), compute(torch.float32)
    np.savez_compressed(PATH, **made)
    data = PATH.read_bytes()
    print(f"{PATH}: {len(made)} arrays, {len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()}")
    for backbone in NETWORKS:
        for what in ("features", "eval_features", "grad/"):
            names = [name for name in made if name.startswith(f"{backbone}/{what}")]
            largest = [np.abs(made[n]).max() for n in names]  # that of a bias that BN takes away again is 0
            relative = [
                np.abs(made[n] - single[n]).max() / max(own, 1e-6 * max(largest))
                for n, own in zip(names, largest, strict=True)
            ]
            print(f"{backbone:12s} {what:14s} PyTorch's float32 differs by {max(relative):.1e} of the largest value")


if __name__ == "__main__":
    main()
