"""The report and the page on the papers' claims say what the result files say that lie beside them."""

import collections
import json
import math
import pathlib
import re
import statistics

from scipy import stats

from sidae_jax.report import build, claim_verdicts, pages, run_index, summaries
from sidae_jax.report.published import published_accuracies

RESULTS = pathlib.Path(__file__).parent.parent / "docs" / "results"
CLAIMS = RESULTS / "claims"
CHECK = RESULTS / "learning_check"
PAGE = (RESULTS / "claims.md").read_text()
_VERDICTS = ("holds", "does not hold", "cannot be said")


def test_the_report_on_the_claims_is_that_of_the_committed_results():
    runs = run_index.find_runs(CLAIMS)
    report = build.build("claims", runs, summaries.read(runs))
    # the bytes of figures are those of a version of matplotlib
    assert pages.markdown_page(report) == (CLAIMS / "report.md").read_text()
    assert len(report.figures) == len(list((CLAIMS / "figures").iterdir()))


def judged(text):
    return [line for line in text.splitlines() if line.endswith(tuple(f"| {verdict} |" for verdict in _VERDICTS))]


def test_the_page_has_each_verdict_of_the_report_once_and_counts_them():
    lines = judged((CLAIMS / "report.md").read_text())
    assert sorted(judged(PAGE)) == sorted(lines)
    count = collections.Counter(line.split(" | ")[-1].removesuffix(" |") for line in lines)
    counted = re.search(r"Of (\d+) comparisons (\d+) hold, (\d+) do\s+not hold, and of (\d+) it cannot be said", PAGE)
    assert counted, "the sentence is gone"
    assert [int(each) for each in counted.groups()] == [len(lines), *(count[verdict] for verdict in _VERDICTS)]


def test_the_page_counts_the_verdicts_of_each_section():
    sections = {title: judged(body) for title, body in re.findall(r"^## (.*)\n((?:(?!## ).*\n?)*)", PAGE, re.MULTILINE)}
    of_sidae = sections.pop("SidAE against SimSiam and the denoising autoencoder")
    for other, name in (("SimSiam", "SimSiam"), ("DAE", "the denoising autoencoder")):
        sections[f"SidAE (w = 0.5) above {name}"] = [line for line in of_sidae if f"is above {other} " in line]
    rows = dict(re.findall(r"^\| \[(.*)\]\(#.*?\) \| (.*) \|$", PAGE, re.MULTILINE))
    assert rows == {
        title: " | ".join(map(str, (len(lines), *(sum(f"| {v} |" in line for line in lines) for v in _VERDICTS))))
        for title, lines in sections.items()
        if lines
    }


def accuracies(folder, protocol="linear"):
    """In percent, by the protocol's probe, by seed: {(run, label fraction, trained): {seed: ...}}."""
    found = collections.defaultdict(dict)
    for path in sorted(folder.glob(f"*/seed*/eval/{protocol}-*.jsonl")):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        for line, trained in ((lines[0], False), (lines[-1], True)):
            assert (line["step"] > 0) == trained
            found[path.parts[-4], line["label_fraction"], trained][line["pretrain_seed"]] = 100 * line["accuracy"]
    return found


def json_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def mean(of):
    error = statistics.stdev(of.values()) / math.sqrt(len(of))
    return f"{statistics.fmean(of.values()):.2f} ({error:.2f})"


def difference(first, second):
    error = math.sqrt(sum(statistics.variance(of.values()) / len(of) for of in (first, second)))
    return f"{statistics.fmean(first.values()) - statistics.fmean(second.values()):+.2f} ({error:.2f})"


def test_the_page_has_the_differences_by_a_probe_that_is_fitted_to_its_end():
    sgd, converged = accuracies(CLAIMS), collections.defaultdict(dict)
    for line in json_lines(CLAIMS / "converged_probe.jsonl"):
        run, seed = line["run"].split("/seed")
        assert line["step"] == 4000
        converged[run, line["label_fraction"], True][int(seed)] = 100 * line["accuracy"]
    for dataset in ("cifar10", "fashion_mnist"):
        for fraction in (0.01, 1.0):
            cells = [dataset, f"{fraction:.0%}"]
            for other in ("simsiam", "dae"):
                for probe in (sgd, converged):
                    sides = [probe[f"{dataset}-{method}", fraction, True] for method in ("sidae", other)]
                    assert [set(side) for side in sides] == [{0, 1, 2}] * 2
                    cells.append(difference(*sides))
                cells.append(claim_verdicts.above(*sides, paired=False).interval)  # of the second probe
            assert f"| {' | '.join(cells)} |" in PAGE


def test_the_page_has_what_the_same_network_learned_in_pytorch():
    ours, theirs = accuracies(CHECK), collections.defaultdict(dict)
    for line in json_lines(CHECK / "pytorch.jsonl"):
        for fraction in (0.01, 1.0):
            for name in ("untrained", "trained"):
                theirs[line["method"], fraction, name == "trained"][line["seed"]] = 100 * line[f"{name}, {fraction:g}"]
    for fraction in (0.01, 1.0):
        for method in ("sidae", "simsiam", "dae"):
            name, cells = f"fashion_mnist-{method}-epochs30-batch_size256", [f"{fraction:.0%}", method]
            for trained in (False, True):
                sides = ours[name, fraction, trained], theirs[method, fraction, trained]
                assert [set(side) for side in sides] == [{0, 1, 2}] * 2
                cells += [mean(side) for side in sides]
            judgement = claim_verdicts.near(*sides)
            cells += [difference(*sides), judgement.interval]
            assert f"| {' | '.join(cells)} |" in PAGE


def test_both_sides_of_the_check_in_pytorch_have_the_same_settings():
    configs = [json.loads(path.read_text())["config"] for path in CHECK.glob("*/seed*/config.json")]
    keys = {"width": "width", "d": "d_hid", "epochs": "epochs", "batch_size": "batch_size", "lr": "lr"}
    for line in json_lines(CHECK / "pytorch.jsonl"):
        for config in configs:
            assert {key: line[key] for key in keys} == {key: config[name] for key, name in keys.items()}
            assert config["train_split"] == f"train[:{line['images']}]"


def of_weights():
    """Returns the runs on CIFAR-10 by w, with SimSiam at 0 and the denoising autoencoder at 1."""
    found = {0.0: "cifar10-simsiam", 0.5: "cifar10-sidae", 1.0: "cifar10-dae"}
    found |= {float(path.name.partition("-w")[2]): path.name for path in CLAIMS.glob("cifar10-sidae-w*")}
    return dict(sorted(found.items()))


def fine_tuned(run):
    return {
        line["pretrain_seed"]: 100 * line["accuracy"]
        for path in sorted((CLAIMS / run).glob("seed*/eval/finetune-cifar10-0.01-*.jsonl"))
        for line in json_lines(path)[-1:]
    }


def test_the_page_has_the_accuracies_by_weight():
    of_probe = accuracies(CLAIMS)
    for w, run in of_weights().items():
        cells = [f"{w:g}", *(mean(of_probe[run, fraction, True]) for fraction in (0.01, 1.0))]
        tuned = fine_tuned(run)
        assert set(tuned) in ({0, 1, 2}, set())
        assert f"| {' | '.join([*cells, mean(tuned) if tuned else ''])} |" in PAGE


def test_the_page_has_the_lines_fitted_to_the_accuracies_by_weight():
    of_probe = accuracies(CLAIMS)
    for ends in (True, False):
        for fraction in (0.01, 1.0):
            weights = [w for w in of_weights() if ends or 0 < w < 1]
            points = [(w, value) for w in weights for value in of_probe[of_weights()[w], fraction, True].values()]
            line = stats.linregress(*zip(*points, strict=True))
            half = stats.t.ppf(0.975, len(points) - 2) * line.stderr
            interval = f"{line.slope - half:.2f} to {line.slope + half:.2f}"
            cells = ["with SimSiam and DAE" if ends else "SidAE alone", f"{fraction:.0%}", str(len(points))]
            assert f"| {' | '.join([*cells, f'{line.slope:+.2f} ({line.stderr:.2f})', interval])} |" in PAGE


def test_the_page_has_the_differences_by_weight_that_no_claim_is_about():
    of_probe, runs = accuracies(CLAIMS), of_weights()
    expected = {
        (f"SidAE (w = {w:g}) - {name}", fraction): (of_probe[run, fraction, True], of_probe[other, fraction, True])
        for w, run in runs.items()
        if w not in (0.0, 0.125, 0.5, 1.0)
        for name, other in (("SimSiam", runs[0.0]), ("DAE", runs[1.0]))
        for fraction in (0.01, 1.0)
    }
    expected |= {
        (f"SidAE (w = 0.5, fine-tuned) - {name} (fine-tuned)", 0.01): (fine_tuned(runs[0.5]), fine_tuned(runs[w]))
        for name, w in (("SimSiam", 0.0), ("DAE", 1.0))
    }
    for (name, fraction), sides in expected.items():
        cells = [name, f"{fraction:.0%}", difference(*sides), claim_verdicts.above(*sides, paired=False).interval]
        assert f"| {' | '.join(cells)} |" in PAGE


def test_the_page_has_the_accuracies_of_the_reports_baselines():
    of_probe = accuracies(CLAIMS, "mlp")
    published = {(row.pretrained_on, row.method): row for row in published_accuracies() if row.protocol == "mlp"}
    datasets = {run.partition("-")[0] for run, *_ in of_probe}
    assert datasets >= {"cifar10"}
    for name in sorted(datasets):
        runs = [f"{name}-{method}-epochs20" for method in ("ae", "vae", "simclr")]
        trained, untrained = ([of_probe[run, 1.0, done] for run in runs] for done in (True, False))
        assert [set(of) for of in trained] == [{0, 1, 2}] * 3
        assert untrained == untrained[:1] * 3  # the same initial values
        theirs = [f"{published[name, method].accuracy:.2f}" for method in ("ae", "vae", "simclr")]
        assert f"| {' | '.join([name, mean(untrained[0]), *map(mean, trained)])} |" in PAGE
        assert f"| {name}, published |  | {' | '.join(theirs)} |" in PAGE


def test_the_prose_on_the_reports_baselines_is_that_of_the_results():
    text = " ".join(PAGE.split())
    of_probe = accuracies(CLAIMS, "mlp")
    ae, vae, simclr = (of_probe[f"cifar10-{name}-epochs20", 1.0, True].values() for name in ("ae", "vae", "simclr"))
    assert "SimCLR is above both autoencoders on CIFAR-10" in text
    assert "each seed of it has more than each of" in text
    assert min(simclr) > max(*ae, *vae)
    assert f"is {statistics.fmean(ae) - statistics.fmean(vae):.2f} above that of the variational one" in text
    published = {row.method: row.accuracy for row in published_accuracies() if row.pretrained_on == "cifar10"}
    shares = [
        (statistics.fmean(simclr) - statistics.fmean(of)) / (published["simclr"] - published[name])
        for name, of in (("ae", ae), ("vae", vae))
    ]
    assert f"as in the report, by {shares[0]:.0%} and {shares[1]:.0%} of the published distances" in text
    for path in sorted(CLAIMS.glob("*-epochs20/seed*/config.json")):
        config = json.loads(path.read_text())["config"]
        rows = int(config["train_split"].removeprefix("train[:").removesuffix("]"))
        steps = json_lines(path.with_name("metrics.jsonl"))[-1]["step"]
        epochs = f"{config['epochs']} epochs of batches of {config['batch_size']} of the first {rows:,} training images"
        assert f"{epochs} ({steps} steps)" in text
        assert f"A width of {config['width']} instead of 64: {8 * config['width']} features instead of 512." in text
        assert config["d_hid"] == 128
        assert "z keeps its 128 dimensions" in text


def test_the_counts_and_figures_of_the_prose_are_those_of_the_results():
    numbers = {9: "nine", 18: "eighteen", 39: "thirty-nine", 48: "forty-eight"}
    text = " ".join(PAGE.split())
    runs, of_report = (len(list(CLAIMS.glob(f"{name}/seed*/config.json"))) for name in ("*", "*-epochs20"))
    assert f"Three seeds, {numbers[runs]} runs, {numbers[of_report]} of them of [AE, VAE and SimCLR]" in text
    later = ("| SidAE (w = 0.5) is above SidAE", "| SimSiam is above SimSiam", "| DAE is above DAE")
    last = [line for line in judged(PAGE) if line.startswith(later) and "epoch 100)" in line]
    assert len(last) == 6
    unclear = sum(line.endswith("| cannot be said |") for line in last)
    assert f"in {['no', 'one', 'two', 'three', 'four', 'five', 'six'][unclear]} of six cases within an interval" in text
    theirs = [line for line in json_lines(CHECK / "pytorch.jsonl") if line["method"] == "simsiam"]
    by_seed = {line["seed"]: line["trained, 0.01"] for line in theirs}
    first, second, third = (f"{100 * by_seed[seed]:.2f}" for seed in range(3))
    assert f"({first}, {second} and {third} with 1% of the labels)" in text
