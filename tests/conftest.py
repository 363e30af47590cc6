"""Before JAX starts: eight fake devices, a compilation cache of the tests' own, and shapes checked by jaxtyping."""

import os
import pathlib
import sys
import tempfile

_CACHE = pathlib.Path(tempfile.gettempdir()) / "sidae_jax_tests"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
os.environ["XDG_CACHE_HOME"] = str(_CACHE / "cache")
os.environ["TFDS_DATA_DIR"] = str(_CACHE / "tfds")
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(_CACHE / "cache" / "sidae_jax" / "compiled")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.5"
(_CACHE / "tfds").mkdir(parents=True, exist_ok=True)

sys.path.insert(0, str(pathlib.Path(__file__).parent / "reference"))

import jaxtyping  # noqa: E402

jaxtyping.install_import_hook("sidae_jax", "beartype.beartype").__enter__()
