"""The README's commands that are cheap enough run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _tested_commands() -> list[str]:
    blocks = re.findall(r"<!-- tested -->\n```sh\n(.*?)```", README, flags=re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def _run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    paths = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "XDG_CACHE_HOME": str(folder)}
    return subprocess.run(
        ["bash", "-c", command], cwd=folder, env=os.environ | paths, capture_output=True, text=True, check=False
    )


def test_the_tour_runs_as_it_stands(tmp_path: Path) -> None:
    commands = _tested_commands()
    assert {command.split()[0] for command in commands} >= {"s2tf-train", "s2tf-export", "s2tf-stream", "s2tf-report"}
    for command in commands:
        done = _run(command, tmp_path)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
    assert (tmp_path / "runs/tour/report/report.html").is_file()


@pytest.mark.parametrize("target", ["demo", "test"])
def test_the_first_commands_are_targets_of_the_makefile(target: str) -> None:
    assert f"make {target} " in README.split("## ")[0] + README.split("## ")[1]
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)


def test_links_within_the_readme_lead_somewhere() -> None:
    headings = {heading.lower().replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", README, flags=re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]+)\)", README)) <= headings


def test_every_exit_code_is_documented() -> None:
    from s2tf_edge import errors

    documented = set(re.findall(r"^\| (\d+) \|", README, flags=re.MULTILINE))
    raised = {getattr(errors, name).exit_code for name in errors.__all__} - {1}
    assert {str(code) for code in raised} <= documented
