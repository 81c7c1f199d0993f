"""The notebook of the tour runs as it stands, and is kept without what it gives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

NOTEBOOK = Path(__file__).parents[2] / "docs/tour.ipynb"
CELLS = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
RUN: Final = """
import json
import sys
from pathlib import Path

names = {"__name__": "__main__"}
for number, cell in enumerate(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["cells"]):
    if cell["cell_type"] == "code":
        exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)
plot = names["plt"]
for number in plot.get_fignums():
    plot.figure(number).savefig(f"{number}.png")
"""
"""Runs the cells one after the other in one namespace. They are plain Python, so that no kernel is needed for it."""


def test_it_is_kept_without_outputs() -> None:
    code = [cell for cell in CELLS if cell["cell_type"] == "code"]
    assert len(code) >= 5
    assert not [cell["id"] for cell in code if cell["outputs"] or cell["execution_count"] is not None]
    assert len({cell["id"] for cell in CELLS}) == len(CELLS)


@pytest.mark.slow
def test_it_runs_as_it_stands(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", RUN, str(NOTEBOOK)]
    without_screen = os.environ | {"MPLBACKEND": "agg"}
    done = subprocess.run(command, cwd=tmp_path, env=without_screen, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "model_openvino_int8" in done.stdout
    assert {path.name for path in tmp_path.glob("*.png")} == {"1.png", "2.png", "3.png"}
    assert (tmp_path / "runs/notebook/model_openvino_int8/meta.json").is_file()
