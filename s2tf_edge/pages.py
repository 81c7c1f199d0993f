"""How pages are made from templates: strictly, and with foreign words escaped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from s2tf_edge.extras import require

__all__ = ["template_environment"]


def template_environment(folder: Path, *, purpose: str, escapes: bool = True) -> Any:
    """An environment of jinja2 for the templates of a folder, which may name nothing that is not given.

    Args:
        folder: of the templates.
        purpose: what they are for, for the error.
        escapes: whether what is put in is escaped, as HTML needs it.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    jinja2 = require("jinja2", extra="report", purpose=purpose)
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=escapes,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
