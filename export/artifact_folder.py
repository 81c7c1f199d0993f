"""Writing an artifact folder: everything aside first, then one rename.

Whatever goes wrong before the rename (a failed check, Ctrl-C, a full disk), nothing stands under the name asked for,
and an older artifact of that name is as it was. An older one is moved away just before: a power cut between the two
renames leaves it whole beside its name, as ``.<name>.old.*``.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import platform
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Final

from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.runtime.artifact import (
    CANDIDATES_FOLDER,
    META_FILE,
    REPRODUCE_SCRIPT,
    SIGNATURE_FILE,
    ArtifactMeta,
    read_meta,
    sha256,
    write_meta,
)

__all__ = [
    "check_destination",
    "disk_errors",
    "folder_bytes",
    "new_artifact",
    "package_versions",
    "seal",
    "write_executable",
    "write_script",
]

_PACKAGES: Final = ("s2tf-edge", "torch", "onnx", "onnxscript", "onnxruntime", "openvino", "nncf", "numpy")
_DISK_ERRORS: Final = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ENOENT),
}
_ANOTHER: Final = "give another `out`"
"""What is to be done where an artifact may not be written."""
_ANOTHER_TMPDIR: Final = "set TMPDIR to another folder"


def check_destination(folder: Path, *, otherwise: str = _ANOTHER) -> None:
    """Whether an artifact may be written at ``folder``: nothing is there, or an empty folder, or an older artifact.

    Nothing is written.

    Args:
        folder: where it is to be.
        otherwise: what messages say is to be done where it may not.

    Raises:
        InputFileError: the folder above cannot be made or written.
        UsageError: something else is there, which is never overwritten.
    """
    # A link that leads nowhere too is something that no folder can take the name of.
    if os.path.lexists(folder) and (stranger := _find_stranger(folder)) is not None:
        if stranger == folder:
            msg = f"{folder} exists and is not an artifact folder and nothing else; {otherwise}"
        else:
            inner = stranger.relative_to(folder)
            msg = f"{folder} is replaced as a whole, and {inner} is no part of its artifact; move that away"
            msg += f", or {otherwise}" if otherwise == _ANOTHER else ""
        raise UsageError(msg)
    above = next(parent for parent in folder.absolute().parents if os.path.lexists(parent))
    if not above.is_dir():
        what = "is a file" if above.exists() else "is a link that leads nowhere"
        msg = f"cannot make the output folder {folder}: {above} {what}; {otherwise}"
        raise InputFileError(msg)
    if not os.access(above, os.W_OK):
        msg = f"no permission to write into {above}; {otherwise}"
        raise InputFileError(msg)


def _find_stranger(folder: Path) -> Path | None:
    """What is no part of an artifact: ``folder`` itself, or the first thing in it; None where all may be replaced."""
    if folder.is_symlink() or not folder.is_dir():
        return folder
    paths = sorted(folder.iterdir())
    if not paths:
        return None
    try:
        meta = read_meta(folder)
    except InputFileError:
        return folder
    names = {META_FILE, SIGNATURE_FILE, *meta.files}
    for path in paths:
        if path.name == CANDIDATES_FOLDER and path.is_dir():
            if found := _find_stranger_among(path, meta):
                return found
        elif path.name not in names or not path.is_file():
            return path
    return None


def _find_stranger_among(candidates: Path, meta: ArtifactMeta) -> Path | None:
    for each in sorted(candidates.iterdir()):
        if found := each if each.name not in meta.candidates else _find_stranger(each):
            return found
    return None


@contextmanager
def new_artifact(folder: Path, *, otherwise: str = _ANOTHER) -> Iterator[Path]:
    """A temporary folder beside ``folder`` that takes its name if the block ends well, and else is removed.

    Raises:
        InputFileError: the folder cannot be written.
        UsageError: see ``check_destination``.
    """
    check_destination(folder, otherwise=otherwise)
    folder = folder.absolute()
    with disk_errors(folder, otherwise=otherwise):
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Beside its destination, and so on the same file system: a rename cannot fail half-way.
        aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            yield aside
            aside.chmod(0o755)
            _replace(aside, folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def disk_errors(folder: Path, *, otherwise: str) -> Iterator[None]:
    """Tells of a disk that is full, or may not be written to, with what else to do than to free some space.

    That may be the disk of temporary files, on which graphs are made.

    Args:
        folder: what is written by the block, with hidden files beside it or in it that begin with its name.
        otherwise: what is to be done where that cannot be written.

    Raises:
        InputFileError: the block could not write.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK_ERRORS:
            raise
        raise InputFileError(_explain(error, folder, otherwise)) from error


def _explain(error: OSError, folder: Path, otherwise: str) -> str:
    # Of a copy, what is written is named second.
    name = error.filename2 or error.filename
    path = Path(os.fsdecode(name)).absolute() if isinstance(name, str | bytes) else None
    work = _temporary_folder()
    if work is None:
        return f"cannot write temporary files: {error.strerror}; free some space there or {_ANOTHER_TMPDIR}"
    if path is None and _is_other_disk(work, folder):
        both = f"{folder}, or temporary files in {work}"
        return f"cannot write {both}: {error.strerror}; free some space, {_ANOTHER_TMPDIR} or {otherwise}"
    if path is None or _is_part_of(path, folder.absolute()):
        return f"cannot write {path or folder}: {error.strerror}; free some space or {otherwise}"
    if path.is_relative_to(work):
        return f"cannot write {path}: {error.strerror}; free some space there or {_ANOTHER_TMPDIR}"
    return f"cannot use {path}: {error.strerror}; see that it is there, may be used, and its disk is not full"


def _temporary_folder() -> Path | None:
    """Where temporary files go; None where there is no place for them."""
    try:
        return Path(tempfile.gettempdir()).absolute()
    except FileNotFoundError:
        return None


def _is_other_disk(work: Path, folder: Path) -> bool:
    above = next(parent for parent in folder.absolute().parents if parent.exists())
    return work.exists() and work.stat().st_dev != above.stat().st_dev


def _is_part_of(path: Path, folder: Path) -> bool:
    """Whether it is the folder, lies in it or in what will have its name, or is a folder that it is to lie in."""
    names = [part for part in path.parts if part == folder.name or part.startswith(f".{folder.name}.")]
    return bool(names) or folder.is_relative_to(path)


def _replace(aside: Path, folder: Path) -> None:
    if not folder.exists():
        aside.rename(folder)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
    try:
        # Python has no call that swaps two folders: between these renames the name is free for some microseconds.
        folder.rename(old)
        aside.rename(folder)
    except BaseException:
        if not folder.exists():
            old.rename(folder)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def seal(meta: ArtifactMeta, folder: Path) -> ArtifactMeta:
    """Records the hash of every file in ``folder``, those that ``meta`` names first, and writes ``meta.json``."""
    others = sorted(path.name for path in folder.iterdir() if path.is_file() and path.name != META_FILE)
    names = dict.fromkeys([*meta.files, *others])
    meta = dataclasses.replace(meta, files={name: sha256(folder / name) for name in names})
    write_meta(meta, folder)
    return meta


def write_script(arguments: Sequence[str], folder: Path) -> None:
    """Writes ``reproduce.sh``, which runs ``arguments`` quoted for the shell."""
    text = f"#!/bin/sh\n# Makes this folder again.\nset -eu\nexec {shlex.join(arguments)}\n"
    write_executable(text, folder / REPRODUCE_SCRIPT)


def write_executable(text: str, path: Path) -> None:
    """Writes a script that anyone may run."""
    # Paths that are no valid UTF-8, or come through a locale without it, go back as the bytes that they were.
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    path.chmod(0o755)


def folder_bytes(folder: Path) -> int:
    """Size of all files of an artifact; what lies there under several names counts once."""
    found = {(stat.st_dev, stat.st_ino): stat.st_size for stat in (path.stat() for path in _files_below(folder))}
    return sum(found.values())


def _files_below(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def package_versions() -> dict[str, str]:
    """Versions of Python and of every package that had a hand in an export."""
    versions = {"python": platform.python_version()}
    installed = {each.name: each.version for each in metadata.distributions() if each.name in _PACKAGES}
    return versions | {name: installed[name] for name in _PACKAGES if name in installed}
