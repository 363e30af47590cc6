"""Compute what a report shows of a run's last checkpoint: views, reconstructions and a t-SNE projection.

python -m sidae_jax.pictures [--workdir=DIR] [--config.KEY=VALUE ...]
"""

from sidae_jax import interrupt  # noqa: F401, I001 (first: what follows takes a while to import)

from collections.abc import Callable

from absl import flags
from ml_collections import ConfigDict

from sidae_jax import cli
from sidae_jax.evaluation.config import pictures
from sidae_jax.runs import newest

flags.adopt_module_key_flags(cli)  # --help shows them
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the pre-training run; by default the newest in runs/.")


def main(load: Callable[[], ConfigDict]) -> None:
    """Writes the pictures that the report draws. Raises UserError."""
    config = load()
    workdir = _WORKDIR.value or newest.announce(newest.newest_run())

    # Only now what takes seconds to import.
    from sidae_jax import runtime
    from sidae_jax.evaluation.make_pictures import write

    runtime.require_single_process("pictures")
    runtime.start()
    print(f"pictures in {write(config, workdir)}; sidae_jax.report draws them")


if __name__ == "__main__":
    cli.run(main, default=pictures)
