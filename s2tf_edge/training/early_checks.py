"""What can be known to be wrong before a video is looked at, which may take a while."""

from __future__ import annotations

import os
from pathlib import Path

from s2tf_edge.errors import InputFileError
from s2tf_edge.models.model_file import read_model_file
from s2tf_edge.training.resume import LAST_FILE, check_checkpoint
from s2tf_edge.training.settings_file import SETTINGS_FILE, check_settings_file

__all__ = ["check_run_files"]


def check_run_files(*, out: Path, pretrained: Path | None = None, resume: str | Path = "auto") -> None:
    """Looks at the files of a run; see ``train``.

    Raises:
        InputFileError: the folder cannot be one or be written to, or a file cannot be read.
        UsageError: the folder has a ``train.toml`` that no run has written.
    """
    there = next(folder for folder in (out, *out.absolute().parents) if _is_there(folder))
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        why = "may not be written to" if there.is_dir() else "is no folder"
        msg = f"cannot write into {out}, as {there} {why}; give another `out`"
        raise InputFileError(msg)
    check_settings_file(out / SETTINGS_FILE)
    if pretrained is not None:
        read_model_file(pretrained)
    last = out / LAST_FILE
    if resume == "auto" and last.is_file():
        check_checkpoint(last)
    elif resume not in {"auto", "never"}:
        check_checkpoint(Path(resume))


def _is_there(path: Path) -> bool:
    try:
        return path.exists() or path.is_symlink()
    except PermissionError:  # below a folder that may not be entered, which is then judged itself
        return False
