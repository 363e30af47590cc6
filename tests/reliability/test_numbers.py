from reliability import numbers
from reliability.outcomes import check


def test_numbers(tmp_path):
    check(numbers, tmp_path)
