"""The names in config.loggers, checked before anything is imported."""

import importlib.util

from sidae_jax.errors import UserError

# of the loggers, of their libraries, and of their extras in pyproject.toml
LOGGERS = ("tensorboard", "wandb", "mlflow", "trackio")


def names_in(text: str | None) -> list[str]:
    """Returns the names in a text such as "tensorboard,wandb", each once; none if it is empty or None."""
    return list(dict.fromkeys(name.strip() for name in (text or "").split(",") if name.strip()))


def require_installed(name: str) -> None:
    """Raises UserError if the library of a logger is not installed; imports nothing."""
    spec = importlib.util.find_spec(name)
    # without an origin it is only a folder of this name, such as the wandb/ that W&B itself leaves
    if spec is None or spec.origin is None:
        raise UserError(
            f"config.loggers has {name}, which is not installed: pip install 'sidae-jax[{name}]', or leave it out"
        )
