"""The parts of `throughput.py` in which the two sides take turns, for one precision of ours."""

from collections.abc import Callable

import numpy as np
from plans import FASTEST, OURS, PRECISIONS, TOLERANCES, Plan
from workers import Worker, WorkerError

EPOCHS = 50  # of the linear probe


class Comparison:
    """`files`: the paths of weights, batch, images, evaluated_images and evaluated_labels, which both sides read."""

    def __init__(self, plan: Plan, files: dict[str, str], environment: dict[str, str], precision: str):
        self.plan, self.files, self.environment, self.precision = plan, files, environment, precision

    def run(self, parts: list[str]) -> dict:
        plan, files, found = self.plan, self.files, {}
        with Worker("pytorch", self.environment) as theirs, Worker("jax", self.environment) as ours:
            found["pytorch_settings"], failed = self.fastest_setting(theirs)
            if failed:
                found["pytorch_failed"] = failed
            setting = max(found["pytorch_settings"], key=found["pytorch_settings"].get)
            if self.precision == FASTEST:
                found["our_precisions"] = self.fastest_precision(ours)
                self.precision = max(found["our_precisions"], key=found["our_precisions"].get)
            found["onednn"] = self.prepare(ours, self.precision)["onednn"]
            self.check_same_loss(ours, theirs)
            theirs("prepare", setting=setting, weights=files["weights"])
            if "step" in parts:
                found["step"] = self.step(ours, theirs, setting)
            if "pipeline" in parts:
                found["pipeline"] = self.pipeline(ours, theirs, setting)
            if "evaluate" in parts:
                words = [word for word in setting.split() if word in PRECISIONS]
                found["evaluate"] = self.evaluate(ours, theirs, " ".join([*words, "channels_last"]))
        for part in {"step", "pipeline", "evaluate"} & found.keys():
            found[part] |= {"precision": self.precision, "device": plan.device}
        return found

    def fastest_setting(self, theirs: Worker) -> tuple[dict[str, float], dict[str, str]]:
        """Images a second of each of PyTorch's settings, the best turn of a few, and what went wrong with others."""
        plan, weights = self.plan, self.files["weights"]
        theirs("weights", path=weights)
        theirs("ready", batch=self.files["batch"])
        times, failed = {}, {}
        for setting in plan.opponents(self.precision):
            try:
                theirs("prepare", setting=setting, weights=weights)
                theirs("step", setting=setting, times=plan.warm_up)
                times[setting] = []
            except WorkerError as error:
                failed[setting] = str(error)
        if not times:
            raise WorkerError(f"none of PyTorch's settings works: {failed}")
        for _ in range(plan.search_turns):
            for setting, turns in times.items():
                turns.append(theirs("step", setting=setting, times=plan.search_steps)["seconds"])
        theirs("drop")
        return {setting: plan.batch_size / min(turns) for setting, turns in times.items()}, failed

    def prepare(self, ours: Worker, precision: str) -> dict:
        prepared = ours("prepare", batch_size=self.plan.batch_size, weights=self.files["weights"], precision=precision)
        ours("ready", batch=self.files["batch"])
        return prepared

    def fastest_precision(self, ours: Worker) -> dict[str, float]:
        """Images a second of ours in each precision, after a step that compiles."""
        speeds = {}
        for precision in OURS:
            self.prepare(ours, precision)
            ours("step", times=self.plan.warm_up)
            speeds[precision] = self.plan.batch_size / ours("step", times=self.plan.steps)["seconds"]
        return speeds

    def check_same_loss(self, ours: Worker, theirs: Worker) -> None:
        """From the same weights on the same batch, PyTorch in float32."""
        theirs("prepare", setting="float32", weights=self.files["weights"])
        wanted, found = theirs("step", setting="float32")["loss"], ours("step")["loss"]
        theirs("drop")
        if not abs(found - wanted) <= TOLERANCES[self.plan.device][self.precision] * abs(wanted):
            raise WorkerError(f"the losses differ, ours {found}, PyTorch's {wanted}: nothing is worth timing")

    def step(self, ours: Worker, theirs: Worker, setting: str) -> dict:
        """Training steps on tensors that are ready, on the GPU if there is one."""
        steps, warm_up = self.plan.steps, self.plan.warm_up
        ours("step", times=warm_up)
        theirs("step", setting=setting, times=warm_up)  # `drop` has dropped what was compiled
        compared = self.compare(
            lambda: ours("step", times=steps)["seconds"],
            lambda: theirs("step", setting=setting, times=steps)["seconds"],
        )
        peaks = {"ours_peak_mb": ours("memory")["peak_mb"], "theirs_peak_mb": theirs("memory")["peak_mb"]}
        return compared | peaks | {"setting": setting}

    def compare(self, ours: Callable[[], float], theirs: Callable[[], float], images: int | None = None) -> dict:
        """Images a second of both, and theirs / ours in seconds, pair by pair."""
        pairs = np.array([(ours(), theirs()) for _ in range(self.plan.pairs)])
        ratios = pairs[:, 1] / pairs[:, 0]
        low, middle, high = np.percentile(ratios, [25, 50, 75])
        speeds = (images or self.plan.batch_size) / np.median(pairs, axis=0)
        return {
            "ours": speeds[0],
            "theirs": speeds[1],
            "ratio": middle,
            "ratio_quartiles": [low, high],
            "pairs": pairs.tolist(),
        }

    def pipeline(self, ours: Worker, theirs: Worker, setting: str) -> dict:
        """The DataLoader has as many workers as serve it best, and is stopped with its queues as they are."""
        plan, images = self.plan, self.files["images"]

        def load(workers):
            theirs("load", images=images, batch_size=plan.batch_size, workers=workers)
            theirs("pipeline", setting=setting, times=plan.warm_up)  # fills the queues

        theirs_by_workers = {}
        for workers in plan.data_workers:
            load(workers)
            theirs_by_workers[workers] = theirs("pipeline", setting=setting, times=plan.data_steps)["seconds"]
        workers = min(theirs_by_workers, key=theirs_by_workers.get)
        load(workers)
        ours("load", images=images)
        ours("pipeline", times=plan.warm_up)  # compiles
        compared = self.compare(
            lambda: ours("pipeline", times=plan.pipeline_steps)["seconds"],
            lambda: theirs("pipeline", setting=setting, times=plan.pipeline_steps)["seconds"],
        )
        return compared | {"setting": setting, "workers": workers, "seconds_by_workers": theirs_by_workers}

    def evaluate(self, ours: Worker, theirs: Worker, setting: str) -> dict:
        """Theirs is an epoch's time, all being alike, times the number of epochs."""
        data = {"images": self.files["evaluated_images"], "labels": self.files["evaluated_labels"]}
        ours("evaluate", **data, epochs=EPOCHS)  # compiles
        theirs("evaluate", **data, setting=setting)
        return self.compare(
            lambda: ours("evaluate", **data, epochs=EPOCHS)["seconds"],
            lambda: EPOCHS * theirs("evaluate", **data, setting=setting)["seconds"],
            images=self.plan.evaluated_images,
        ) | {"setting": setting, "images": self.plan.evaluated_images, "epochs": EPOCHS}
