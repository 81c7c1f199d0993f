"""The site builds without a warning, has every page and every public name, and fetches nothing."""

from __future__ import annotations

import importlib
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

ROOT = Path(__file__).parents[2]
CONFIG = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
RUNNING = "s2tf_edge.runtime"
PUBLIC = (
    "s2tf_edge",
    "s2tf_edge.errors",
    "s2tf_edge.models",
    "s2tf_edge.calibration",
    "s2tf_edge.export",
    RUNNING,
    f"{RUNNING}.session",
    f"{RUNNING}.streaming.recognize",
    f"{RUNNING}.streaming.records",
    f"{RUNNING}.streaming.regions",
    f"{RUNNING}.streaming.stream_options",
    f"{RUNNING}.archives.crew",
    f"{RUNNING}.archives.recognize_archive",
    f"{RUNNING}.evaluation.accuracy",
    f"{RUNNING}.evaluation.multi_view",
    f"{RUNNING}.evaluation.predictions",
)
"""Modules whose ``__all__`` the reference has, a name where it is defined or where ``s2tf_edge.runtime`` gives it."""
FETCHED = {"href": {"link"}, "src": {"audio", "embed", "iframe", "img", "script", "source", "video"}}
"""Attributes by the elements for which a browser fetches what they name."""


class Elements(HTMLParser):
    """What a page fetches, and the places in it that links may lead to."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.ids: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if tag in FETCHED.get(name, ()):
                self.fetched.append(value or "")
            if name == "id":
                self.ids.add(value or "")


@pytest.mark.parametrize(
    "page", sorted(path.relative_to(ROOT / "docs").as_posix() for path in ROOT.glob("docs/**/*.md"))
)
def test_every_page_has_its_line_in_the_navigation(page: str) -> None:
    assert re.findall(rf"^ +- [^:]+: {re.escape(page)}$", CONFIG, flags=re.MULTILINE), f"add {page} to mkdocs.yml"


def test_a_page_fetches_nothing_from_other_hosts(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > len(list(ROOT.glob("docs/*.md")))
    for page in pages:
        fetched = Elements(page).fetched
        assert any(address.endswith(".css") for address in fetched), page
        assert not [address for address in fetched if re.match(r"\w+:|//", address)], page
        # Material has its drawings of mermaid from another host.
        assert 'class="mermaid"' not in page.read_text(encoding="utf-8"), page


def test_a_style_fetches_nothing_from_other_hosts(site: Path) -> None:
    styles = list(site.rglob("*.css"))
    assert {"site.css"} < {path.name for path in styles}
    for path in styles:
        text = path.read_text(encoding="utf-8")
        assert not re.findall(r"@import|url\([\"']?(?:https?:)?//", text), path


@pytest.fixture(scope="module")
def documented(site: Path) -> set[str]:
    """All that the reference has, by its full name."""
    return set().union(*(Elements(page).ids for page in site.glob("reference/*.html")))


@pytest.mark.parametrize("module", PUBLIC)
def test_the_reference_has_every_public_name(documented: set[str], module: str) -> None:
    names = set(importlib.import_module(module).__all__) - {"__version__"}
    assert not {name for name in names if not documented & {f"{module}.{name}", f"{RUNNING}.{name}"}}


def test_the_home_page_is_the_readme(site: Path) -> None:
    page = Elements(site / "index.html")
    headings = re.findall(r"^## (.+)$", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert {heading.lower().replace(" ", "-") for heading in headings} <= page.ids


def test_the_notebook_is_a_page_and_a_file(site: Path) -> None:
    page = (site / "tour.html").read_text(encoding="utf-8")
    assert 'href="tour.ipynb"' in page
    assert json.loads((site / "tour.ipynb").read_text(encoding="utf-8"))["nbformat"] == 4
    assert "open_session" in page


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        path = shutil.which("chromium") or "chromium"
        started = playwright.chromium.launch(executable_path=path, args=("--disable-gpu",), chromium_sandbox=False)
        with closing(started):
            yield started


@pytest.mark.needs_chromium
@pytest.mark.slow
@pytest.mark.parametrize("width", [1440, 390])
def test_it_opens_from_a_folder_and_is_no_wider_than_the_screen(site: Path, browser: Browser, width: int) -> None:
    asked: list[str] = []
    complaints: list[str] = []
    with closing(browser.new_context(viewport={"width": width, "height": 900})) as context:
        tab = context.new_page()
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        for page in sorted(site.rglob("*.html")):
            if page.name != "404.html":  # which a server gives, and no folder
                tab.goto(page.as_uri())
                assert tab.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), (
                    page
                )
    assert not complaints
    assert not [address for address in asked if not address.startswith(("file:", "data:", "blob:", "about:"))]


@pytest.mark.needs_chromium
@pytest.mark.slow
def test_search_works_without_a_server(site: Path, browser: Browser) -> None:
    with closing(browser.new_context(viewport={"width": 1280, "height": 900})) as context:
        tab = context.new_page()
        tab.goto((site / "reference/runtime.html").as_uri())
        tab.locator(".md-search__input").fill("calibration")
        found = tab.locator(".md-search-result__link").first
        expect(found).to_be_visible(timeout=60_000)
        found.click()
        tab.wait_for_url(re.compile("calib|int8|h=calibration"), timeout=60_000)
