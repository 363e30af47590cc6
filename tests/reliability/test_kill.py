"""kill -9: as many cases as CI has time for."""

import pytest

from reliability import kill
from reliability.outcomes import check


@pytest.mark.timeout(1800)
def test_what_is_killed_goes_on_by_itself_to_the_same_bits(tmp_path):
    check(kill, tmp_path)
