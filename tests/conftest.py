"""Before JAX starts: fake devices, caches of the tests' own, shapes checked by jaxtyping. Then, shared fixtures."""

import importlib.util
import os
import pathlib
import socket
import sys
import tempfile

_CACHE = pathlib.Path(tempfile.gettempdir()) / "sidae_jax_tests"
# compiling takes most of the tests' time, and about a quarter less of it at LLVM's first level
os.environ["XLA_FLAGS"] = " ".join(
    (
        "--xla_backend_optimization_level=1",
        os.environ.get("XLA_FLAGS", ""),
        "--xla_force_host_platform_device_count=8",
    )
)
os.environ["XDG_CACHE_HOME"] = str(_CACHE / "cache")
os.environ["TFDS_DATA_DIR"] = str(_CACHE / "tfds")
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(_CACHE / "cache" / "sidae_jax" / "compiled")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.5"
(_CACHE / "tfds").mkdir(parents=True, exist_ok=True)

sys.path.insert(0, str(pathlib.Path(__file__).parent / "reference"))

import jaxtyping  # noqa: E402
import pytest  # noqa: E402

jaxtyping.install_import_hook("sidae_jax", "beartype.beartype").__enter__()

from sidae_jax.data import prepare  # noqa: E402
from sidae_jax.networks import conv_onednn  # noqa: E402


@pytest.fixture(scope="module")
def prepared_digits(tmp_path_factory) -> pathlib.Path:
    """A TFDS folder with the digits, prepared while every connection is an error."""
    folder = tmp_path_factory.mktemp("tfds")

    def refuse(*_):
        raise AssertionError("preparing the digits opened a connection")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        prepare.prepared_builder("digits", str(folder))
    return folder


@pytest.fixture
def cache_folder(tmp_path, monkeypatch) -> pathlib.Path:
    """The package's cache, empty and of one test alone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "sidae_jax"


@pytest.fixture(params=["XLA", "oneDNN"])
def convolutions(request):
    """A test with it runs twice: with XLA's convolutions, and with oneDNN's where the optional package is installed."""
    if request.param == "oneDNN" and importlib.util.find_spec("sidae_jax_native") is None:
        pytest.skip("sidae_jax_native is not installed: pip install ./native")
    with conv_onednn.use(request.param == "oneDNN"):
        yield
