"""The report's curves: which runs they join, their labels, and the published figures beside them."""

import re

import pytest
from report_files import PLAIN, TITLE, summary, texts, write_config, write_sweep

from sidae_jax.report import curves, summaries, training_curves
from sidae_jax.report.run_index import find_runs
from sidae_jax.report.run_styles import RunStyles


def by_epoch(summarized):
    return curves.accuracy_by_epoch(summarized, RunStyles(s.pretraining for s in summarized))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_sweep(tmp_path_factory.mktemp("runs"))


def test_the_figures_have_a_curve_a_run_and_their_labels(folder):
    summarized = summaries.summarize(summaries.read(find_runs(folder)))
    ((title, svg),) = by_epoch(summarized).items()
    assert title == TITLE
    labels = {"cifar10-sidae-w0.5", "cifar10-sidae-w0.25", "cifar10-simsiam", "test accuracy, %"}
    assert labels <= set(texts(svg))
    assert "epochs of pre-training on cifar10 (0: untrained)" in texts(svg)
    ((title, svg),) = curves.accuracy_by_weight(summarized).items()
    assert title.startswith("The weight w: linear probe")
    assert {
        "ours, pre-trained on cifar10; epoch 2 of 200",
        "published: 200 epochs, all images, width 64, five seeds",
    } <= set(texts(svg))
    assert "w (0: SimSiam, 1: denoising autoencoder)" in texts(svg)
    for number, text in enumerate(("", '{"step": 1, "epoch": 0.1, "lo')):  # runs that have just begun
        write_config(folder / f"cifar10-dae{number}" / "seed0", "dae")
        (folder / f"cifar10-dae{number}" / "seed0" / "metrics.jsonl").write_text(text)
    runs = find_runs(folder)
    drawn = training_curves.training_curves(runs, RunStyles(run.pretraining for run in runs))
    assert [title.partition(" ")[0] for title in drawn] == ["Loss", "Collapse"]


@pytest.mark.parametrize(("steps", "drawn"), [((0, 20), 0), ((20,), 0), ((10, 20), 1), ((0, 10, 20), 1)])
def test_a_curve_by_epoch_needs_two_checkpoints_beside_the_untrained(steps, drawn):
    runs = [summary(step=step, epoch=10.0 * step, task_protocol="online") for step in steps]
    assert len(by_epoch(runs)) == drawn


def test_the_figure_of_the_dimension_has_a_curve_for_each_method_run_with_several():
    def run(method, w, d, step, mean):
        return summary(mean, step, 10.0 * step, label=f"{method}-{d}", method=method, w=w, d_hid=d)

    runs = [run("sidae", 0.5, d, step, d / 100 + step) for d in (512, 1024, 2048) for step in (0, 10, 20)]
    runs += [run("simsiam", None, d, 20, 40.0) for d in (512, 2048)] + [run("dae", None, 2048, 20, 30.0)]
    ((title, svg),) = curves.accuracy_by_dimension(runs).items()
    assert title == f"The dimension d: {PLAIN}"
    assert {"512", "1024", "2048", "sidae, w = 0.5", "simsiam"} <= set(texts(svg))
    assert "dae" not in texts(svg)
    assert not curves.accuracy_by_weight(runs)  # one w alone


def test_a_curve_has_one_run_at_each_x_and_none_of_other_settings(caplog, monkeypatch):
    drawn, draw = [], curves._draw

    def draw_and_tell(axes, points, label, style):
        drawn.append((label, points))
        draw(axes, points, label, style)

    monkeypatch.setattr(curves, "_draw", draw_and_tell)

    def run(name, w, **changes):
        return summary(label=name, w=w, **changes)

    runs = [run("a", 0.25, mean=1.0), run("b", 0.5, mean=2.0), run("c", 0.5, mean=3.0)]
    runs += [run("d", 0.25, mean=4.0, settings=("lr = 1",)), run("e", 0.5, mean=5.0, settings=("lr = 1",))]
    runs += [run("f", 0.75, mean=6.0, images="train[:64]"), run("g", 0.75, mean=7.0, epoch=100.0)]
    runs += [summary(8.0, label="s", method="simsiam", w=None)]
    curves.accuracy_by_weight(runs)
    found = {label: [(x, s.mean) for x, s in points] for label, points in drawn}
    ours = "ours, pre-trained on cifar10"
    assert found == {ours: [(0.0, 8.0), (0.25, 1.0), (0.5, 2.0)], f"{ours}; lr = 1": [(0.25, 4.0), (0.5, 5.0)]}
    assert "b and c have the same settings and w = 0.5" in caplog.text
    assert caplog.text.count("have the same settings") == 1

    drawn.clear()
    curves.accuracy_by_dimension(
        [
            summary(d / 100, label=f"{name}{d}", d_hid=d, **changes)
            for d in (512, 1024)
            for name, changes in RUNS.items()
        ]
    )
    assert [label for label, _ in drawn] == ["sidae, w = 0.5", "sidae, w = 0.5; stem = cifar"]
    assert all(len(points) == 2 for _, points in drawn)
    said = "again1024 and plain1024 have the same settings and d = 1024: the curve shows only the first one"
    assert f"{said} (and so for 1 more)" in caplog.text


RUNS = {"plain": {}, "again": {}, "other": {"settings": ("stem = cifar",)}}


def test_no_published_curve_beside_runs_of_other_settings_alone():
    runs = [summary(label=str(w), w=w, settings=("lr = 1",)) for w in (0.25, 0.5)]
    (svg,) = curves.accuracy_by_weight(runs).values()
    assert not [text for text in texts(svg) if "published" in text]


def test_no_published_curve_beside_a_task_where_other_methods_alone_are_published():
    # the MLP probe, by which the report has its AE, VAE and SimCLR: they have no w
    runs = [summary(label=str(w), w=w, task_protocol="mlp") for w in (0.25, 0.5)]
    (svg,) = curves.accuracy_by_weight(runs).values()
    assert not [text for text in texts(svg) if "published" in text]


def test_the_supervised_line_is_of_the_same_task_and_labels():
    def run(protocol, fraction, step, mean, *settings, **changes):
        of = {"task_protocol": protocol, "task_label_fraction": fraction, "task_settings": settings}
        return summary(mean, step, 10.0 * step, **of, **changes)

    probes = [run("linear", fraction, step, 40.0 + step) for fraction in (0.01, 1.0) for step in (0, 10, 20)]
    scratch = [run("finetune", 0.01, 0, 35.0), run("finetune", 0.01, 0, 30.0, "epochs = 3")]
    scratch += [run("finetune", 1.0, 0, 35.0, dataset="stl10"), run("finetune", 1.0, 0, 35.0, task_n_test=5)]
    one, all_labels = by_epoch([*probes, *scratch]).values()
    assert {"supervised, from scratch", "supervised, from scratch (epochs = 3)"} <= set(texts(one))
    assert not [text for text in texts(all_labels) if "from scratch" in text]


def test_a_supervised_line_far_from_the_curves_is_a_value_in_the_legend_alone():
    probes = [summary(40.0 + step, step, 10.0 * step) for step in (0, 10, 20)]  # from 40 to 60
    for mean, label in ((90.0, "90.0, above this"), (65.0, "supervised, from scratch")):
        (svg,) = by_epoch([*probes, summary(mean, 0, 0.0, task_protocol="finetune")]).values()
        assert label in texts(svg)
        assert "80" not in texts(svg)  # no tick of the axis, which is that of the curves
    (svg,) = by_epoch([*probes, summary(5.0, 0, 0.0, task_protocol="finetune")]).values()
    assert "5.0, below this" in texts(svg)


def test_fine_tuning_has_the_line_of_its_untrained_backbones():
    runs = [summary(30.0 + step, step, 10.0 * step, task_protocol="finetune") for step in (0, 10, 20)]
    (svg,) = by_epoch(runs).values()
    assert "supervised, from scratch" in texts(svg)


def lines_of(svg):
    """Returns the color and dashes of each curve of an SVG, in the order of drawing: those in the clipped area."""
    styles = re.findall(r'<path d="[^"]*" clip-path="[^"]*" style="([^"]*)"', svg)
    found = [dict(part.split(": ") for part in style.split("; ")) for style in styles]
    return [(of["stroke"], of.get("stroke-dasharray", "")) for of in found if of.get("stroke-width") != "0.8"]


def test_a_method_has_one_style_in_all_figures_on_all_data_sets():
    names = ("dae", "sidae", "sidae-w0.125", "simsiam")
    runs = [
        summary(30.0 + step, step, 10.0 * step, label=f"claims/{on}-{name}", dataset=on, task_evaluated_on=on)
        for on, methods in (("cifar10", names), ("fashion_mnist", names[1:]))
        for name in methods
        for step in (0, 10, 20)
    ]
    cifar10, fashion_mnist = map(lines_of, by_epoch(runs).values())
    assert len(set(cifar10)) == len(names)
    assert cifar10[1:] == fashion_mnist


def test_runs_of_one_label_and_very_many_runs_have_styles_of_their_own_in_a_figure():
    alike = [
        summary(mean, step, 10.0 * step, label="x", settings=settings)
        for mean, settings in ((30.0, ()), (40.0, ("lr = 0.3",)))
        for step in (0, 10, 20)
    ]
    many = [  # the 22nd name comes back to the first style; both are in one figure
        summary(30.0 + step, step, 10.0 * step, label=f"{name:02d}", task_evaluated_on=on)
        for name, on in enumerate(["cifar10", *["mnist"] * 20, "cifar10"])
        for step in (0, 10, 20)
    ]
    for runs, count in ((alike, 2), (many, 2)):
        svg = by_epoch(runs)[PLAIN]
        assert len(lines_of(svg)) == len(set(lines_of(svg))) == count


def test_each_data_set_has_training_curves_of_its_own(tmp_path):
    for dataset in ("cifar10", "mnist"):
        write_config(tmp_path / f"{dataset}-dae" / "seed0", "dae", dataset)
        write_config(tmp_path / f"{dataset}-simsiam" / "seed0", "simsiam", dataset)
        line = '{"step": 1, "epoch": 1.0, "loss": 0.5, "feature_std": 0.9}\n'
        for method in ("dae", "simsiam"):
            (tmp_path / f"{dataset}-{method}" / "seed0" / "metrics.jsonl").write_text(line * 2)
    runs = find_runs(tmp_path)
    drawn = training_curves.training_curves(runs, RunStyles(run.pretraining for run in runs))
    assert [(title.split()[0], title.split(", ")[-1]) for title in drawn] == [
        *(("Loss", "on cifar10"), ("Collapse", "on cifar10")),
        *(("Loss", "on mnist"), ("Collapse", "on mnist")),
    ]
    for title, svg in drawn.items():
        dataset = title.split(", on ")[-1]
        named = [text for text in texts(svg) if text.endswith(("-dae", "-simsiam"))]
        assert named == [f"{dataset}-dae", f"{dataset}-simsiam"]
        assert len(set(lines_of(svg))) == 2


def test_a_transfer_has_a_figure_of_its_own():
    runs = [
        summary(40.0 + step, step, 10.0 * step, label=f"{on}-sidae-w{w}", dataset=on, w=w)
        for on in ("cifar10", "stl10")
        for w in (0.25, 0.5)
        for step in (0, 10, 20)
    ]
    assert list(by_epoch(runs)) == [PLAIN, f"{PLAIN}, pre-trained on stl10"]
    by_weight = [f"The weight w: {PLAIN}, d = 2048", f"The weight w: {PLAIN}, pre-trained on stl10, d = 2048"]
    assert list(curves.accuracy_by_weight(runs)) == by_weight
