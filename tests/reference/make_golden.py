"""Makes tests/reference/golden.npz, the exact numbers of the PyTorch reference on a tiny SidAE.

    python tests/reference/make_golden.py        # needs the extra `parity`, about 10 seconds

The plain test command needs no PyTorch because of this file's output. Everything is computed in float64 from
float32-representable parameters and images, and stored as float32. SidAE(width=4, d=32, w=0.3), 6 images a
batch. Keys:

    init/<name>                 state dict before the first step (constants perturbed, see `perturb`)
    x.k, x1.k, x2.k             batches k = 0, 1, 2: [6, 3, 32, 32], normalized
    features1 z1 p1 recon1      of x1.0, training mode
    loss loss_dae loss_si       of batch 0, training mode;  grad/<name>: gradient of loss, every parameter
    losses [3], after/<name>    three SGD steps, lr = cosine(0.03, step, 10); parameters, running statistics
    eval_features               backbone of x.0 after the three steps, evaluation mode
    cifar_init/<name>, cifar_features   a backbone with stem="cifar", width 4: of x.0, training mode
"""

import copy
import hashlib
from pathlib import Path

import numpy as np
import torch
from pytorch_reference import ResNet18, SidAE, cosine, sgd_steps
from torch import nn

PATH = Path(__file__).with_name("golden.npz")
SEED, WIDTH, D, W, BATCH, STEPS = 1, 4, 32, 0.3, 6, 3
MEAN = np.array([0.4914, 0.4822, 0.4465])[:, None, None]
STD = np.array([0.2470, 0.2435, 0.2616])[:, None, None]


def normalized(images: np.ndarray) -> np.ndarray:
    """Pixels 0 .. 255, rounded to uint8, to normalized float32 values."""
    images = np.clip(np.rint(images), 0, 255)
    return ((images / 255 - MEAN) / STD).astype(np.float32)


def make_batch(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Smooth random images with noise, and two views of them: x, x1, x2, each [BATCH, 3, 32, 32] float32."""
    grid = np.arange(32) / 32
    frequency = rng.uniform(-2, 2, (BATCH, 3, 4, 2))
    phase = rng.uniform(0, 2 * np.pi, (BATCH, 3, 4))
    wave = frequency[..., 0, None, None] * grid[:, None] + frequency[..., 1, None, None] * grid[None, :]
    images = 125 + 35 * np.cos(2 * np.pi * wave + phase[..., None, None]).sum(2)
    views = [images + rng.normal(0, 10, images.shape)]
    for flip in (1, -1):
        gain = rng.uniform(0.6, 1.4, (BATCH, 1, 1, 1))
        shift = tuple(rng.integers(-6, 7, 2))
        view = gain * np.roll(images, shift, (2, 3))[..., ::flip]
        views.append(view + rng.normal(0, 10, images.shape))
    return tuple(normalized(view) for view in views)


def perturb(model: nn.Module, generator: torch.Generator) -> None:
    """Gives every constant of the initialization (BN scales, biases, statistics) a random value, in place.

    The ranges keep the three steps well conditioned in float32 (scales of 0.5 to 1.5 on the residual branches
    and biases around 0 do not: a relative change of 1e-7 of the parameters grows to 1e-2). Afterward
    everything is rounded to float32, so the stored parameters are the exact ones.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            if module.affine:
                low, high = (0.1, 0.5) if name.endswith("bn2") else (0.5, 1.5)
                nn.init.uniform_(module.weight, low, high, generator=generator)
                nn.init.normal_(module.bias, 0.5, 0.2, generator=generator)
            nn.init.normal_(module.running_mean, 0, 0.3, generator=generator)
            nn.init.uniform_(module.running_var, 0.5, 1.5, generator=generator)
    model.float().double()


def state(model: nn.Module, prefix: str) -> dict[str, np.ndarray]:
    return {prefix + name: value.numpy().copy() for name, value in model.state_dict().items()}


def compute(dtype: torch.dtype) -> dict[str, np.ndarray]:
    """All golden arrays, computed in `dtype` from the same parameters and images."""
    rng = np.random.default_rng(SEED)
    raw = [make_batch(rng) for _ in range(STEPS)]
    batches = [tuple(torch.from_numpy(array).to(dtype) for array in batch) for batch in raw]
    torch.manual_seed(SEED)
    model, cifar = SidAE(WIDTH, D, W, "imagenet"), ResNet18(WIDTH, "cifar")
    generator = torch.Generator().manual_seed(SEED + 1)
    perturb(model, generator)
    perturb(cifar, generator)
    model.to(dtype).train()
    cifar.to(dtype).train()

    out = state(model, "init/") | state(cifar, "cifar_init/")
    for k, batch in enumerate(raw):
        out |= {f"{name}.{k}": array for name, array in zip(("x", "x1", "x2"), batch, strict=True)}

    x1 = batches[0][1]
    with torch.no_grad():
        probe = copy.deepcopy(model)
        features = probe.encoder.backbone(x1)
        z = probe.encoder.projector(features)
        out |= {"features1": features.numpy(), "z1": z.numpy()}
        out |= {"p1": probe.predictor(z).numpy(), "recon1": probe.decoder(z).numpy()}
        out["cifar_features"] = cifar(batches[0][0]).numpy()

    probe = copy.deepcopy(model)
    loss, metrics = probe.loss(*batches[0])
    loss.backward()
    out["loss"] = loss.detach().numpy()
    out |= {name: value.detach().numpy() for name, value in metrics.items()}
    out |= {f"grad/{name}": parameter.grad.numpy() for name, parameter in probe.named_parameters()}

    lrs = [cosine(0.03, step, 10) for step in range(STEPS)]
    out["losses"] = np.array(sgd_steps(model, batches, lrs))
    out |= {k: v for k, v in state(model, "after/").items() if not k.endswith("num_batches_tracked")}
    model.eval()
    with torch.no_grad():
        out["eval_features"] = model.encoder.backbone(batches[0][0]).numpy()
    return {k: v if v.dtype == np.int64 else v.astype(np.float32) for k, v in out.items()}


def main() -> None:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    golden, single = compute(torch.float64), compute(torch.float32)
    if not all(np.isfinite(value).all() for value in golden.values()):
        raise SystemExit("a golden value is not finite")
    np.savez_compressed(PATH, **golden)
    data = PATH.read_bytes()
    print(f"{PATH}: {len(golden)} arrays, {len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()}")
    print("and what PyTorch's own float32 differs from it, per array as max error / max |value|:")
    print("group            arrays    values  max|value|  max error   relative")
    groups: dict[str, list[str]] = {}
    for key in golden:
        groups.setdefault(key.split("/")[0], []).append(key)
    for group, keys in groups.items():
        count, largest = sum(golden[k].size for k in keys), [np.abs(golden[k]).max() for k in keys]
        errors = [np.abs(golden[k] - single[k]).max() for k in keys]
        relative = max(error / max(size, 1e-30) for error, size in zip(errors, largest, strict=True))
        row = f"{len(keys):6d} {count:9d} {max(largest):11.4g} {max(errors):10.2e} {relative:10.2e}"
        print(f"{group:16s} {row}")
    print({key: golden[key].tolist() for key in ("loss", "loss_dae", "loss_si", "losses")})


if __name__ == "__main__":
    main()
