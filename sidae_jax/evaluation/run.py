"""Evaluating the checkpoints of a run: the untrained backbone first, then each saved one."""

import dataclasses
import hashlib
import pathlib
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import rich.console
from jaxtyping import Int
from ml_collections import ConfigDict

from sidae_jax import runtime, streams
from sidae_jax.evaluation import data_set, online_probe, results
from sidae_jax.evaluation.backbone import Backbone, restore_backbone, untrained_backbone
from sidae_jax.evaluation.config import check_images, check_run
from sidae_jax.evaluation.data_set import DataSet
from sidae_jax.evaluation.feature_cache import cached_features
from sidae_jax.evaluation.protocols import PROTOCOLS, Examples, Measurement, task_title
from sidae_jax.files import disk_trouble_told, open_folder
from sidae_jax.networks import conv_onednn
from sidae_jax.networks.precision import products_in
from sidae_jax.runs import checkpoint, pretrained
from sidae_jax.streams import Stream

_SUBSET_SEED = 0  # fixed: the subset is the same for all methods, checkpoints and seeds (paper, 4.1)


def evaluate(config: ConfigDict, workdir: str, only_step: int | str | None = None) -> list[results.Record]:
    """Measures the untrained backbone and each checkpoint of a run; writes the result file and prints a table.

    only_step: evaluates this checkpoint alone, or "best" for the one with the highest kNN in training.

    Returns a record for each. The untrained backbone comes first, as step 0, unless the protocol trains nothing. The
    record of a checkpoint that the run's next save removes has "temporary": true.

    Raises:
      UserError: something cannot work, or other processes would write the same files.
    """
    runtime.require_single_process("linear_eval")
    folder = pretrained.run_folder(workdir)
    onednn = conv_onednn.choose(config.native, mapped=False)
    with (
        disk_trouble_told(folder, "give the same command again: features that were computed stay, and so do results"),
        conv_onednn.use(onednn),
        checkpoint.Checkpoints(folder, read_only=True) as checkpoints,
    ):
        steps = pretrained.evaluated_steps(checkpoints, only_step)
        metadata = {step: checkpoints.metadata(step) for step in steps or checkpoints.steps()[:1]}
        pretraining = next(iter(metadata.values()))
        trains = PROTOCOLS[config.protocol].trains
        check_run(config, ConfigDict(pretraining["config"]), only_step)
        on = data_set.choose(config, ConfigDict(pretraining["config"]))
        kind = config.get("features", "backbone")
        precision = config.precision or pretraining["config"]["precision"]
        path = results.result_path(folder, config.protocol, on.title, config.label_fraction, config.seed, kind)
        evaluation = _Evaluation(config, on, precision, open_folder(folder, "eval") / "features")
        results.check_same_settings(path, evaluation.settings)
        console = rich.console.Console(stderr=True, highlight=False, soft_wrap=True)
        if trains and (n := len(evaluation.labeled.labels)) < (classes := evaluation.train.num_classes):
            console.print(
                f"warning: config.label_fraction={config.label_fraction} of config.train_split={config.train_split} "
                f"are {n} images, fewer than the {classes} classes: give more of them",
                markup=False,
            )

        records, title = [], evaluation.protocol.title
        for step in (0, *steps) if trains else steps:
            if step == 0:
                console.print(
                    f"untrained backbone: one pass over the training images, then {title} (waits for the compiler)"
                )
                decoded: Any = evaluation.train.images  # as is all that an evaluation loads
                backbone = untrained_backbone(pretraining, decoded, kind, precision)
            else:
                console.print(f"checkpoint {step}: {title}")
                if trains:
                    backbone = restore_backbone(checkpoints, step, kind, precision)
                else:
                    backbone = online_probe.restore(checkpoints, step, precision)
            where = {
                "step": step,
                "epoch": float(metadata[step]["epoch"]) if step else 0.0,
                "method": pretraining["config"]["method"],
                "pretrain_seed": pretraining["config"]["seed"],
                "native": "on" if onednn else "off",
            }
            if step and not metadata[step].get("scheduled", True):
                where["temporary"] = True
            records.append(where | evaluation.measure(backbone, f"step{step}"))
            results.add(path, records[-1])
    results.print_table(
        f"{task_title(config.protocol, on.title, config.label_fraction)} "
        f"({records[0]['n_train']} images), {records[0]['n_test']} test images"
        + ("" if on.folder is None else f", classes {_listed(evaluation.train.class_names)}")
        + ("" if kind == "backbone" else f", features of the {kind}"),
        records,
    )
    print(f"accuracy {100 * records[-1]['accuracy']:.2f}% after step {records[-1]['step']}; results in {path}")
    return records


def labeled_rows(n: int, fraction: float) -> Int[np.ndarray, " k"]:
    """Returns the rows, ascending, of round(fraction * n) examples, at least one, drawn once for all runs."""
    count = max(1, round(fraction * n))
    return np.sort(streams.generator(Stream.LABELED_SUBSET, _SUBSET_SEED).permutation(n)[:count])


def _listed(names: Sequence[str]) -> str:
    """Returns the names, or the first and last of many."""
    return ", ".join(names if len(names) <= 10 else [*names[:5], f"... ({len(names)} of them)", names[-1]])


class _Evaluation:
    """The images of an evaluation, and how it measures a backbone."""

    def __init__(self, config: ConfigDict, on: DataSet, precision: str, feature_folder: pathlib.Path):
        self.config = config
        self.protocol = PROTOCOLS[config.protocol]
        self.on = on
        self.precision = precision
        self.feature_folder = feature_folder
        self.train, self.test = (on.load(key, config[key]) for key in ("train_split", "test_split"))
        rows = labeled_rows(len(self.train.labels), config.label_fraction)
        self.labeled = self.train
        if len(rows) < len(self.train.labels):  # else they would be copied into memory
            labeled = {"images": self.train.images[rows], "labels": self.train.labels[rows]}
            self.labeled = dataclasses.replace(self.train, **labeled)
        check_images(config, len(rows))
        self.settings = {
            "protocol": config.protocol,
            **on.record(self.train),
            "train_split": config.train_split,
            "test_split": config.test_split,
            "label_fraction": config.label_fraction,
            "precision": precision,
            "seed": config.seed,
            "n_train": len(rows),
            "n_test": len(self.test.labels),
            "labeled_rows_sha256": hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest(),
            **({"features": config.features} if self.protocol.frozen else {}),
            self.protocol.section: config[self.protocol.section].to_dict(),
        }

    def measure(self, backbone: Backbone, name: str) -> results.Record:
        """Returns the accuracy that the protocol finds for the backbone, and all that it was measured with."""
        config, start = self.config, time.perf_counter()
        before = checkpoint.arrays_sha256(backbone.arrays())

        def examples(split, images):
            of_kind = "-projector" if backbone.kind == "projector" else ""
            name_of_file = f"{results.file_part(self.on.title)}-{split}-{name}{of_kind}"
            return Examples(images, lambda: cached_features(self.feature_folder, name_of_file, backbone, images))

        train, test = examples(f"train-{config.label_fraction:g}", self.labeled), examples("test", self.test)
        protocol = self.protocol(**config[self.protocol.section])
        with products_in(self.precision):
            measured = protocol.accuracy(Measurement(backbone, train, test, config.seed))
        assert checkpoint.arrays_sha256(backbone.arrays()) == before, "the backbone has changed"
        return {**self.settings, "accuracy": measured, "seconds": time.perf_counter() - start}
