"""The notebooks of the documentation run as they are, from their first cell to their last."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
NOTEBOOK = ROOT / "docs" / "notebooks" / "first_steps.ipynb"


def cells():
    return [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]


@pytest.mark.timeout(600)
def test_the_code_of_the_first_steps_runs(tmp_path):
    """Without Jupyter: the cells hold plain Python, whose figures are counted here and whose prints are compared."""
    code = "\n\n".join("".join(cell["source"]) for cell in cells())
    program = "import matplotlib; matplotlib.use('Agg'); import matplotlib.pyplot as plt; shown = []\n"
    program += "plt.show = lambda: shown.append(plt.gcf().canvas.print_to_buffer()[1]) or plt.close()\n"
    program += f"{code}\nprint('shown', len(shown))\n"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XLA_FLAGS": ""}
    command = [sys.executable, "-W", "error::DeprecationWarning:__main__", "-c", program]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("shown 3\n")
    untrained, *_, trained = (float(percent) for percent in re.findall(r"epoch +\S+: (\S+)%", done.stdout))
    assert trained > untrained + 5
    assert "32 64 (360, 64) float32" in done.stdout


def test_the_notebook_is_kept_with_the_outputs_of_a_run():
    counts = [cell["execution_count"] for cell in cells()]
    assert counts == list(range(1, len(counts) + 1))
    outputs = [output for cell in cells() for output in cell["outputs"]]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 3
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert NOTEBOOK.stat().st_size < 300_000
