"""The numbers of metrics.jsonl, read from its end, and their curves in a terminal."""

from sidae_jax.runs import braille, metrics_file


def test_a_plot_has_its_points_where_they_belong():
    lines = braille.plot([0.0, 1.0], [0.0, 1.0], (0.0, 1.0), (0.0, 1.0), width=14, height=2)
    # 4 characters of 2 x 4 points: a straight line from the lower left to the upper right corner
    points = {
        (2 * column + dx, 4 * row + dy)
        for row, line in enumerate(lines[:2])
        for column, character in enumerate(line[10:])
        for (dx, dy), bit in zip(
            [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3)], range(8), strict=True
        )
        if character != " " and (ord(character) - 0x2800) >> bit & 1
    }
    assert points == {(i, 7 - i) for i in range(8)}
    assert lines[0].startswith("        1┤")
    assert lines[1].startswith("        0┤")
    gap = braille.plot([0.0, 1.0, 2.0], [0.0, float("nan"), 1.0], (0.0, 2.0), (0.0, 1.0), width=14, height=2)
    assert sum(character > "⠀" for line in gap[:2] for character in line[10:]) == 2  # nothing between them


def test_the_newest_record_with_a_key_is_found_from_the_end(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(
        '{"step": 1, "knn": 0.5}\n{"step": 2, "knn": 0.25}\n{"step": 3, "loss": "knn"}\nnull "knn"\n'
        '{"step": 4, "knn": 1'
    )
    assert metrics_file.newest(path, "knn") == {"step": 2, "knn": 0.25}
    assert metrics_file.newest(path, "step") == {"step": 3, "loss": "knn"}
    assert metrics_file.newest(path, "lr") == {}
    records, problems = metrics_file.read(path)
    assert [record["step"] for record in records] == [1, 2, 3]
    assert [problem.partition(":")[2].partition(" is")[0] for problem in problems] == [" line 4"]
