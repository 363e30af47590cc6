"""The model card of an encoder, README.md in a folder for the Hugging Face hub: all of it from the files of its run."""

import json
from typing import Any

from sidae_jax.config import PLACE_KEYS
from sidae_jax.config_values import flat
from sidae_jax.exports import card_usage
from sidae_jax.exports.card_citations import METHODS, SIDAE
from sidae_jax.exports.card_results import Result
from sidae_jax.exports.encoder import Exported
from sidae_jax.runs.values import printable

# the hub's names of data sets
_ON_THE_HUB = {
    "cifar10": "uoft-cs/cifar10",
    "cifar100": "uoft-cs/cifar100",
    "mnist": "ylecun/mnist",
    "fashion_mnist": "zalando-datasets/fashion_mnist",
    "svhn_cropped": "ufldl-stanford/svhn",
}


def text(exported: Exported, results: list[Result]) -> str:
    """Returns the card: YAML, then Markdown."""
    said = exported.metadata
    title = f"{METHODS[said['method']].title} encoder: {said['backbone']}, {said['dataset']}"
    parts = [
        "---",
        *_yaml(_front_matter(exported, results, title)),
        "---",
        "",
        f"# {_escaped(title)}",
        "",
        f"An image encoder, pre-trained without a classification head for {said['epochs']} of {said['epochs_planned']} "
        f"epochs by {METHODS[said['method']].title} on {_escaped(said['dataset'])} ({_escaped(said['train_split'])}) "
        f"with sidae_jax {said['sidae_jax']}. It maps RGB images of "
        f"{said['size']}x{said['size']} to {exported.backbone.network.num_features} features.",
        "",
        "## How to use it",
        "",
        *card_usage.lines(exported),
        "## Training",
        "",
        *_training(exported),
        "## Results",
        "",
        *_results(results, said),
        "## Limits",
        "",
        *_limits(exported),
        "## Citation and license",
        "",
        "```bibtex",
        *dict.fromkeys([SIDAE, METHODS[said["method"]].citation]),  # each once
        "```",
        "",
        "The code of sidae_jax is under Apache-2.0. The license of these weights is for whoever trained them to "
        "choose, in place of `license: unknown` above; the images have terms of their own.",
    ]
    return "\n".join(parts) + "\n"


def _front_matter(exported: Exported, results: list[Result], title: str) -> dict[str, Any]:
    config = exported.config
    tags = ["self-supervised-learning", "image-feature-extraction", config["method"], config["backbone"], "sidae_jax"]
    index = [
        {
            "task": {"type": "image-classification", "name": result.title},
            "dataset": {
                "type": _ON_THE_HUB.get(result.task.evaluated_on, result.data),
                "name": result.data,
                "split": result.task.test_split,
            },
            "metrics": [{"type": "accuracy", "name": f"accuracy (%), {result.title}", "value": _two(result.accuracy)}],
        }
        for result in results
    ]
    known = _ON_THE_HUB.get(config["dataset"])
    return {
        "license": "unknown",
        "library_name": "timm" if card_usage.fits_timm(config) else "sidae_jax",
        "pipeline_tag": "image-feature-extraction",
        "tags": tags,
        **({"datasets": [known]} if known else {}),
        **({"metrics": ["accuracy"], "model-index": [{"name": title, "results": index}]} if results else {}),
    }


def _training(exported: Exported) -> list[str]:
    said, config, normalization = exported.metadata, exported.config, exported.backbone.normalization
    rows = {
        "method": METHODS[said["method"]].title,
        "images": f"{said['dataset']}, {said['train_split']}, at {said['size']}x{said['size']}",
        "epochs": f"{said['epochs']} of {said['epochs_planned']} (step {said['step']})",
        "batch": config["batch_size"],
        "optimizer": f"{config['optimizer']}, learning rate {config['lr']:g} ({config['schedule']}), "
        f"weight decay {config['weight_decay']:g}",
        "network": said["network"],
        "precision": said["precision"],
        "normalization": f"of pixels in [0, 1]: mean {_short(normalization.mean)}; standard deviation "
        f"{_short(normalization.std)}",
        "seed": said["seed"],
    }
    # where the images lay is nobody else's business
    settings = {key: value for key, value in flat(config).items() if key not in (*PLACE_KEYS, "init_from")}
    if config.get("init_from"):
        settings["init_from"] = "another run or file"
    return [
        "| | |",
        "|---|---|",
        *(f"| {key} | {_escaped(str(value))} |" for key, value in rows.items()),
        "",
        "All settings, in the words of sidae_jax:",
        "",
        "```",
        *(f"{key} = {printable(json.dumps(value, ensure_ascii=False))}" for key, value in settings.items()),
        "```",
        "",
    ]


def _results(results: list[Result], said: dict[str, str]) -> list[str]:
    if not results:
        return [f"The run's folder has no evaluation of this checkpoint (step {said['step']}).", ""]
    lines = [
        'Accuracy in percent on test images; "untrained" is the backbone before its first step.',
        "",
        "| evaluation | data | labeled images | test images | this encoder | untrained | mean of the seeds |",
        "|---|---|---|---|---|---|---|",
    ]
    for each in results:
        untrained = "not measured" if each.untrained is None else f"{each.untrained:.2f}"
        error = "" if each.standard_error is None else f" ± {each.standard_error:.2f}"
        seeds = "1 seed" if each.seeds == 1 else f"{each.seeds} seeds"
        task = each.task
        cells = [each.title, each.data, f"{task.n_train}", f"{task.n_test}", f"{each.accuracy:.2f}", untrained]
        lines.append(f"| {' | '.join(map(_escaped, cells))} | {each.mean:.2f}{error} ({seeds}) |")
    return [*lines, "", "± is the standard error of the mean over pre-trainings with several seeds.", ""]


def _limits(exported: Exported) -> list[str]:
    said = exported.metadata
    return [
        "* What is not among the results was not measured: other data sets, other tasks, bias and robustness.",
        f"* It has seen images of {said['size']}x{said['size']} only, of the data above.",
        *(
            [f"* It is of step {said['step']}, before the end of its training."]
            if said["epochs"] != said["epochs_planned"]
            else []
        ),
        *(
            ["* It was trained in bfloat16; in PyTorch's float32 its features differ by that rounding."]
            if said["precision"] == "bfloat16"
            else []
        ),
        "",
    ]


def _short(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.4f}" for value in values)


def _two(value: float) -> float:
    return round(value, 2)


def _escaped(cell: str) -> str:
    """Returns text that is only text in Markdown, in a table too."""
    return "".join(f"\\{c}" if c in "\\`*_[]<>|#" else c for c in printable(cell))


def _yaml(value: Any, indent: str = "") -> list[str]:
    """Returns the lines of a mapping or list in YAML, whose scalars are JSON's."""
    lines = []
    items = value.items() if isinstance(value, dict) else ((None, item) for item in value)
    for key, item in items:
        mark = f"{indent}- " if key is None else f"{indent}{key}:"
        if not isinstance(item, dict | list):
            scalar = item if not isinstance(item, str) else printable(item)
            lines.append(f"{mark}{'' if key is None else ' '}{json.dumps(scalar, ensure_ascii=False)}")
        elif key is None:
            first, *rest = _yaml(item, f"{indent}  ")
            lines += [f"{mark}{first.strip()}", *rest]
        else:
            lines += [mark, *_yaml(item, indent if isinstance(item, list) else f"{indent}  ")]
    return lines
