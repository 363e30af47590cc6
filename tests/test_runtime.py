"""The compilation cache's limit, and programs that run in one process."""

import os
import socket
import subprocess
import sys

import pytest

from sidae_jax import runtime


def test_the_programs_used_longest_ago_are_removed(tmp_path):
    for i, name in enumerate(("b-cache", "c-cache", "a-cache", "d-cache")):
        (tmp_path / name).write_bytes(bytes(100))
        os.utime(tmp_path / name, (1000 + i, 1000))  # used one after another
    (tmp_path / "other").write_bytes(bytes(1000))
    for limit, kept in ((400, "abcd"), (399, "acd"), (250, "ad"), (0, "")):
        runtime.trim(tmp_path, limit)
        assert sorted(path.name[0] for path in tmp_path.glob("*-cache")) == list(kept)
    assert (tmp_path / "other").exists()
    runtime.trim(tmp_path / "missing", 0)


@pytest.mark.parametrize(
    ("settings", "kept"),
    [({}, False), ({"JAX_COMPILATION_CACHE_MAX_SIZE": "-1"}, True), ({"JAX_COMPILATION_CACHE_DIR": "elsewhere"}, True)],
)
def test_the_limit_is_ours_unless_the_user_has_one(settings, kept, tmp_path):
    program = tmp_path / "sidae_jax" / "compiled" / "a-cache"
    program.parent.mkdir(parents=True)
    program.write_bytes(bytes(100))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_COMPILATION_CACHE")}
    environment |= {"XDG_CACHE_HOME": str(tmp_path), **settings}
    command = "from sidae_jax import runtime; runtime._CACHE_BYTES = 99; runtime.start()"
    subprocess.run([sys.executable, "-c", command], env=environment, check=True, timeout=60, cwd=tmp_path)
    assert program.exists() == kept


@pytest.mark.parametrize("program", ["linear_eval", "pictures", "export"])
def test_tasks_of_a_slurm_step_are_refused_before_any_work(program, tmp_path):
    for task in "0", "1":
        environment = {**os.environ, "SLURM_STEP_NUM_TASKS": "2", "SLURM_NTASKS": "2", "SLURM_PROCID": task}
        command = [sys.executable, "-m", f"sidae_jax.{program}", f"--workdir={tmp_path}"]
        command += [f"--out={tmp_path}/encoder.safetensors"] if program == "export" else []
        result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        assert result.returncode == 2
        assert f"error: {program} was started in 2 processes" in result.stderr
        assert f"srun --ntasks=1 python -m sidae_jax.{program}" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_joined_processes_are_refused(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    program = (
        "import sys\n"
        "from sidae_jax import runtime, errors\n"
        "from sidae_jax.evaluation import config, make_pictures, run\n"
        "runtime.start(coordinator=sys.argv[1], num_processes=2, process_id=int(sys.argv[2]))\n"
        "for write, settings in ((run.evaluate, config.protocol()), (make_pictures.write, config.pictures())):\n"
        "    try: write(settings, sys.argv[3])\n"
        "    except errors.UserError as error: print(error)"
    )
    command = [sys.executable, "-c", program, address]
    several = [subprocess.Popen([*command, str(i), tmp_path], stdout=subprocess.PIPE, text=True) for i in range(2)]
    for process in several:
        output, _ = process.communicate(timeout=120)
        assert "linear_eval was started in 2 processes" in output
        assert "pictures was started in 2 processes" in output
