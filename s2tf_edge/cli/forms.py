"""The forms of a network that ``s2tf-optimize`` measures, each exported once: a journal says what is there already."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from s2tf_edge.cli.app import say
from s2tf_edge.errors import BuildError, MissingExtraError, UnsupportedError, UsageError, VerificationError

__all__ = ["MadeForm", "PlannedForm", "make_forms", "plan_forms"]

_PROBES: Final = ("openvino", "onnxruntime", "tensorrt", "tensorrt-rtx", "cuda")
"""What is asked whether it works here."""
_PRECISIONS: Final = {
    "onnx": ("fp32", "int8"),
    "openvino": ("fp32", "fp16", "int8"),
    "trt": ("fp16", "int8"),
    "trt-rtx": ("fp16", "int8"),
}
_JOURNAL: Final = "optimize.json"
_END_SECONDS: Final = 10.0
"""For an export to end in order."""
_EXPORT: Final = "from s2tf_edge.cli.export import main; main()"


@dataclass(frozen=True, kw_only=True)
class PlannedForm:
    """One way to export the network."""

    target: str
    precision: str
    words: tuple[str, ...]
    """What ``s2tf-export`` is told, the network and the folder left out."""
    of_clips: bool = False
    """Whether it is the clip form of a network that can step."""

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.target}_{self.precision}{'_clip' if self.of_clips else ''}"


@dataclass(frozen=True, kw_only=True)
class MadeForm:
    """What became of a form."""

    name: str
    key: str
    """Of the network and the words it was exported with: the same need not be made again. Empty where it may."""
    error: str | None = None


def plan_forms(targets: str | None, *, calib: str, meta: Path | None) -> list[PlannedForm]:
    """All precisions of the targets, of every target that runs here unless they are named.

    Args:
        targets: names with commas between.
        calib: data that int8 is calibrated on.
        meta: what says which clips an .onnx takes.

    Raises:
        MissingExtraError: no target is named, and none runs here.
        UsageError: there is no such target.
    """
    return list(_forms(_choose_targets(targets), calib=calib, meta=meta))


def make_forms(
    model: Path, forms: Sequence[PlannedForm], out: Path, *, meta: Path | None, quiet: bool
) -> list[MadeForm]:
    """Exports all forms, one after another; of a network that steps, forms of clips as well.

    Args:
        model: the network.
        forms: what to make of it.
        out: gets a folder for each, and the journal; those that are there from before are left as they are.
        meta: what says which clips an .onnx takes.
        quiet: whether exports say no more than what fails.

    Returns:
        What became of each, in order.

    Raises:
        BuildError: not one could be exported.
    """
    made = _make_all(model, forms, out, meta=meta, quiet=quiet)
    if any(_steps(out / each.name) for each in made if each.error is None):
        clips = [replace(form, words=(*form.words, "--form", "clip"), of_clips=True) for form in forms]
        made += _make_all(model, clips, out, meta=meta, quiet=quiet)
    if all(each.error is not None for each in made):
        msg = "no form could be exported; " + "; ".join(f"{each.name}: {each.error}" for each in made)
        raise BuildError(msg)
    return made


def _choose_targets(text: str | None) -> list[str]:
    if text is None:
        return _find_targets()
    from s2tf_edge.export.targets.familiar_names import TARGET_NAMES

    names = [TARGET_NAMES.name(name.strip()) for name in text.split(",")]
    unknown = [name for name in names if name not in _PRECISIONS]
    if unknown:
        msg = f"`targets` may be {', '.join(_PRECISIONS)}, got {unknown[0]!r}"
        raise UsageError(msg)
    return list(dict.fromkeys(names))


def _find_targets() -> list[str]:
    """What runs here, GPU and driver included."""
    from s2tf_edge.cli.diagnosis import runnable_targets
    from s2tf_edge.cli.probing import probe_runtimes

    found = runnable_targets(probe_runtimes(_PROBES))
    if not found:
        msg = "no runtime works here, so nothing could be measured; s2tf-doctor says what is missing"
        raise MissingExtraError(msg)
    return [target for target in _PRECISIONS if target in found]


def _forms(targets: Sequence[str], *, calib: str, meta: Path | None) -> Iterator[PlannedForm]:
    own = ("--meta", str(meta)) if meta else ()
    for target in targets:
        for precision in _PRECISIONS[target]:
            words = ("--target", target, "--precision", precision, "--calib", calib, *own)
            yield PlannedForm(target=target, precision=precision, words=words)


def _make_all(
    model: Path, forms: Sequence[PlannedForm], out: Path, *, meta: Path | None, quiet: bool
) -> list[MadeForm]:
    from s2tf_edge.runtime.artifact import sha256
    from s2tf_edge.text_file import write_json

    out.mkdir(parents=True, exist_ok=True)
    before = {each.name: each for each in _read_journal(out / _JOURNAL)}
    digests = [sha256(file) for file in [*_files_of(model), *([meta] if meta else [])]]
    content = hashlib.sha256("".join(digests).encode()).hexdigest()
    made: list[MadeForm] = []
    for number, form in enumerate(forms, start=1):
        key = f"{content} {shlex.join(form.words)}"
        known = before.get(form.name)
        if known is not None and known.key == key and (known.error or (out / form.name / "meta.json").is_file()):
            again = f"failed before ({known.error}); without {out / _JOURNAL} it is tried again"
            say(f"{form.name} {again if known.error else 'is there from before'}", err=True)
            made.append(known)
        else:
            say(f"form {number} of {len(forms)}, {form.name}", err=True)
            made.append(_make(model, form, out / form.name, key=key, quiet=quiet))
        # After each: what was interrupted goes on from here.
        rest = [each for name, each in before.items() if name not in {one.name for one in made}]
        write_json(out / _JOURNAL, [asdict(each) for each in [*made, *rest]])
    return made


def _make(model: Path, form: PlannedForm, folder: Path, *, key: str, quiet: bool) -> MadeForm:
    """Exports one form in a process of its own: a runtime that crashes takes no other form with it."""
    words = [str(model), *form.words, "--out", str(folder), *(["--quiet"] if quiet else [])]
    say(f"$ s2tf-export {shlex.join(words)}", err=True)
    command = [sys.executable, "-c", _EXPORT, *words]
    results, told = (subprocess.DEVNULL, subprocess.PIPE) if quiet else (subprocess.PIPE, subprocess.STDOUT)
    with _child(subprocess.Popen(command, stdout=results, stderr=told, text=True)) as process:
        last = ""
        for line in process.stdout or process.stderr or ():
            # What to do next is told when all are there.
            if not line.startswith(("next: ", "      s2tf-")):
                say(line.rstrip("\n"), err=True)
            last = line.strip() or last
        code = process.wait()
    if code == 0:
        return MadeForm(name=form.name, key=key)
    shutil.rmtree(folder, ignore_errors=True)
    ended = f"ended by signal {-code}" if code < 0 else f"exit {code}"
    # What is wrong with the network stays so; a file that was missing, or a signal, may not come again.
    lasts = code in {UnsupportedError.exit_code, BuildError.exit_code, VerificationError.exit_code}
    return MadeForm(name=form.name, key=key if lasts else "", error=last.removeprefix("s2tf-export: error: ") or ended)


@contextmanager
def _child(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """A process that does not outlive this command, whatever ends it."""
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(_END_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()


def _files_of(model: Path) -> list[Path]:
    """All that the network's weights lie in."""
    if model.suffix.lower() != ".onnx":
        return [model]
    from s2tf_edge.export.sources.graphs.graph_file import files_of_graph

    return files_of_graph(model)


def _read_journal(path: Path) -> list[MadeForm]:
    """What was made before; nothing where that cannot be told."""
    try:
        items = json.loads(path.read_text(encoding="utf-8"))
        return [MadeForm(name=str(item["name"]), key=str(item["key"]), error=item["error"]) for item in items]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []


def _steps(artifact: Path) -> bool:
    from s2tf_edge.runtime.artifact import read_meta

    return read_meta(artifact).step is not None
