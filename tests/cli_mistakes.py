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


def export(out: str, says: str) -> Mistake:
    return Mistake("sidae_jax.export", f"--workdir={{tmp}}/done --out={out}", f"--out={out} {says}")


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
        "--config=configs/folder.py:sidae, or leave it out",
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
        "--config=configs/zzz.py is not a file in {root}: give the path of one such as configs/cifar10.py",
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
        "--config=zzz.py", ".*: give the path of one such as configs/linear_eval.py"
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
    "export by another name": export(
        "{tmp}/encoder.pt", "does not end in .safetensors: give a name such as encoder.safetensors"
    ),
    "export into no folder": export(
        "{tmp}/missing/e.safetensors", "is in no folder that is there: make {tmp}/missing, or give another --out"
    ),
    "export of another part": Mistake(
        "sidae_jax.export",
        "--part=backbone",
        "--part=backbone is not encoder or method: give --part=VALUE with VALUE encoder or method",
    ),
    "step": evaluate(
        "--step=7",
        "--step=7 is not saved in {tmp}/done/checkpoints: give one of 3, 5, 0 for the untrained backbone alone, or .*",
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
