"""Compiles convolution.cc against the headers of jaxlib and oneDNN; pyproject.toml holds all the rest."""

import importlib.metadata
import platform
import sys

if (sys.platform, platform.machine()) != ("linux", "x86_64"):
    sys.exit("sidae-jax-native needs Linux on x86-64, for which oneDNN is packaged; sidae_jax works without it")

import jax
import setuptools


def _folder(distribution: str, *end: str) -> str:
    """Returns the folder of an installed file. oneDNN's lie in the environment's include and lib, not in a package."""
    paths = importlib.metadata.files(distribution) or []
    return str(next(path for path in paths if path.parts[-len(end) :] == end).locate().resolve().parent)


# A plain shared library: Python loads it with ctypes, so it needs no PyInit function. It has no rpath, because pip
# builds it beside a temporary copy of oneDNN; __init__.py loads the installed one first.
setuptools.setup(
    ext_modules=[
        setuptools.Extension(
            "sidae_jax_native._convolution",
            sources=["src/sidae_jax_native/convolution.cc"],
            depends=["src/sidae_jax_native/program.h", "src/sidae_jax_native/state.h"],
            include_dirs=[jax.ffi.include_dir(), _folder("onednn-devel-cpu-gomp", "include", "dnnl.hpp")],
            library_dirs=[_folder("onednn-cpu-gomp", "libdnnl.so")],
            libraries=["dnnl"],
            extra_compile_args=["-std=c++17", "-O2", "-g0", "-Wall"],
        )
    ]
)
