"""What benchmarks do beside measuring: how they train, and which part of a page they write."""

from __future__ import annotations

import argparse
import importlib
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from folds import write_between

ROOT = Path(__file__).parents[2]
PAGES = {
    path.stem: found[1]
    for path in sorted((ROOT / "benchmarks").glob("*.py"))
    if (found := re.search(r"--out (docs/\S+\.md)", path.read_text(encoding="utf-8")))
}
WHOLE = {"export_matrix"}
"""All that stands on their pages is what they write."""
AT_THE_END = {"int8"}
"""They write what comes after a title."""


@pytest.mark.parametrize("config", ["", 'keep = "best"'])
def test_no_epoch_is_chosen_by_the_fold_that_is_tested_on(tmp_path: Path, config: str) -> None:
    (tmp_path / "recipe.toml").write_text(config)
    arguments = argparse.Namespace(config=tmp_path / "recipe.toml", seeds=2, folds=3, out=tmp_path)
    runs = list(
        importlib.import_module("training").plan_runs({"plain": "r3d_10", "other": "r3d_10?keep=best"}, arguments)
    )
    assert len(runs) == 12
    assert {run.settings["keep"] for run in runs} == {"last"}


@pytest.fixture(params=sorted(PAGES.keys() - WHOLE - AT_THE_END))
def benchmark(request: pytest.FixtureRequest) -> ModuleType:
    return importlib.import_module(request.param)


def test_a_benchmark_leaves_the_rest_of_its_page(benchmark: ModuleType, tmp_path: Path) -> None:
    was = (ROOT / PAGES[benchmark.__name__]).read_text(encoding="utf-8")
    assert was.count(benchmark.BEGIN) == 1
    page = tmp_path / "page.md"
    page.write_text(was, encoding="utf-8")
    write_between(page, benchmark.BEGIN, benchmark.END, ["measured"])
    before, _, rest = was.partition(benchmark.BEGIN)
    _, end, after = rest.partition(benchmark.END)
    assert end
    expected = f"{before}{benchmark.BEGIN}\n\nmeasured\n\n{benchmark.END}{after}"
    assert page.read_text(encoding="utf-8") == expected


def test_a_page_without_its_lines_is_refused_before_anything_is_measured(
    benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# By hand\n\n{benchmark.BEGIN}\n")
    artifact = ["model"] if benchmark.__name__ == "stream" else []
    monkeypatch.setattr(sys, "argv", [benchmark.__name__, *artifact, "--out", str(page)])
    with pytest.raises(SystemExit, match="2"):
        benchmark.main()
    assert f"{page} has no lines {benchmark.BEGIN} and {benchmark.END}" in " ".join(capsys.readouterr().err.split())
