"""Floating-point operations and bytes of a SidAE step, and what they allow on accelerators at the most.

    python benchmarks/roofline.py [--batch_size=512]

Counted by XLA in the compiled program with its own convolutions, those that GPUs and TPUs use. The bytes are those of
the program compiled for this machine, whose fusions are not an accelerator's: read them as an upper bound of what an
accelerator moves, and the images per second that follow from them as a lower bound of its roof.
"""

import argparse
import functools

import jax
import numpy as np
import rich.console
import rich.table

from sidae_jax import config, mesh
from sidae_jax.methods import make_method
from sidae_jax.methods.batch import Batch
from sidae_jax.networks import conv
from sidae_jax.training import step

# name: (peak operations a second, bytes a second), from the vendors' data sheets
DEVICES = {
    "A100 80 GB SXM, TF32": (156e12, 2.04e12),
    "H100 SXM, TF32 dense": (494e12, 3.35e12),
    "TPU v4, one of a chip's two cores, bfloat16": (137.5e12, 0.614e12),
}


def count(batch_size: int) -> dict[str, float]:
    """FLOPs and bytes of one update on ready views."""
    conv.lax.platform_dependent = lambda *arguments, default, **_: default(*arguments)
    settings = config.pretraining("sidae", "cifar10", batch_size=batch_size)
    optimizer, _ = step.make_optimizer(settings.lr, settings.momentum, settings.weight_decay, 10)
    graphdef, state = step.create_state(make_method(settings, mesh.AXIS), optimizer)
    image = jax.ShapeDtypeStruct((batch_size, 32, 32, 3), np.float32)
    label = jax.ShapeDtypeStruct((batch_size,), np.int32)
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), batch_size))
    update = functools.partial(step.update, graphdef=graphdef, optimizer=optimizer)
    one_device = jax.sharding.Mesh(jax.devices()[:1], (mesh.AXIS,))
    # the views are ready, so the step's key, from which they would be drawn, is not used
    mapped = step.data_parallel(lambda state, inputs, _: update(state, *inputs), one_device)
    batch = Batch(image, image, image, label)
    costs = mapped.lower(state, (batch, keys), jax.random.key(0)).compile().cost_analysis()
    return {"flops": costs["flops"], "bytes": costs["bytes accessed"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch_size", type=int, default=512)
    batch_size = parser.parse_args().batch_size
    costs = count(batch_size)
    print(f"a step of {batch_size} images: {costs['flops'] / 1e9:.1f} GFLOP, {costs['bytes'] / 1e9:.2f} GB accessed")
    table = rich.table.Table()
    for column in ("device", "images/s by operations", "images/s by bytes", "bound by"):
        table.add_column(column)
    for name, (operations, bandwidth) in DEVICES.items():
        by_flops, by_bytes = batch_size * operations / costs["flops"], batch_size * bandwidth / costs["bytes"]
        table.add_row(name, f"{by_flops:,.0f}", f"{by_bytes:,.0f}", "bytes" if by_bytes < by_flops else "operations")
    rich.console.Console(soft_wrap=True).print(table)


if __name__ == "__main__":
    main()
