from reliability import disk
from reliability.outcomes import check


def test_disk(tmp_path):
    check(disk, tmp_path)
