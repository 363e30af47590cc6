from reliability import endurance
from reliability.outcomes import check


def test_endurance(tmp_path):
    check(endurance, tmp_path)
