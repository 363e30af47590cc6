"""Hostile files: as many cases as CI has time for."""

import pytest

from reliability import hostile
from reliability.outcomes import check


@pytest.mark.timeout(600)
def test_hostile_files_do_no_harm(tmp_path):
    check(hostile, tmp_path)
