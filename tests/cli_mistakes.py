"""What a user may get wrong on the command line, and the sentence that answers it."""

import dataclasses

MAIN, EVALUATE = "sidae_jax.main", "sidae_jax.linear_eval"


@dataclasses.dataclass(frozen=True)
class Mistake:
    """A command line, and a pattern for the whole answer.

    {tmp} is the folder of the tests, and {run} one of this mistake alone, since runs wait for no other's lock.
    """

    program: str
    arguments: str
    says: str


def digits(arguments: str, says: str) -> Mistake:
    return Mistake(MAIN, f"--config=configs/digits.py --workdir={{run}} {arguments}", says)


def folder(arguments: str, says: str) -> Mistake:
    return Mistake(MAIN, f"--config=configs/folder.py --workdir={{run}} {arguments}", says)


def export(out: str, says: str, before: str = "") -> Mistake:
    """`says` follows --out=OUT, and `before` precedes it."""
    return Mistake("sidae_jax.export", f"--workdir={{tmp}}/done --out={out}", f"{before}--out={out.split()[0]} {says}")


def embed(arguments: str, says: str) -> Mistake:
    return Mistake("sidae_jax.embed", f"--workdir={{tmp}}/done {arguments}", says)


def evaluate(arguments: str, says: str) -> Mistake:
    return Mistake(EVALUATE, f"--workdir={{tmp}}/done {arguments}", says)


MISTAKES = {
    "key": digits("--config.epoch=3", r"--config.epoch=3 is not a key of this config: did you mean --config.epochs\?"),
    "nested key": digits(
        "--config.views.p_blurr=0.5",
        r"--config.views.p_blurr=0.5 is not a key of this config: did you mean --config.views.p_blur\?",
    ),
    "range": digits(
        "--config.w=1.5", r"config.w=1.5 is out of range: give --config.w=VALUE with VALUE in \[0, 1\]: .*"
    ),
    "integer": digits(
        "--config.epochs=ten",
        "--config.epochs=ten is not an integer: give --config.epochs=VALUE with VALUE an integer, such as 20",
    ),
    "method": Mistake(
        MAIN,
        "--config=configs/digits.py:simsam --workdir={run}",
        r"method='simsam' is unknown: give one of sidae, simsiam, dae, .*; did you mean simsiam\?",
    ),
    "logger": digits(
        "--config.loggers=wand",
        r"loggers='wand' is unknown: give one of tensorboard, wandb, mlflow, trackio; did you mean wandb\?",
    ),
    "data set": digits("--config.dataset=cifar", r"dataset='cifar' is unknown: give one of .*; did you mean cifar10\?"),
    "folder of images, another data set": digits(
        "--config.images=x",
        "--config.images=x is a key of folders of images, and this config is on digits: give "
        "--config=folder:sidae, or leave it out",
    ),
    "no folder of images": folder("", "config.images is missing: give the folder of your images, --config.images=DIR"),
    "folder of images": folder(
        "--config.images={tmp}/file", "config.images={tmp}/file is not a folder: give the folder of your images, .*"
    ),
    "test share": folder(
        "--config.images=x --config.test_share=1", "config.test_share=1.0 is out of range: .* below 1"
    ),
    "damage": folder(
        "--config.images=x --config.on_damage=skp",
        r"on_damage='skp' is unknown: give one of refuse, skip; did you mean skip\?",
    ),
    "config file": Mistake(
        MAIN,
        "--config configs/zzz.py --workdir={run}",
        "--config=configs/zzz.py is not a file in {root}: give the path of one, or a name: cifar10, .*",
    ),
    "name of a config": Mistake(
        MAIN,
        "--config=cifra10:simsiam --workdir={run}",
        r"--config=cifra10 is not a file in {root}: did you mean cifar10\?",
    ),
    "workdir under a file": Mistake(
        MAIN,
        "--config=configs/digits.py --workdir={tmp}/file/run",
        "--workdir={tmp}/file/run cannot be written .*Not a directory.*: give a folder of yours, such as .*",
    ),
    "workdir in /proc": Mistake(
        MAIN,
        "--config=configs/digits.py --workdir=/proc/run",
        "--workdir=/proc/run cannot be written .*: give a folder of yours, such as .*",
    ),
    "workdir with brackets": Mistake(
        MAIN,
        "--config=configs/digits.py --workdir={run}[1]",
        r"--workdir={run}\[1\] has \[ \] in its path: give a folder without \[ \] \* \?",
    ),
    "batch and devices": digits(
        "--config.batch_size=60",
        "config.batch_size=60 is not divisible by the 8 devices: give --config.batch_size=56 or 64, .*",
    ),
    "stray": digits("stray", "'stray' is not a flag: options are given as --NAME=VALUE"),
    "flag": digits(
        "--wrokdir=x",
        r"--wrokdir is not an option of this program: did you mean --workdir\?",
    ),
    "a key as a flag": digits(
        "--seeds=2", r"--seeds is not an option of this program: did you mean --config.seed or --config.num_seeds\?"
    ),
    "a key as a flag, without a config": Mistake(
        MAIN, "--seeds=2", "--seeds is not an option of this program: --help lists the options"
    ),
    "an evaluation's config": Mistake(
        MAIN,
        "--config=configs/linear_eval.py",
        r"this is an evaluation's config \(config.protocol=linear\): start sidae_jax.linear_eval with it, or give .*",
    ),
    "a config file of evaluations": evaluate(
        "--config=configs/knn.py",
        r"--config=configs/knn.py is not a file in {root}: did you mean configs/knn_eval.py\?",
    ),
    "no config file of evaluations": evaluate(
        "--config=zzz.py", ".*: give the path of one, or a name: .*, linear_eval, .*"
    ),
    "flag's value": digits(
        "--num_processes=two",
        "--num_processes=two is not an integer: give --num_processes=VALUE with VALUE an integer",
    ),
    "no and a value": digits("--nodistributed=1", "--nodistributed=1 does not take an argument: --help .*"),
    "evaluation without checkpoints": Mistake(
        EVALUATE,
        "--workdir={tmp}/none",
        "--workdir={tmp}/none has no folder checkpoints: give the folder of a run of .*",
    ),
    **{
        f"a mistyped workdir of {program}": Mistake(
            f"sidae_jax.{program}",
            "--workdir={tmp}/doen",
            r"--workdir={tmp}/doen does not exist or is no folder: did you mean {tmp}/done\?",
        )
        for program in ("linear_eval", "pictures", "report")
    },
    "export to nowhere": Mistake(
        "sidae_jax.export",
        "--workdir={tmp}/done",
        "--out is missing: give the file to write, such as --out=encoder.safetensors",
    ),
    "export of no step": Mistake(
        "sidae_jax.export",
        "--workdir={tmp}/done --out={tmp}/e.safetensors --step=last",
        "--step=last is no step: give the number of a checkpoint's step, or best",
    ),
    "export of the best without kNN": Mistake(
        "sidae_jax.export",
        "--workdir={tmp}/done --out={tmp}/e.safetensors --step=best",
        "--step=best, but .*metrics.jsonl has no kNN of a saved step, as .*: give the number of a step",
    ),
    "export by another name": export(
        "{tmp}/encoder.pt", "does not end in .safetensors or .onnx: give a name such as encoder.safetensors"
    ),
    "export to a file without an ending": export(
        "{tmp}/file", "is a file that does not end in .safetensors or .onnx: give one that does, or a folder"
    ),
    "export into a run": export("{tmp}/done --overwrite", "is the folder of a run: give another one"),
    "export to a folder with files": export(
        "{tmp}",
        "is a folder that is not empty: give another name, or --overwrite to replace model.safetensors, .*",
    ),
    "export of a method to ONNX": export(
        "{tmp}/e.onnx --part=method",
        "is none: give FILE.safetensors",
        before="--part=method is for files of weights, and ",
    ),
    "export into no folder": export(
        "{tmp}/missing/e.safetensors", "is in no folder that is there: make {tmp}/missing, or give another --out"
    ),
    "export of another part": Mistake(
        "sidae_jax.export",
        "--part=backbone",
        "--part=backbone is not encoder or method: give --part=VALUE with VALUE encoder or method",
    ),
    "features to nowhere": embed("--dataset=digits", "--out is missing: give the file .* --out=features.parquet"),
    "features by another name": embed(
        "--dataset=digits --out={tmp}/f.csv",
        "--out={tmp}/f.csv does not end in .parquet or .npz: give a name such as features.parquet",
    ),
    "features of nothing": embed(
        "--out={tmp}/f.npz",
        "--images and --dataset are missing: give --images=DIR, a folder, or --dataset=NAME, a data set",
    ),
    "features of two things": embed("--out={tmp}/f.npz --images=x --dataset=y", "--images and --dataset are both .*"),
    "features of no folder": embed(
        "--out={tmp}/f.npz --images={tmp}/file",
        "--images={tmp}/file is not a folder: give the folder of your images, --images=DIR",
    ),
    "features of a data set that is a folder": embed(
        "--out={tmp}/f.npz --dataset=folder", "--dataset=folder is no data set of its own: give .* --images=DIR"
    ),
    "features of another kind": embed(
        "--out={tmp}/f.npz --dataset=digits --features=z",
        "--features=z is not backbone or projector: give --features=VALUE with VALUE backbone or projector",
    ),
    "features with a config's key": embed(
        "--config.images=x", "--config.images=x is not an option of this program, which takes no config: see --help"
    ),
    "step": evaluate(
        "--step=7",
        "--step=7 is not saved in {tmp}/done/checkpoints: give one of 3, 5, best for .*kNN, 0 for the untrained "
        "backbone alone, or .*",
    ),
    "fraction": evaluate(
        "--config.label_fraction=0",
        "config.label_fraction=0.0 is out of range: give --config.label_fraction=VALUE with VALUE above 0 and .*",
    ),
    "evaluation's key": evaluate(
        "--config.probe.lrr=1",
        r"--config.probe.lrr=1 is not a key of this config: did you mean --config.probe.lr\?",
    ),
}
