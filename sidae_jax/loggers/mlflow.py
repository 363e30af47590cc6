"""MLflow: an SQLite file in the workdir's mlflow/, unless MLFLOW_TRACKING_URI names a server."""

import logging
import os
import time
from collections.abc import Mapping

import numpy as np
from jaxtyping import UInt8

from sidae_jax.config_values import flat
from sidae_jax.loggers.protocol import PROJECT, LoggedRun, keep_id, kept_id, one_picture

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when it is imported

from mlflow import MlflowClient, MlflowException
from mlflow.entities import Metric, Param


class MLflow:
    """An MLflow run whose id is kept in mlflow/run_id."""

    def __init__(self, run: LoggedRun):
        logging.getLogger("mlflow").setLevel(logging.WARNING)  # it tells that it makes the tables
        folder = run.folder / "mlflow"
        folder.mkdir(exist_ok=True)
        server = os.environ.get("MLFLOW_TRACKING_URI")
        self._client = MlflowClient(tracking_uri=server or f"sqlite:///{folder}/mlflow.db")
        run_id = kept_id(folder)
        if run_id is None or not self._goes_on(run_id):
            run_id = self._begin(run, None if server else (folder / "artifacts").as_uri())
            keep_id(folder, run_id)
        self._id = run_id
        history = self._client.get_metric_history(self._id, "loss")
        self._next = max((metric.step for metric in history), default=-1) + 1

    def _goes_on(self, run_id: str) -> bool:
        """Returns whether the run is there, which it is not after a change of the server."""
        try:
            self._client.update_run(run_id, status="RUNNING")
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return False
        return True

    def _begin(self, run: LoggedRun, artifacts: str | None) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        experiment = self._client.get_experiment_by_name(name)
        number = experiment.experiment_id if experiment else self._client.create_experiment(name, artifacts)
        run_id = self._client.create_run(number, run_name=run.name, tags={"group": run.group}).info.run_id
        self._client.log_batch(run_id, params=[Param(key, str(value)) for key, value in flat(run.config).items()])
        return run_id

    def log(self, values: Mapping[str, float | int], step: int) -> None:
        """Logs values by their names at a step."""
        if step < self._next:  # MLflow takes none back: a step done again has the values that it had
            return
        now = time.time_ns() // 10**6
        metrics = [Metric(name, value, now, step) for name, value in values.items()]
        self._client.log_batch(self._id, metrics=metrics)

    def pictures(self, name: str, images: UInt8[np.ndarray, "n h w 3"], step: int) -> None:
        """Logs images, 0..255, as one picture with a row for each."""
        self._client.log_image(self._id, one_picture(images), key=name, step=step)

    def close(self, *, finished: bool) -> None:
        """Sets the state of the run."""
        self._client.set_terminated(self._id, "FINISHED" if finished else "KILLED")
