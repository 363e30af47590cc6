"""--deterministic: what XLA itself was told, read from the options that it writes beside the programs it compiles."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parent.parent
FAST = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
TINY = ["--config=configs/digits.py:simsiam", "--config.width=4", "--config.d_hid=8", "--config.batch_size=16"]
TINY += ["--config.train_split=train[:16]", "--config.epochs=1"]


def run(folder, xla_flags, *arguments):
    environment = os.environ | {"XLA_FLAGS": xla_flags, "JAX_ENABLE_COMPILATION_CACHE": "false"}
    command = [sys.executable, "-m", "sidae_jax.main", f"--workdir={folder / 'run'}", *TINY, *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False)


def options_that_xla_had(dump):
    """The options of the programs compiled, by name; XLA writes only those that are not its defaults."""
    found = [path.read_text() for path in dump.glob("*debug_options*")]
    assert found
    return set.intersection(*(set(text.splitlines()) for text in found))


def test_it_adds_xla_s_option_to_the_user_s_own(tmp_path):
    found = {}
    for name, arguments, flags in (
        ("without", [], ""),
        ("with", ["--deterministic"], ""),
        ("own", ["--deterministic"], " --xla_gpu_deterministic_ops=true"),
    ):
        dump = tmp_path / name / "dump"
        result = run(tmp_path / name, f"{FAST} --xla_dump_to={dump}{flags}", *arguments)
        assert result.returncode == 0, result.stderr
        found[name] = options_that_xla_had(dump)
        assert "xla_backend_optimization_level: 0" in found[name]
    wanted = "xla_gpu_deterministic_ops: true"
    assert {name: wanted in options for name, options in found.items()} == {"without": False, "with": True, "own": True}
    assert "xla_gpu_deterministic_ops: false" not in found["without"]


def test_an_option_of_the_user_that_asks_for_the_opposite_is_a_mistake(tmp_path):
    result = run(tmp_path, "--xla_gpu_deterministic_ops=false", "--deterministic")
    assert result.returncode == 2
    assert "--deterministic contradicts XLA_FLAGS=--xla_gpu_deterministic_ops=false: leave" in result.stderr
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []
