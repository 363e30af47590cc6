"""What training's own programs do on GPUs and TPUs, from the compilers for them, which need no accelerator.

    pip install -e '.[aot]'
    python benchmarks/accelerators.py --quick
    python benchmarks/accelerators.py --targets=h100,v5e:2x4 --methods=sidae --dump=DIR --output=FILE.json

No time is measured: `least ms` is what the bytes over the memory's bandwidth or the operations over the peak take, the
larger of the two, and images/s follow from it. Real programs take longer.
"""

import argparse
import dataclasses
import functools
import json
import pathlib
import re
import time

import targets

targets.without_accelerators()  # before JAX is first used

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import rich.console  # noqa: E402
import rich.table  # noqa: E402
from flax import nnx  # noqa: E402
from jax.sharding import Mesh, NamedSharding  # noqa: E402
from jax.sharding import PartitionSpec as P  # noqa: E402
from program_cost import Kernel, program_cost  # noqa: E402

from sidae_jax import config, mesh, settings  # noqa: E402
from sidae_jax.data.normalization import Normalization  # noqa: E402
from sidae_jax.evaluation import backbone  # noqa: E402
from sidae_jax.methods import make_method  # noqa: E402
from sidae_jax.methods.batch import Batch  # noqa: E402
from sidae_jax.training import step  # noqa: E402
from sidae_jax.training.mapped_step import make_mapped_step  # noqa: E402
from sidae_jax.training.resident import ResidentBatch, resident_spec  # noqa: E402

_IMAGES = 50_000  # of CIFAR-10
_NORMALIZATION = Normalization((0.5,) * 3, (0.25,) * 3)
PROGRAMS = ("resident", "stream", "update", "features")


@dataclasses.dataclass(frozen=True)
class Case:
    """A program to compile: one of PROGRAMS, for a method in a precision, on a target.

    resident, stream: the whole step of training on either input; update: the step on ready views; features: the
    evaluation's forward pass.
    """

    target: str
    program: str
    method: str
    precision: str
    batch_size: int

    @property
    def name(self) -> str:
        """A name for files."""
        return re.sub(r"\W+", "_", f"{self.target}-{self.program}-{self.method}-{self.precision}")


def compiled(case: Case) -> jax.stages.Compiled:
    """Compiles a case."""
    target = targets.TARGETS[case.target]
    devices = target.mesh(mesh.AXIS)
    function, arguments = PROGRAM_MAKERS[case.program](case, devices)
    return function.trace(*arguments).lower(lowering_platforms=(target.platform,)).compile()


def measure(case: Case, dump: pathlib.Path | None) -> tuple[dict, list[Kernel]]:
    """Returns the figures of a case, all of one device, and its costliest kernels.

    Writes the compiled text into the folder `dump`, if there is one.
    """
    start = time.monotonic()
    program = compiled(case)
    seconds = time.monotonic() - start
    text = program.as_text()
    if dump:
        dump.mkdir(parents=True, exist_ok=True)
        (dump / f"{case.name}.hlo").write_text(text)
    cost, memory = program_cost(text), program.memory_analysis()
    reported = program.cost_analysis() or {}  # XLA's own count, which it gives for TPUs alone
    moved = reported.get("bytes accessed", cost.bytes)
    flops = max(reported.get("flops", 0), cost.flops)
    target = targets.TARGETS[case.target]
    bound = max(moved / target.bandwidth, flops / target.peak[case.precision])
    figures = {
        **dataclasses.asdict(case),
        "kernels": len(cost.kernels),
        "gigabytes": moved / 1e9,
        "gigaflops": flops / 1e9,
        "largest_window": cost.largest_window,
        "peak_megabytes": (memory.temp_size_in_bytes + memory.argument_size_in_bytes) / 1e6,
        "temporary_megabytes": memory.temp_size_in_bytes / 1e6,
        "collectives": cost.collectives(),
        "data_set_copies": data_set_copies(text),
        "seconds_to_compile": seconds,
        "least_milliseconds": bound * 1e3,
        "images_per_second": case.batch_size / bound,
    }
    return figures, cost.costliest(40)


def data_set_copies(text: str) -> int:
    """Returns how often the program copies the whole data set."""
    return len(re.findall(rf"= u8\[{_IMAGES},[\d,]*\]\S* (?:copy|fusion|transpose|copy-start)\(", text))


def _settings(case):
    return config.pretraining(case.method, "cifar10", batch_size=case.batch_size, precision=case.precision)


def _arguments(tree, devices: Mesh):
    """Returns the shapes of a tree that lies whole on every device."""
    put = NamedSharding(devices, P())
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(jnp.shape(x), jnp.result_type(x), sharding=put), tree)


def _start(case):
    """Returns config, structure, initial state and optimizer, as a run makes them."""
    settings = _settings(case)
    optimizer, _ = step.make_optimizer(
        settings.lr, settings.momentum, settings.weight_decay, 19400, settings.optimizer, settings.schedule
    )
    return settings, *step.create_state(make_method(settings, mesh.AXIS), optimizer), optimizer


def _step(case, devices, batch):
    settings, graphdef, state, optimizer = _start(case)
    resident = isinstance(batch, ResidentBatch)
    mapped = make_mapped_step(settings, graphdef, optimizer, _NORMALIZATION, devices, resident=resident)
    return mapped, (_arguments(state, devices), batch, _key(devices))


def _key(devices):
    return jax.ShapeDtypeStruct((), jax.random.key(0).dtype, sharding=NamedSharding(devices, P()))


def _shape(devices, shape, dtype, spec=None):
    return jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(devices, spec or P()))


def _resident(case, devices):
    spec = resident_spec(1)
    order = (_IMAGES // case.batch_size, case.batch_size)
    batch = ResidentBatch(
        _shape(devices, (_IMAGES, 32 * 32 * 3), np.uint8, spec.images),
        _shape(devices, (_IMAGES,), np.int32, spec.labels),
        _shape(devices, order, np.int32, spec.order),
        _shape(devices, (), np.int32),
    )
    return _step(case, devices, batch)


def _stream(case, devices):
    rows = P(mesh.AXIS)
    images = _shape(devices, (case.batch_size, 32, 32, 3), np.uint8, rows)
    return _step(case, devices, step.ImageBatch(images, _shape(devices, (case.batch_size,), np.int32, rows)))


def _update(case, devices):
    _, graphdef, state, optimizer = _start(case)
    update = functools.partial(step.update, graphdef=graphdef, optimizer=optimizer, precision=case.precision)
    # the views are ready, so the step's key, from which they would be drawn, is not used
    mapped = step.data_parallel(lambda state, inputs, _: update(state, *inputs), devices)
    rows = P(mesh.AXIS)
    image = _shape(devices, (case.batch_size, 32, 32, 3), np.float32, rows)
    batch = Batch(image, image, image, _shape(devices, (case.batch_size,), np.int32, rows))
    keys = jax.ShapeDtypeStruct((case.batch_size,), jax.random.key(0).dtype, sharding=NamedSharding(devices, rows))
    return mapped, (_arguments(state, devices), (batch, keys), _key(devices))


def _features(case, devices):
    encoder = make_method(_settings(case), None).encoder.backbone
    graphdef, state = nnx.split(encoder)
    forward = jax.jit(lambda state, images: backbone.forward(graphdef, _NORMALIZATION, state, images))
    images = _shape(devices, (case.batch_size, 32, 32, 3), np.uint8, P(mesh.AXIS))
    return forward, (_arguments(state, devices), images)


PROGRAM_MAKERS = {"resident": _resident, "stream": _stream, "update": _update, "features": _features}


def main() -> None:
    """Compiles the cases of the command line and prints a table of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    several = functools.partial(str.split, sep=",")
    parser.add_argument("--targets", type=several, default=list(targets.TARGETS))
    parser.add_argument("--methods", type=several, default=list(settings.METHOD_SETTINGS))
    parser.add_argument("--precisions", type=several, default=list(settings.PRECISIONS))
    parser.add_argument("--programs", type=several, default=list(PROGRAMS))
    parser.add_argument("--batch_size", type=int, default=512, help="of all devices together")
    parser.add_argument("--quick", action="store_true", help="H100 and v5e, SidAE and SimSiam, the resident step")
    parser.add_argument("--output", type=pathlib.Path, help="JSON file for all figures")
    parser.add_argument("--dump", type=pathlib.Path, help="folder for the compiled text")
    parser.add_argument("--costliest", type=int, default=0, help="also print so many kernels that move the most bytes")
    options = parser.parse_args()
    if options.quick:
        options.targets, options.methods, options.programs = ["h100", "v5e:2x4"], ["sidae", "simsiam"], ["resident"]
    measure_all(options)


def measure_all(options: argparse.Namespace) -> None:
    """Measures every case of the options, writing each figure as soon as it is known."""
    cases = [
        Case(target, program, method, precision, options.batch_size)
        for target in options.targets
        for program in options.programs
        for method in options.methods
        for precision in options.precisions
    ]
    console = rich.console.Console(width=180)
    rows = []
    for i, case in enumerate(cases):
        console.print(f"{i + 1} of {len(cases)}: {case.name}", highlight=False)
        figures, costliest = measure(case, options.dump)
        rows.append(figures)
        if options.output:
            options.output.write_text(json.dumps(rows, indent=1))
        for kernel in costliest[: options.costliest]:
            line = f"  {kernel.bytes / 1e6:7.1f} MB  {kernel.operation} {kernel.shape[:60]} {kernel.source[-90:]}"
            console.print(line, highlight=False, markup=False)
    console.print(table(rows))


def table(rows: list[dict]) -> rich.table.Table:
    """Returns the figures as a table."""
    columns = {
        "target": "{target}",
        "program": "{program}",
        "method": "{method}",
        "precision": "{precision}",
        "kernels": "{kernels}",
        "GB": "{gigabytes:.2f}",
        "GFLOP": "{gigaflops:.0f}",
        "window": "{largest_window}",
        "peak MB": "{peak_megabytes:.0f}",
        "collectives": "{collective_count}",
        "copies of data": "{data_set_copies}",
        "s to compile": "{seconds_to_compile:.0f}",
        "least ms": "{least_milliseconds:.2f}",
        "images/s": "{images_per_second:,.0f}",
    }
    result = rich.table.Table(*columns)
    for row in rows:
        count = sum(count for count, _ in row["collectives"].values())
        result.add_row(*(cell.format(**row, collective_count=count) for cell in columns.values()))
    return result


if __name__ == "__main__":
    main()
