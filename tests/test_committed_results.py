"""The report and the page on the papers' claims say what the result files say that lie beside them."""

import collections
import pathlib
import re

from sidae_jax.report import build, pages, run_index, summaries

RESULTS = pathlib.Path(__file__).parent.parent / "docs" / "results"
CLAIMS = RESULTS / "claims"
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
