"""launch/*.yaml against the schemas of Kubernetes, JobSet and SkyPilot, as their own packages have them.

They are in no extra: .ci/run gives them an environment of their own, without SkyPilot, which brings a hundred packages
and takes two minutes to install. `pip install skypilot` before the tests checks its files too.
"""

import copy
import pathlib

import pytest
import yaml

kubernetes_validate = pytest.importorskip("kubernetes_validate")
trainer = pytest.importorskip("kubeflow_trainer_api.models")  # generated from JobSet's OpenAPI description


@pytest.fixture
def sky():
    return pytest.importorskip("sky")


LAUNCH = pathlib.Path(__file__).parent.parent / "launch"
VERSION = "1.33"


def documents(name):
    return {document["kind"]: document for document in yaml.safe_load_all((LAUNCH / name).read_text())}


def check_job(job):
    """Strict: a key that Kubernetes does not know is an error. The description alone says what a value may be."""
    kubernetes_validate.validate(job, VERSION, strict=True)


def check_jobset(jobset):
    assert jobset["apiVersion"] == "jobset.x-k8s.io/v1alpha2"
    # a key that JobSet does not know would be lost on the way
    assert trainer.JobsetV1alpha2JobSet.from_dict(jobset).to_dict() == jobset
    for replicated in jobset["spec"]["replicatedJobs"]:
        check_job({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x"}} | replicated["template"])


def test_kubernetes():
    found = documents("kubernetes.yaml")
    assert set(found) == {"PersistentVolumeClaim", "JobSet"}
    kubernetes_validate.validate(found["PersistentVolumeClaim"], VERSION, strict=True)
    check_jobset(found["JobSet"])
    check_job(documents("kubernetes_eval.yaml")["Job"])


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["spec", "failurePolicy", "maxRestart"], 3),
        (["spec", "network", "subDomain"], "sidae"),
        (["spec", "replicatedJobs", 0, "replicas"], "one"),
        (["spec", "replicatedJobs", 0, "template", "spec", "backoffLimits"], 0),
        (["spec", "replicatedJobs", 0, "template", "spec", "template", "spec", "containers", 0, "arg"], ["x"]),
        (["spec", "replicatedJobs", 0, "template", "spec", "template", "spec", "terminationGracePeriodSeconds"], "2m"),
    ],
)
def test_a_mistake_is_found(path, value):
    jobset = copy.deepcopy(documents("kubernetes.yaml")["JobSet"])
    inner = jobset
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises((AssertionError, ValueError, kubernetes_validate.ValidationError)):
        check_jobset(jobset)


@pytest.mark.parametrize(("name", "nodes", "gpus"), [("skypilot", 2, 4), ("skypilot_eval", 1, 1)])
def test_skypilot(name, nodes, gpus, monkeypatch, sky):
    monkeypatch.chdir(LAUNCH.parent)  # its `workdir: .` is where it is started
    task = sky.Task.from_yaml(str(LAUNCH / f"{name}.yaml"))
    (resources,) = task.resources
    assert (task.num_nodes, resources.accelerators, resources.use_spot) == (nodes, {"A100": gpus}, True)
    assert task.envs["TFDS_DATA_DIR"].startswith("/shared/")
    if name == "skypilot":
        assert resources.job_recovery["recover_on_exit_codes"] == [143]


def test_skypilot_finds_a_mistake(tmp_path, sky):
    text = (LAUNCH / "skypilot.yaml").read_text()
    for old, new in (("use_spot", "use_spots"), ("num_nodes: 2", "num_nodes: two"), ("\nvolumes:", "\nvolume:")):
        (tmp_path / "task.yaml").write_text(text.replace(old, new))
        with pytest.raises(ValueError, match=r"Invalid|Found|Unrecognized"):
            sky.Task.from_yaml(str(tmp_path / "task.yaml"))
