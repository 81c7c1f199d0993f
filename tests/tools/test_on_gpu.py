"""What runs on a machine with a GPU some day, as far as it runs on any."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import gpu_wheels
import on_gpu
from gpu_facts import count_gpus, find_facts
from gpu_groups import GROUPS, Group, Outcome, run_group

ROOT = Path(__file__).parents[2]
TESTS = """
import os
import signal
import threading

import pytest

pytestmark = pytest.mark.needs_gpu


def test_first():
    pass


def test_wrong():
    assert 1 + 1 == 3


def test_crash():
    os.kill(os.getpid(), signal.SIGSEGV)


def test_skipped():
    pytest.skip("needs a moon")


def test_hang():
    threading.Event().wait()


def test_never_reached():
    pass
"""


def _group(tmp_path: Path, text: str) -> Group:
    path = tmp_path / "test_made.py"
    path.write_text(text, encoding="utf-8")
    return Group(name="made", proves="that it is counted", select=(str(path),), seconds=100)


def _environment(tmp_path: Path) -> dict[str, str]:
    return on_gpu.environment(tmp_path / "site") | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


@pytest.mark.slow
def test_a_crash_and_a_hang_lose_nothing(tmp_path: Path) -> None:
    outcome = run_group(_group(tmp_path, TESTS), tmp_path, seconds=60, env=_environment(tmp_path))
    assert (outcome.passed, outcome.failed, outcome.skipped) == (1, 2, 1)
    assert outcome.reasons == {"needs a moon": 1}
    wrong, crash = outcome.failures
    assert wrong["test"].endswith("test_made.py::test_wrong")
    assert "1 + 1" in wrong["reason"] or "assert" in wrong["reason"]
    assert (crash["test"].rpartition("::")[2], crash["reason"]) == (
        "test_crash",
        "its process was ended by signal SIGSEGV",
    )
    assert outcome.note.startswith("ended after ")
    assert outcome.note.endswith("test_made.py::test_hang")
    assert outcome.is_bad
    assert "Segmentation fault" in (tmp_path / "made.log").read_text(encoding="utf-8")


def test_a_file_that_cannot_be_imported_is_a_failure(tmp_path: Path) -> None:
    group = _group(tmp_path, "import no_such_package")
    outcome = run_group(group, tmp_path, seconds=60, env=_environment(tmp_path))
    assert [found["reason"] for found in outcome.failures] == ["ModuleNotFoundError: No module named 'no_such_package'"]


def test_a_group_that_was_broken_off_is_bad(tmp_path: Path) -> None:
    text = TESTS.replace("assert 1 + 1 == 3", "raise KeyboardInterrupt")
    outcome = run_group(_group(tmp_path, text), tmp_path, seconds=60, env=_environment(tmp_path))
    assert (outcome.passed, outcome.is_bad) == (1, True)
    assert outcome.note == "pytest ended with 2: made.log"


def test_a_group_without_its_packages_is_not_run(tmp_path: Path) -> None:
    group = Group(name="made", proves="", select=("none",), seconds=10, modules=("no_such_package", "json"))
    outcome = run_group(group, tmp_path, seconds=10, env=_environment(tmp_path))
    assert outcome.note == "not run: no_such_package cannot be imported here"


@pytest.mark.skipif(count_gpus() > 0, reason="there is a GPU")
def test_without_a_gpu_nothing_is_run(tmp_path: Path) -> None:
    line = [str(ROOT / "tools/on_gpu.sh"), "--out", str(tmp_path / "out")]
    done = subprocess.run(line, env={**os.environ, "PYTHON": sys.executable}, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("no NVIDIA GPU is here, or its driver does not answer: nothing was run")
    assert not (tmp_path / "out").exists()


def test_a_bare_python_is_enough_to_begin(tmp_path: Path) -> None:
    """Without any package, pytest included."""
    line = [sys.executable, "-S", str(ROOT / "tools/on_gpu.py"), "--show", str(tmp_path / "none")]
    done = subprocess.run(line, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (9, 1)


def test_results_are_shown_and_written_into_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcomes = [
        Outcome(name="driver", proves="much", passed=2, seconds=1.2),
        Outcome(name="steps", proves="more", failed=1, skipped=3, reasons={"needs a | moon": 3}),
    ]
    outcomes[1].failures = [{"test": "a::b", "reason": "1 is not\n2"}]
    facts = find_facts(on_gpu.environment(tmp_path))
    on_gpu.write_results(tmp_path, {"facts": facts, "wheels": []}, outcomes)
    page = tmp_path / "page.md"
    page.write_text(f"before\n{on_gpu._BEGIN}\nold\n{on_gpu._END}\nafter\n", encoding="utf-8")
    assert on_gpu._show(tmp_path / "results.json", page) == 0
    shown = capsys.readouterr().out
    assert "| driver | much | 2 | 0 | 0 | 1 |  |" in shown
    assert "- steps: 3 skipped: needs a / moon" in shown
    assert "- steps: `a::b` failed: 1 is not 2" in shown
    assert "old" not in page.read_text(encoding="utf-8")
    assert shown.strip() in page.read_text(encoding="utf-8")
    assert "pytest " in shown
    page.write_text("no lines", encoding="utf-8")
    assert on_gpu._show(tmp_path / "results.json", page) == 9
    for text in ("", "[]", "{}", "{"):
        (tmp_path / "other.json").write_text(text, encoding="utf-8")
        assert on_gpu._show(tmp_path / "other.json", None) == 9
    assert "holds no results of this script" in capsys.readouterr().err


def test_the_page_names_every_group() -> None:
    page = (ROOT / "docs/gpu.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if re.match(r"\| `\w", line)]
    named = {name.strip(" `") for row in rows for name in row.split("|")[1].split(",")}
    assert {on_gpu.FIGURES, *(group.name for group in GROUPS)} | set(gpu_wheels.SETS) == named
    assert on_gpu._BEGIN in page


def _make_wheel(folder: Path, name: str, *, tag: str = "py3-none-any") -> Path:
    path = folder / f"{name}-1.0-{tag}.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", "MADE = 1\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n")
        archive.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return path


def test_wheels_are_put_beside_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_wheels, "_BLOCK", 100)
    folder, site = tmp_path / "wheels", tmp_path / "out" / "site"
    folder.mkdir()
    whole = _make_wheel(folder, "s2tf_whole")
    cut = _make_wheel(folder, "s2tf_cut")
    content = cut.read_bytes()
    gpu_wheels._cut(cut, 3)
    _make_wheel(folder, "numpy")
    _make_wheel(folder, "s2tf_other", tag="cp27-cp27m-win32")
    assert not cut.exists()
    assert len(list(folder.glob("s2tf_cut*"))) > 1
    # Pieces may come in several folders, as a carrier takes them.
    (folder / "more").mkdir()
    pieces = sorted(folder.glob("s2tf_cut*"))
    pieces[0].rename(folder / "more" / pieces[0].name)
    told = gpu_wheels.install([folder, folder / "more"], site)
    assert (site.with_name("joined") / cut.name).read_bytes() == content
    assert {path.name for path in site.glob("*.py")} == {"s2tf_whole.py", "s2tf_cut.py"}
    assert told[0].endswith("is here, and stays")
    assert {f"{each.name}: installed" for each in (whole, cut)} < set(told)
    assert any("s2tf_other" in line and "not a supported wheel" in line for line in told)
    sizes = list(gpu_wheels.tell_sizes(folder))
    assert sizes[-1].endswith(f"files of {folder}")


def test_figures_are_not_begun_where_no_time_is_left(tmp_path: Path) -> None:
    outcome = on_gpu.measure(tmp_path, seconds=5, env={}, words=[])
    assert (outcome.note, outcome.is_bad) == ("not run: the budget was used up", True)


@pytest.mark.slow
def test_all_but_the_gpu_works(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert on_gpu.check(tmp_path / "out") == 0, capfd.readouterr().err
    results = json.loads((tmp_path / "out-check/results.json").read_text(encoding="utf-8"))
    assert {row["skipped"] for row in results["artifacts"]} == {None}
    assert {row["clips_at_once"] for row in results["artifacts"]} == {1, 8}
    assert (tmp_path / "out-check/merged/merged.html").is_file()
