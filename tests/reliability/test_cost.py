from reliability import cost
from reliability.outcomes import check


def test_cost(tmp_path):
    check(cost, tmp_path)
