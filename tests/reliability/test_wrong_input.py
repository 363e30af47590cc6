"""Configs that are wrong, and those that do not fit what they meet: all cases, without their times."""

import pytest

from reliability import wrong_input
from reliability.outcomes import check


@pytest.mark.timeout(900)
def test_a_wrong_config_is_one_sentence(tmp_path):
    check(wrong_input, tmp_path)
