"""The commands in launch/ are ones that the programs take; what several places of a file say is the same."""

import json
import os
import pathlib
import re
import shlex
import stat
import subprocess
import sys

import pytest
import yaml

ROOT = pathlib.Path(__file__).parent.parent
LAUNCH = ROOT / "launch"
_PARSE = """
import importlib, json, sys
from absl import flags
from sidae_jax import cli, config, config_files, evaluation
from sidae_jax.evaluation.config import protocol, validate as validate_evaluation
pretraining = sys.argv[1] == "sidae_jax.main"
importlib.import_module(sys.argv[1])
rest, overrides = cli.split(sys.argv[2:])
assert flags.FLAGS(["program", *rest]) == ["program"]
values = config_files.load_config(flags.FLAGS.config, overrides, None if pretraining else protocol)
(config.validate if pretraining else validate_evaluation)(values)
print(json.dumps({name: flags.FLAGS[name].value for name in flags.FLAGS}, default=str))
"""


def options(command):
    """The options of `python -m MODULE ARGUMENTS`, read by the program's own parser; its config is checked too."""
    python, m, module, *arguments = command
    assert (pathlib.Path(python).name, m) == ("python", "-m")
    done = subprocess.run(
        [sys.executable, "-c", _PARSE, module, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return module, json.loads(done.stdout)


def containers(name):
    """The documents by their kinds, the specification of the job, and that of its pods."""
    found = {document["kind"]: document for document in yaml.safe_load_all((LAUNCH / name).read_text())}
    job = found["JobSet"]["spec"]["replicatedJobs"][0]["template"] if "JobSet" in found else found["Job"]
    return found, job["spec"], job["spec"]["template"]["spec"]


def pod_command(pod):
    (container,) = pod["containers"]
    return [word.replace("$(JOB_COMPLETION_INDEX)", "1") for word in container["command"] + container["args"]]


def stand_in(folder, name):
    """A program that prints its arguments, a line each."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_kubernetes_starts_the_processes_of_one_run():
    found, job, pod = containers("kubernetes.yaml")
    jobset = found["JobSet"]
    module, flags = options(pod_command(pod))
    assert module == "sidae_jax.main"
    assert flags["process_id"] == 1
    assert flags["num_processes"] == job["parallelism"] == job["completions"]
    (workers,) = jobset["spec"]["replicatedJobs"]
    host, port = flags["coordinator"].split(":")
    # JobSet's names: <set>-<replicated job>-<job>-<pod>.<subdomain>
    assert host == f"{jobset['metadata']['name']}-{workers['name']}-0-0.{jobset['spec']['network']['subdomain']}"
    assert [int(port)] == [each["containerPort"] for each in pod["containers"][0]["ports"]]
    # all processes start again when one has ended, and continue
    assert (job["backoffLimit"], pod["restartPolicy"], job["completionMode"]) == (0, "Never", "Indexed")
    assert jobset["spec"]["failurePolicy"]["maxRestarts"] > 0
    assert pod["terminationGracePeriodSeconds"] >= 60


@pytest.mark.parametrize("name", ["kubernetes.yaml", "kubernetes_eval.yaml"])
def test_kubernetes_writes_to_the_shared_folder(name):
    _, _, pod = containers(name)
    _, flags = options(pod_command(pod))
    claim = containers("kubernetes.yaml")[0]["PersistentVolumeClaim"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    (shared,) = (v["name"] for v in pod["volumes"] if v.get("persistentVolumeClaim", {}).get("claimName") == "sidae")
    assert claim["metadata"]["name"] == "sidae"
    (mount,) = (m["mountPath"] for m in pod["containers"][0]["volumeMounts"] if m["name"] == shared)
    assert flags["workdir"].startswith(mount + "/")
    assert pod["containers"][0]["env"][0]["value"].startswith(mount + "/")


@pytest.mark.parametrize("name", ["skypilot", "skypilot_eval"])
def test_skypilot_runs_a_command_of_ours(name, tmp_path):
    task = yaml.safe_load((LAUNCH / f"{name}.yaml").read_text())
    stand_in(tmp_path / "venv" / "bin", "python")
    environment = os.environ | task["envs"]
    environment |= {"SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2", "SKYPILOT_NUM_NODES": "2", "SKYPILOT_NODE_RANK": "1"}
    done = subprocess.run(
        ["bash", "-c", task["run"]], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stderr) == (0, "")
    module, flags = options(["python", *done.stdout.splitlines()])
    (shared,) = task["volumes"]
    assert flags["workdir"].startswith(shared + "/")
    if name == "skypilot":
        assert module == "sidae_jax.main"
        assert (flags["coordinator"], flags["num_processes"], flags["process_id"]) == ("10.0.0.1:8476", 2, 1)
    else:
        assert (module, task["num_nodes"]) == ("sidae_jax.linear_eval", 1)


@pytest.mark.parametrize(
    ("action", "arguments", "worker", "program"),
    [
        ("start", ["--config=configs/stl10.py", "--workdir=/mnt/runs/my run"], "all", "sidae_jax.main"),
        ("evaluate", ["--workdir=/mnt/runs/my run"], "0", "sidae_jax.linear_eval"),
    ],
)
def test_tpu_vm_runs_a_command_of_ours(action, arguments, worker, program, tmp_path):
    stand_in(tmp_path, "gcloud")
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "NAME": "n", "ZONE": "z", "PROJECT": "p"}
    done = subprocess.run(
        [LAUNCH / "tpu_vm.sh", action, *arguments], env=environment, capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"--worker={worker}\n" in done.stdout
    (line,) = (line for line in done.stdout.splitlines() if "venv/bin/python" in line)
    module, flags = options(shlex.split(re.sub(r"^nohup |>>.*$", "", line.strip())))
    assert (module, flags["workdir"]) == (program, "/mnt/runs/my run")


def test_the_configs_and_files_that_the_headers_name_are_there():
    for path in LAUNCH.iterdir():
        for config in re.findall(r"configs/[\w/]+\.py", path.read_text()):
            assert (ROOT / config).exists(), f"{path.name} names {config}"
        for other in re.findall(r"launch/[\w.]+(?<!\.)", path.read_text()):
            assert (ROOT / other).exists(), f"{path.name} names {other}"
