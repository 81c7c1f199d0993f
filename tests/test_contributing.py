"""The contributor's page names what is there: its map has every room, and the files of its recipes exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/contributing.md").read_text(encoding="utf-8")
LAYERS = ("s2tf_edge", "runtime", "calibration", "export")


def _rooms() -> set[str]:
    """Every package as the map writes it: ``runtime/sources/``."""
    packages = [ROOT / layer for layer in LAYERS]
    packages += [path for package in packages for path in package.iterdir() if not path.is_symlink()]
    return {f"{path.relative_to(ROOT).as_posix()}/" for path in packages if (path / "__init__.py").is_file()}


def test_the_map_has_a_line_for_every_package() -> None:
    mapped = dict(re.findall(r"^\| `([\w/]+/)` \| `([\w.]+)` \|", PAGE, flags=re.MULTILINE))
    assert set(mapped) == _rooms()
    names = {
        where: "s2tf_edge" + f".{where.rstrip('/')}".removeprefix(".s2tf_edge").replace("/", ".") for where in mapped
    }
    assert mapped == names


def _named_files() -> set[tuple[str, str]]:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    path = r"`((?:s2tf_edge|runtime|calibration|export|tests|docs|tools|benchmarks)/[\w./]+\.(?:py|md|toml|txt))`"
    return {(page.name, found) for page in pages for found in re.findall(path, page.read_text(encoding="utf-8"))}


@pytest.mark.parametrize(("page", "path"), sorted(_named_files()))
def test_a_file_that_a_page_names_exists(page: str, path: str) -> None:
    assert (ROOT / path).is_file(), page


def test_links_within_the_page_lead_somewhere() -> None:
    headings = {
        heading.lower().replace(" ", "-").replace("'", "") for heading in re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) <= headings
