"""What each library's own reader finds in a workdir: for the tests of the loggers."""

import io
import json
import os
import struct
import subprocess
import sys

import numpy as np
from PIL import Image


def read_tensorboard(workdir):
    """({tag: {step: value}}, {tag: {step: picture}})"""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(workdir / "tensorboard"), {"scalars": 0, "images": 0})
    events.Reload()
    tags = events.Tags()
    scalars = {tag: _by_step([(e.step, e.value) for e in events.Scalars(tag)]) for tag in tags["scalars"]}
    images = {
        tag: _by_step([(e.step, _decoded(e.encoded_image_string)) for e in events.Images(tag)])
        for tag in tags["images"]
    }
    return scalars, images


def read_hparams(workdir):
    """The parameters that TensorBoard compares runs by."""
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    runs = EventMultiplexer().AddRun(str(workdir / "tensorboard"), "run").Reload()
    (content,) = runs.PluginRunToTagToContent("hparams")["run"].values()
    hparams = HParamsPluginData.FromString(content).session_start_info.hparams
    return {name: value.string_value or value.number_value for name, value in hparams.items()}


def read_wandb(workdir):
    """For each start, by time, what W&B's own messages in its offline file say."""
    from wandb.proto import wandb_internal_pb2

    starts = []
    for path in sorted(workdir.glob("wandb/offline-run-*/*.wandb")):
        found = {"id": path.stem.removeprefix("run-"), "history": {}, "pictures": {}}
        for data in _leveldb_records(path.read_bytes()):
            record = wandb_internal_pb2.Record.FromString(data)
            kind = record.WhichOneof("record_type")
            if kind == "run":
                found["run"] = record.run
                found["config"] = {item.key: json.loads(item.value_json) for item in record.run.config.update}
            elif kind == "history":
                row = {".".join(i.nested_key) or i.key: json.loads(i.value_json) for i in record.history.item}
                step = record.history.step.num
                found["history"].setdefault(step, {}).update(row)
                for name in (key.removesuffix(".path") for key in row if key.endswith(".path")):
                    picture = np.asarray(Image.open(path.parent / "files" / row[f"{name}.path"]))
                    found["pictures"].setdefault(step, {})[name] = picture
            elif kind == "exit":
                found["exit"] = record.exit.exit_code
        starts.append(found)
    return starts


def _leveldb_records(data):
    """The records of LevelDB's log format, which follow a header of seven bytes, in blocks of 32 KiB."""
    assert data[:4] == b":W&B"
    position, parts = 7, []
    while position + 7 <= len(data):
        if (left := 32768 - position % 32768) < 7:
            position += left
            continue
        _, length, kind = struct.unpack("<IHB", data[position : position + 7])
        if kind == 0 or position + 7 + length > len(data):  # not written to its end: a run that was killed
            return
        parts.append(data[position + 7 : position + 7 + length])
        position += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield b"".join(parts)
            parts = []


def read_mlflow(workdir):
    """(the run, {metric: {step: value}}, the paths of its pictures)"""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{workdir}/mlflow/mlflow.db")
    (experiment,) = (e for e in client.search_experiments() if e.name != "Default")
    (run,) = client.search_runs([experiment.experiment_id])
    histories = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
    values = {name: _by_step([(m.step, m.value) for m in history]) for name, history in histories.items()}
    paths = [file.path for file in client.list_artifacts(run.info.run_id, "images")]
    return run, values, [path for path in paths if path.endswith(".png")]


def read_trackio(workdir):
    """(name, config, {metric: {step: value}}, {picture: {step: file}}), read by a process of its own."""
    program = (
        "import json; from trackio.sqlite_storage import SQLiteStorage as S; (run,) = S.get_run_records('sidae_jax'); "
    )
    program += (
        "name = run['name']; print(json.dumps([name, *(f('sidae_jax', name) for f in (S.get_run_config, S.get_logs))]))"
    )
    environment = os.environ | {"TRACKIO_DIR": str(workdir / "trackio")}
    out = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    name, config, logs = json.loads(out.stdout)
    pairs, pictures = {}, {}
    for log in logs:
        step = log.pop("step")
        del log["timestamp"]
        for key, value in log.items():
            if isinstance(value, dict):
                assert (workdir / "trackio" / "media" / value["file_path"]).exists()
                pictures.setdefault(key, {})[step] = value["file_path"]
            else:
                pairs.setdefault(key, []).append((step, value))
    return name, config, {key: _by_step(of) for key, of in pairs.items()}, pictures


def _by_step(pairs):
    assert len(dict(pairs)) == len(pairs), f"a step stands twice: {pairs}"
    return dict(pairs)


def _decoded(png):
    return np.asarray(Image.open(io.BytesIO(png)))
