"""Processes that are lost, and other numbers of them: as many cases as CI has time for."""

import pytest

from reliability import peers
from reliability.outcomes import check


@pytest.mark.timeout(900)
def test_the_processes_of_a_run_end_together_and_it_goes_on(tmp_path):
    check(peers, tmp_path)
