"""How much `throughput.py` measures on a CPU and on a GPU, and which of PyTorch's settings are opponents.

A setting is words, in any order: a precision ("float32" unless it says "tensorfloat32" or "bfloat16"), "channels_last",
and a mode of torch.compile ("compiled" is the default one).
"""

import dataclasses
import os

PRECISIONS = ("float32", "tensorfloat32", "bfloat16")

# how far the loss of the first step may be from PyTorch's in float32, relatively
TOLERANCES = {
    "cpu": {"float32": 1e-5, "tensorfloat32": 1e-5, "bfloat16": 2e-2},
    "gpu": {"float32": 1e-4, "tensorfloat32": 5e-3, "bfloat16": 2e-2},
}

# On CPUs each side may also take the precision in which it is fastest; ours is one of these.
FASTEST = "fastest"
OURS = ("float32", "bfloat16")
_ANY_PRECISION = ("float32", "channels_last", "bfloat16 channels_last")
_ANY_PRECISION_COMPILED = ("bfloat16", "compiled", "compiled channels_last", "compiled bfloat16 channels_last")


@dataclasses.dataclass(frozen=True)
class Plan:
    """Numbers of steps are those of one turn; a turn is one side's, and ends when its devices have finished."""

    device: str  # cpu or gpu
    quick: bool
    batch_size: int
    precisions: tuple[str, ...]  # of the comparison; FASTEST is the fastest of each side
    pairs: int  # turns of each side
    steps: int  # on ready tensors
    search_turns: int  # of each setting of PyTorch, to find the fastest
    search_steps: int
    warm_up: int  # steps that are not timed: they compile, tune and record CUDA graphs
    images: int  # of the data set
    evaluated_images: int
    pipeline_steps: int  # with the data
    data_workers: tuple[int, ...]  # of PyTorch, of which the best number is taken
    data_steps: int  # to find that number

    def parts(self, precision: str, wanted: list[str]) -> list[str]:
        """Which of the wanted parts are measured in a precision."""
        alone = self.device == "cpu" and self.quick and self.precisions[0] == FASTEST and precision != FASTEST
        return [part for part in wanted if part == "step" or not alone]

    def opponents(self, precision: str) -> list[str]:
        """PyTorch's settings that ours in this precision is compared with."""
        if precision == FASTEST:
            return [*_ANY_PRECISION, *(() if self.quick else _ANY_PRECISION_COMPILED)]
        formats = ("", "channels_last")
        if self.device == "gpu":
            # autotuning takes minutes, and has more to choose from in channels_last
            few, all_ = ["reduce-overhead channels_last"], ["max-autotune channels_last"]
            all_ += [f"{mode} {layout}" for mode in ("compiled", "reduce-overhead") for layout in formats]
        else:
            few, all_ = [], [f"compiled {layout}" for layout in formats]
        modes = [*formats, *(few if self.quick else all_)]
        return [" ".join([precision, *mode.split()]) for mode in modes]


def make_plan(device: str, quick: bool, batch_size: int, precisions: tuple[str, ...]) -> Plan:
    """On GPUs so many steps that the turns take a tenth of a second and more.

    Without `precisions`: all on GPUs; on CPUs the fastest, float32 and, where there are instructions for it, bfloat16.
    """
    shared = {"device": device, "quick": quick, "batch_size": batch_size}
    if device == "cpu":
        return Plan(
            **shared,
            precisions=precisions or (FASTEST, "float32", *(("bfloat16",) if _has_bfloat16() else ())),
            pairs=3 if quick else 15,
            steps=3 if quick else 5,
            search_turns=1 if quick else 5,
            search_steps=1,
            warm_up=1,
            images=10_240,
            evaluated_images=2_048 if quick else 10_240,
            pipeline_steps=3 if quick else 5,
            data_workers=(0, 2) if quick else (0, 1, 2, 4),
            data_steps=2 if quick else 5,
        )
    cores = len(os.sched_getaffinity(0))
    # Each data worker has two batches ready when its turn begins. Several times as many must be made during the turn,
    # or it would measure the queue.
    several = max(100 if quick else 200, 8 * cores)
    return Plan(
        **shared,
        precisions=precisions or PRECISIONS,
        pairs=5 if quick else 9,
        steps=50 if quick else 100,
        search_turns=1 if quick else 5,
        search_steps=20,
        warm_up=10,
        images=51_200,
        evaluated_images=10_240 if quick else 51_200,
        pipeline_steps=several,
        data_workers=(cores,) if quick else tuple(sorted({max(1, cores // 2), cores})),
        data_steps=several,
    )


def instruction_sets() -> list[str]:
    """Those of this CPU that matter for products, of x86-64 on Linux; of others none are known."""
    try:
        with open("/proc/cpuinfo") as file:
            flags = next((line.split() for line in file if line.startswith("flags")), [])
    except OSError:
        return []
    known = ("fma", "avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16")
    return [name for name in known if name in flags]


def _has_bfloat16() -> bool:
    return bool({"avx512_bf16", "amx_bf16"} & {*instruction_sets()})
