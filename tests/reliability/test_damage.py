"""Damaged files: as many cases as CI has time for."""

import pytest

from reliability import damage
from reliability.outcomes import check


@pytest.mark.timeout(600)
def test_no_damage_is_silent_or_a_traceback(tmp_path):
    check(damage, tmp_path)
