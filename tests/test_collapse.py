"""When a run says that its features have collapsed."""

import pytest

from sidae_jax.monitoring import CollapseWatch


@pytest.mark.parametrize(
    ("values", "told_at"),
    [
        ([0.9, 0.5, 0.21, 0.2, 0.3], []),
        ([0.9, 0.05, 0.05, 0.9, 0.05, 0.05, 0.9], []),  # a batch now and then
        ([0.9, 0.19, 0.15, 0.1, 0.01, 0.0], [3]),
        ([0.01, 0.01, 0.01, 0.9, 0.01, 0.01, 0.01], [2]),  # once
        ([float("nan")] * 5, []),  # that is a divergence
    ],
)
def test_three_lines_in_a_row_are_told_once(values, told_at):
    watch = CollapseWatch()
    assert [i for i, value in enumerate(values) if watch.add(value)] == told_at
