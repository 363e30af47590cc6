"""The report on the papers' claims is that of the result files that lie beside it."""

import pathlib

from sidae_jax.report import build, pages, run_index, summaries

CLAIMS = pathlib.Path(__file__).parent.parent / "docs" / "results" / "claims"


def test_the_report_on_the_claims_is_that_of_the_committed_results():
    runs = run_index.find_runs(CLAIMS)
    report = build.build("claims", runs, summaries.read(runs))
    # the bytes of figures are those of a version of matplotlib
    assert pages.markdown_page(report) == (CLAIMS / "report.md").read_text()
    assert len(report.figures) == len(list((CLAIMS / "figures").iterdir()))
