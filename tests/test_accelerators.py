"""The programs that the compilers for GPUs and TPUs make of the train step: what they must not do again.

It needs the compilers (extra `aot`), and no accelerator. The figures are those of the versions in that extra.
"""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(
    not (importlib.util.find_spec("jax_plugins.xla_cuda12") if importlib.util.find_spec("jax_plugins") else None)
    or not importlib.util.find_spec("libtpu"),
    reason="needs the compilers: pip install -e '.[aot]'",
)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """A function (target, methods, precisions[, flags for XLA]) -> the figures by method and precision."""

    def compile_for(target, methods, precisions, xla_flags=""):
        out = tmp_path_factory.mktemp("accelerators") / "figures.json"
        program = [sys.executable, str(ROOT / "benchmarks/accelerators.py"), "--programs=resident", f"--output={out}"]
        choice = [f"--targets={target}", f"--methods={methods}", f"--precisions={precisions}"]
        subprocess.run([*program, *choice], check=True, env=os.environ | {"XLA_FLAGS": xla_flags})
        return {(row["method"], row["precision"]): row for row in json.loads(out.read_text())}

    return compile_for


@pytest.fixture(scope="module")
def h100(compiled):
    return compiled("h100", "sidae,simsiam", "tensorfloat32,bfloat16")


# at most 2% above what was counted on 25 November 2026 (jax 0.10.2); before: 8.46 GB, 599 kernels, windows of 31x31
@pytest.mark.parametrize(
    ("method", "precision", "gigabytes", "kernels"),
    [
        ("sidae", "tensorfloat32", 6.37, 495),
        ("sidae", "bfloat16", 3.85, 512),
        ("simsiam", "tensorfloat32", 4.52, 400),
        ("simsiam", "bfloat16", 2.81, 416),
    ],
)
def test_a_step_on_an_h100(h100, method, precision, gigabytes, kernels):
    found = h100[method, precision]
    assert 0.9 * gigabytes < found["gigabytes"] <= gigabytes
    assert 0.9 * kernels < found["kernels"] <= kernels
    assert found["largest_window"] == 7  # the first convolution; gradients of transposed ones once had 31
    assert found["gigaflops"] == pytest.approx({"sidae": 236, "simsiam": 189}[method], rel=0.02)


def test_with_deterministic_the_step_is_the_same_program(h100, compiled):
    """XLA would replace operations without the same bits in every run, or refuse to compile them."""
    found = compiled("h100", "sidae", "tensorfloat32", "--xla_gpu_deterministic_ops=true")["sidae", "tensorfloat32"]
    for key in ("kernels", "gigabytes", "gigaflops"):
        assert found[key] == h100["sidae", "tensorfloat32"][key]


def test_a_step_on_tpus_copies_no_data_set(compiled):
    found = compiled("v5e:2x4", "sidae", "bfloat16")["sidae", "bfloat16"]
    assert found["data_set_copies"] == 0
    assert 2.9 < found["gigabytes"] <= 3.32
