"""Putting an artifact into a model repository of Triton Inference Server, whole or not at all.

    models/                       the repository, ``--triton``
      model_onnx_fp32/            a model, by the name of the artifact's folder
        config.pbtxt              how the server opens it; written once, then its owner's
        labels.txt README.md
        1/                        a version
          model.onnx              or model.xml and model.bin, or model.plan
          artifact.json           which artifact that was
        2/                        the next one that was published under this name

Files are copies, as repositories are synchronized to object stores, and written aside: a server that polls the
repository sees a model or version once it is whole.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.export.artifact_folder import disk_errors, package_versions, write_executable
from s2tf_edge.export.targets.tensorrt_options import trtexec_command
from s2tf_edge.export.triton.config import LABELS_FILE, config_text, find_fingerprint, fingerprint, labels_text
from s2tf_edge.export.triton.interface import PLAN_FILE, ServedModel, engine_options, served_model
from s2tf_edge.export.triton.readme import readme_text
from s2tf_edge.export.triton.steps import write_step_graph
from s2tf_edge.file_kinds import META_FILE, RUNNABLE, check_kind
from s2tf_edge.runtime.artifact import (
    BUILD_SCRIPT,
    ENGINE_FILE,
    GRAPH_FILE,
    GRAPH_WEIGHTS_FILE,
    IR_FILE,
    IR_WEIGHTS_FILE,
    read_checked,
    sha256,
)
from s2tf_edge.text_file import read_bytes, write_json, write_text

__all__ = ["Publication", "Published", "check_repository", "model_name", "plan_publication", "publish"]

_CONFIG_FILE: Final = "config.pbtxt"
_README_FILE: Final = "README.md"
_ARTIFACT_FILE: Final = "artifact.json"
_MOST_CONFIG_BYTES: Final = 2**22
_VERSION: Final = re.compile(r"[1-9][0-9]{0,17}")
_COPIES: Final = {
    GRAPH_FILE: (GRAPH_FILE, GRAPH_WEIGHTS_FILE),
    IR_FILE: (IR_FILE, IR_WEIGHTS_FILE),
}
"""Files of an artifact that make its model, by the one that is opened."""


@dataclass(frozen=True, kw_only=True)
class Publication:
    """An artifact that may be published; nothing is written yet."""

    artifact: Path
    model: ServedModel
    repository: Path

    @property
    def name(self) -> str:
        """Of the model."""
        return model_name(self.artifact)

    @property
    def folder(self) -> Path:
        """Of the model."""
        return self.repository / self.name

    def lines(self) -> list[str]:
        """What would be done, for a dry run."""
        version = _next_version(self.folder)
        return [
            f"would publish {self.artifact} as {self.folder}, version {version} or the one that it equals",
            f"for Triton's {self.model.backend.name} backend",
        ]


@dataclass(frozen=True, kw_only=True)
class Published:
    """A version of a model in a repository."""

    folder: Path
    """Of the model."""
    version: int
    backend: str
    is_new: bool
    """Whether it was written now; else the newest version has the same files."""
    build_script: Path | None = None
    """What builds its engine on the server, where that is left to do."""


def model_name(artifact: Path) -> str:
    """What an artifact is called in a repository: its folder's name, less what has no place in an address."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", artifact.resolve().name).strip("._-")
    return name or "model"


def plan_publication(artifact: str | Path, repository: Path, *, require_signature: Path | None = None) -> Publication:
    """Checks everything that can be checked before an artifact is published.

    Args:
        artifact: its folder.
        repository: the folder of all models, which is made where it is not there.
        require_signature: OpenSSH's list of those who may have signed the artifact; None for anybody.

    Raises:
        InputFileError: the artifact is damaged or not signed as asked for, or the repository cannot be written.
        MissingExtraError: it is a step, and ONNX is not installed.
        UnsupportedError: Triton has nothing that runs it.
        UsageError: there is another model of that name, the repository is no such folder, or the artifact is several.
    """
    folder = check_kind(artifact, RUNNABLE).stands_for
    if not folder.is_dir():
        msg = f"{folder} is no artifact, which alone can be published; give `target` too, to export it first"
        raise UsageError(msg)
    publication = Publication(
        artifact=folder,
        model=served_model(folder, read_checked(folder, signers=require_signature)),
        repository=repository,
    )
    check_repository(repository, folder)
    if os.path.lexists(publication.folder):
        _check_same(publication)
    return publication


def check_repository(repository: Path, artifact: Path) -> None:
    """Whether an artifact that is at ``artifact``, or will be, may be published in ``repository``.

    Raises:
        InputFileError: the folder cannot be made or written.
        UsageError: it is an artifact or a model itself, or has the artifact, or what was not published here, where the
            model would be.
    """
    for name, kind in ((META_FILE, "an artifact"), (_CONFIG_FILE, "one model of a repository")):
        if (repository / name).is_file():
            msg = f"{repository} is {kind}; give `triton` the folder that is to hold all models"
            raise UsageError(msg)
    inside, place = repository.resolve(), artifact.resolve()
    if inside.is_relative_to(place) or inside / model_name(artifact) == place:
        msg = f"{artifact} and its model in {repository} would be one folder; give `triton` another one"
        raise UsageError(msg)
    if not repository.exists() and (link := _find_broken_link(repository)) is not None:
        msg = (
            f"cannot make the model repository {repository}: {link} is a link that leads nowhere; give another `triton`"
        )
        raise InputFileError(msg)
    above = next(folder for folder in (inside, *inside.parents) if folder.exists())
    if not above.is_dir():
        msg = f"cannot make the model repository {repository}: {above} is a file; give another `triton`"
        raise InputFileError(msg)
    if not os.access(above, os.W_OK):
        msg = f"no permission to write into {above}; give another `triton`"
        raise InputFileError(msg)
    published = repository / model_name(artifact)
    if os.path.lexists(published):
        _read_fingerprint(published)


def _find_broken_link(folder: Path) -> Path | None:
    """The first of a folder that is to be made, and those above it, which is there and nothing that can be one."""
    return next((path for path in (folder, *folder.parents) if path.is_symlink() and not path.exists()), None)


def publish(publication: Publication) -> Published:
    """Writes the model, or a version of it; where the newest one has the same files, nothing.

    Raises:
        InputFileError: the repository cannot be written, or the artifact's graph is not as it says.
        MissingExtraError: it is a step, and ONNX or ONNX Runtime is not installed.
        UsageError: there is another model of that name by now.
        VerificationError: the graph with whole states does not agree with the artifact's.
    """
    place, model = publication.folder, publication.model
    with _write_errors(publication), _aside(publication) as aside:
        _write_version(publication, aside / "1")
        if not os.path.lexists(place):
            _write_common(publication, aside)
            aside.rename(place)
            number, is_new = 1, True
        else:
            _check_same(publication)
            newest = _next_version(place) - 1
            is_new = not _is_same(aside / "1", place / str(newest))
            number = newest + 1 if is_new else newest
            if is_new:
                (aside / "1").rename(place / str(number))
    script = place / str(number) / BUILD_SCRIPT
    is_left = script.is_file() and not (script.parent / model.file).exists()
    return Published(
        folder=place,
        version=number,
        backend=model.backend.name,
        is_new=is_new,
        build_script=script if is_left else None,
    )


def _check_same(publication: Publication) -> None:
    """Whether what is there under the name is a model whose next version this may be."""
    place = publication.folder
    if _read_fingerprint(place) != fingerprint(publication.model):
        msg = (
            f"{place} is a model of other inputs, outputs, clips, labels or backend, and all versions have these in "
            f"common; give another `triton`, or rename {publication.artifact}"
        )
        raise UsageError(msg)


def _read_fingerprint(place: Path) -> str:
    """What all versions of a model have in common."""
    config = place / _CONFIG_FILE
    text = read_bytes(config, max_bytes=_MOST_CONFIG_BYTES) if config.is_file() else b""
    found = find_fingerprint(text.decode("utf-8", "replace"))
    if found is None:
        msg = f"{place} exists and is no model that was published here; give another `triton`, or rename the artifact"
        raise UsageError(msg)
    return found


@contextmanager
def _write_errors(publication: Publication) -> Iterator[None]:
    with disk_errors(publication.folder, otherwise="give another `triton`"):
        try:
            yield
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                raise
            msg = f"somebody else has just written {publication.folder}; publish again"
            raise InputFileError(msg) from error


@contextmanager
def _aside(publication: Publication) -> Iterator[Path]:
    """An empty folder on the repository's file system, where a server does not look, if that is to be had."""
    repository, place = publication.repository, publication.folder
    repository.mkdir(parents=True, exist_ok=True)
    beside = repository.resolve().parent
    if place.is_dir():
        where = place  # in which the server looks for numbers
    elif os.access(beside, os.W_OK) and beside.stat().st_dev == repository.stat().st_dev:
        where = beside
    else:
        where = repository
    with tempfile.TemporaryDirectory(prefix=f".{publication.name}.", dir=where) as work:
        aside = Path(work) / publication.name
        aside.mkdir()
        yield aside


def _write_common(publication: Publication, folder: Path) -> None:
    model, name = publication.model, publication.name
    texts = {
        _CONFIG_FILE: config_text(model, name),
        LABELS_FILE: labels_text(model),
        _README_FILE: readme_text(model, name),
    }
    for file, text in texts.items():
        write_text(folder / file, text)


def _write_version(publication: Publication, folder: Path) -> None:
    artifact, model = publication.artifact, publication.model
    folder.mkdir()
    if model.is_step:
        write_step_graph(artifact, model, folder / GRAPH_FILE)
    elif model.is_built and model.file == PLAN_FILE:
        shutil.copyfile(artifact / ENGINE_FILE, folder / PLAN_FILE)
    else:
        file = GRAPH_FILE if model.file == PLAN_FILE else model.file
        for name in _COPIES.get(file, (file,)):
            if (artifact / name).is_file():
                shutil.copyfile(artifact / name, folder / name)
    if not model.is_built:
        write_executable(_script(publication), folder / BUILD_SCRIPT)
    write_json(folder / _ARTIFACT_FILE, _describe(publication))


def _script(publication: Publication) -> str:
    part, meta = f"{PLAN_FILE}.part", publication.model.meta
    options = engine_options(publication.artifact, meta)
    shape = meta.clip.input_shape()[1:]
    command = trtexec_command(GRAPH_FILE, engine_name=part, options=options, clip_shape=shape)
    return f"""#!/bin/sh
# Builds {PLAN_FILE}, on the GPU and with the TensorRT of the server that is to open it.
set -eu
cd "$(dirname "$0")"
PATH="$PATH:/usr/src/tensorrt/bin"
{command}
mv {part} {PLAN_FILE}
"""


def _describe(publication: Publication) -> dict[str, object]:
    """Which artifact a version was, for who finds it on a server."""
    meta = publication.model.meta
    return {
        "artifact": publication.artifact.resolve().name,
        "meta_sha256": sha256(publication.artifact / META_FILE),
        "network": meta.network,
        "target": meta.target,
        "precision": meta.precision.get("asked"),
        "source": dict(meta.source),
        "published_by": {"s2tf-edge": package_versions().get("s2tf-edge")},
    }


def _next_version(place: Path) -> int:
    if not place.is_dir():
        return 1
    versions = [int(path.name) for path in place.iterdir() if path.is_dir() and _VERSION.fullmatch(path.name)]
    return max(versions, default=0) + 1


def _is_same(made: Path, there: Path) -> bool:
    """Whether a version has all files that were made for one; others, as a finished engine, may lie there too."""
    return all(
        (there / path.name).is_file()
        and (there / path.name).stat().st_size == path.stat().st_size
        and sha256(there / path.name) == sha256(path)
        for path in made.iterdir()
        if path.name != _ARTIFACT_FILE
    )
