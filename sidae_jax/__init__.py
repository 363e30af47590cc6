"""Siamese denoising autoencoders (SidAE) and the methods they are compared with, in JAX.

From Python: `make_config`, `sample_views`, `train`, `evaluate`, `Run` and `load`; docs/python.md shows them. They are
imported when they are first used, since JAX takes seconds to import.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sidae_jax.api import evaluate, load, make_config, sample_views, train
    from sidae_jax.recorded_run import Run

__version__ = "0.2.0"
__all__ = ["Run", "__version__", "evaluate", "load", "make_config", "sample_views", "train"]


def __getattr__(name: str) -> Any:
    if name not in __all__:  # a submodule, which the import statement then looks for, or nothing
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from sidae_jax import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
