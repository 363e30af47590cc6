"""Makes tests/reference/golden_report.npz, the exact numbers of the PyTorch reference of the report's methods, tiny.

    python tests/reference/make_golden_report.py        # needs the extra `parity`, about 20 seconds

ReportMethod(m, width=1, latent=6, classes=10) for m in ae, vae, simclr, supervised: 8 features, a batch of 6. All is
computed and stored in float64; initial states and inputs are float16-representable and stored as that, without loss.
Read it with golden_report.read(). Compare in float64: a Linear's bias before a BN has gradient 0 up to rounding, and
Adam divides a gradient by its own size once it is above 1e-8, as it may well be in float32.
Names are the reference's state dict names, with PyTorch's layouts. Keys, as `read` gives them:

    x x1 x2              [6, 32, 32, 3], channels last, normalized
    labels noise lr      [6] int64, [6, 6] (VAE only), Adam's rate of the three steps (0.01, not the report's 3e-4)
    init/<name>          state before the first step, the same in all methods: backbone.*, classifier.*, decoder.*
                         (decoder only ae, vae); constants of the initialization perturbed, see make_golden.perturb
    m/init/<name>        and the method's own: head.* (supervised has none); golden_report.initial_state joins them
    m/loss               total of the first step, training mode
    m/loss_<part>        its parts: classifier; ae; vae (= recon + 0.1 kl), recon, kl; simclr
    m/grad/<name>        gradient of m/loss, every parameter
    m/losses             [3], before each of three Adam steps on the same batch
    m/after/<name>       parameters and running statistics after them
    m/eval/<output>      of x after them, evaluation mode: features [6, 8], logits [6, 10]; latent [6, 6] (VAE: the
                         mean), log_variance (VAE), recon [2, 32, 32, 3] (of the first two images; VAE: of the mean)
"""

import copy
import hashlib

import numpy as np
import torch
from golden_report import PATH, write
from make_golden import make_batch, perturb
from pytorch_report import METHODS, ReportMethod, adam_steps

SEED, WIDTH, LATENT, CLASSES, STEPS, LR = 1, 1, 6, 10, 3, 1e-2


def channels_last(images: torch.Tensor) -> np.ndarray:
    return images.detach().permute(0, 2, 3, 1).contiguous().numpy()


def make_models() -> dict[str, ReportMethod]:
    """The methods in float64, with the same float16-representable backbone, classifier and decoder."""
    torch.manual_seed(SEED)
    generator = torch.Generator().manual_seed(SEED + 1)
    models = {}
    for name in ("vae", "ae", "simclr", "supervised"):
        model = ReportMethod(name, WIDTH, LATENT, CLASSES)
        perturb(model, generator)
        models[name] = model.half().double().train()
        own = model.state_dict()
        shared = {k: v for k, v in models["vae"].state_dict().items() if k in own and not k.startswith("head.")}
        model.load_state_dict(own | shared)
    return {name: models[name] for name in METHODS}


def make_inputs() -> dict[str, torch.Tensor]:
    """x, x1, x2 [6, 3, 32, 32] (multiples of 1/16: they compress well), labels, noise."""
    rng = np.random.default_rng(SEED)
    images = (torch.from_numpy(np.rint(16 * array.astype(np.float64)) / 16) for array in make_batch(rng))
    inputs = dict(zip(("x", "x1", "x2"), images, strict=True))
    n = len(inputs["x"])
    inputs["labels"] = torch.from_numpy(rng.integers(0, CLASSES, n))
    inputs["noise"] = torch.from_numpy(rng.normal(size=(n, LATENT)).astype(np.float16).astype(np.float64))
    return inputs


def state(model: ReportMethod, dtype: type) -> dict[str, np.ndarray]:
    """Parameters and running statistics; `num_batches_tracked` is left out."""
    arrays = {k: v.numpy() for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
    return {name: array.astype(dtype) for name, array in arrays.items()}


def compute(model: ReportMethod, batch: tuple[torch.Tensor, ...]) -> dict[str, np.ndarray]:
    """A method's arrays but its initial state; changes the model."""
    probe = copy.deepcopy(model)
    loss, parts = probe.loss(*batch)
    loss.backward()
    out = {"loss": loss.detach().numpy()} | {name: value.detach().numpy() for name, value in parts.items()}
    out |= {f"grad/{name}": p.grad.numpy() for name, p in probe.named_parameters()}
    out["losses"] = np.array(adam_steps(model, [batch] * STEPS, LR))
    out |= {f"after/{name}": array for name, array in state(model, np.float64).items()}
    model.eval()
    with torch.no_grad():
        outputs = model.outputs(batch[0])
    if "recon" in outputs:
        out["eval/recon"] = channels_last(outputs.pop("recon")[:2])
    return out | {f"eval/{name}": value.numpy().copy() for name, value in outputs.items()}


def main() -> None:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    inputs, models = make_inputs(), make_models()
    golden = {name: channels_last(inputs[name]).astype(np.float16) for name in ("x", "x1", "x2")}
    golden |= {"labels": inputs["labels"].numpy(), "noise": inputs["noise"].numpy().astype(np.float16)}
    golden["lr"] = np.array(LR)
    for name, model in models.items():
        for key, array in state(model, np.float16).items():
            golden[f"{name}/init/{key}" if key.startswith("head.") else f"init/{key}"] = array
        golden |= {f"{name}/{key}": array for key, array in compute(model, tuple(inputs.values())).items()}
    if not all(np.isfinite(value).all() for value in golden.values()):
        raise SystemExit("a golden value is not finite")
    write(golden)
    data = PATH.read_bytes()
    print(f"{PATH}: {len(golden)} arrays, {len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()}")
    for name in METHODS:
        parts = {k: float(v) for k, v in golden.items() if k.startswith(f"{name}/loss") and v.ndim == 0}
        print(parts, golden[f"{name}/losses"].tolist())


if __name__ == "__main__":
    main()
