"""What the processor that the tests run on can do."""

import pathlib

import pytest

_INFO = pathlib.Path("/proc/cpuinfo")

# oneDNN refuses bfloat16 without it; sidae_jax computes in float32 then
HAS_AVX512 = "avx512bw" in (_INFO.read_text() if _INFO.exists() else "")
NATIVE_DTYPES = [
    "float32",
    pytest.param("bfloat16", marks=pytest.mark.skipif(not HAS_AVX512, reason="oneDNN's bfloat16 needs AVX-512")),
]
