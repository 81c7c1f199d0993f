"""Pages of the site that are kept elsewhere: the README as its start, the changes, the tour from its notebook.

MkDocs loads this as a hook (``hooks`` in ``mkdocs.yml``). What is written once is not written twice: the README's links
lead to ``docs/``, those of the pages to ``../README.md``, and here both lead to each other.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
PAGES = {"index.md": ROOT / "README.md", "changelog.md": ROOT / "CHANGELOG.md"}
"""Pages of the site by the files at the top of the repository that they are."""
ICON = ROOT / "runtime/web/icon.svg"
NOTEBOOK = "tour.ipynb"
_LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Adds the pages that do not lie in ``docs/``."""
    for name, source in PAGES.items():
        files.append(File.generated(config, name, content=from_top(source.read_text(encoding="utf-8"))))
    files.append(File.generated(config, ICON.name, abs_src_path=str(ICON)))
    notebook = ROOT / "docs" / NOTEBOOK
    files.append(File.generated(config, "tour.md", content=from_notebook(notebook.read_text(encoding="utf-8"))))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Has the links of a page to the files at the top of the repository lead to their pages."""
    del page, config, files
    for name, source in PAGES.items():
        markdown = markdown.replace(f"](../{source.name}", f"]({name}")
    return markdown


def from_top(markdown: str) -> str:
    """A file at the top of the repository as a page: its links lead within ``docs/``, or where that is all, nowhere."""
    return _LINK.sub(_link_from_top, markdown)


def _link_from_top(link: re.Match[str]) -> str:
    text, target = link.groups()
    if target.startswith("docs/"):
        return f"[{text}]({target.removeprefix('docs/')})"
    if target.startswith(("#", "https:", "http:")):
        return link[0]
    return f"`{text}`"


def from_notebook(text: str) -> str:
    """A notebook as a page: its words as they are, its code in fences."""
    cells = [_cell(each["cell_type"], "".join(each["source"])) for each in json.loads(text)["cells"]]
    return "\n\n".join([*cells, f"This page is the notebook [{NOTEBOOK}]({NOTEBOOK})."]) + "\n"


def _cell(kind: str, source: str) -> str:
    return f"```python\n{source}\n```" if kind == "code" else source
