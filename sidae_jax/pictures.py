"""Write what the report's pictures show of a run's last checkpoint: views, reconstructions and a t-SNE projection.

python -m sidae_jax.pictures --workdir=DIR [--config.KEY=VALUE ...]
"""

from absl import flags
from ml_collections import ConfigDict

from sidae_jax import cli
from sidae_jax.errors import UserError
from sidae_jax.evaluation.config import pictures

flags.adopt_module_key_flags(cli)  # --help shows them
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the pre-training run.")


def main(config: ConfigDict) -> None:
    """Raises UserError."""
    if _WORKDIR.value is None:
        raise UserError("--workdir is missing: give the folder of a pre-training run, such as --workdir=runs/cifar10")

    # Only now what takes seconds to import.
    from sidae_jax import runtime
    from sidae_jax.evaluation.pictures import write

    runtime.alone("pictures")
    runtime.start()
    print(f"pictures in {write(config, _WORKDIR.value)}; sidae_jax.report draws them")


if __name__ == "__main__":
    cli.run(main, default=pictures)
