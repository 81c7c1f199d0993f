"""Packages for a machine with a GPU and without a network: fetched here, put beside what is there on the other side."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
CONSTRAINTS: Final = ROOT / "constraints.txt"
SETS: Final = {
    "core": [
        *("numpy", "av", "typer", "rich", "platformdirs"),
        *("pip", "pytest", "psutil", "nvidia-ml-py", "cuda-python", "jinja2", "matplotlib", "adjustText"),
        *("onnx", "onnx-ir", "onnxscript", "onnxruntime"),
    ],
    "onnxruntime-gpu": ["onnxruntime-gpu[cuda,cudnn]"],
    "tensorrt": ["tensorrt", "cuda-python"],
    "trt-rtx": ["tensorrt-rtx-cu12-bindings", "onnxruntime-ep-nv-tensorrt-rtx-cu12", "cuda-python"],
    "torch-cuda": ["torch", "lightning", "safetensors", "tensorboard"],
}
"""What a machine may lack, by the name that ``--sets`` takes."""
_PIECE: Final = ".piece-"
_BLOCK: Final = 2**20
_NEWEST_GLIBC: Final = 39


def pack(folder: Path, *, sets: Sequence[str], python: str, piece_mb: int | None) -> list[str]:
    """Fetches wheels for x86-64 Linux into a folder.

    Args:
        folder: is made.
        sets: names of ``SETS``.
        python: the other machine's, such as 3.12.
        piece_mb: cut larger files into pieces, for a carrier that takes none so large.

    Returns:
        Lines that tell what went wrong; empty where all is there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    failures = []
    for name in sets:
        done = subprocess.run([*_pip(), "download", *_flags(folder, python), *_pinned(SETS[name])], check=False)
        if done.returncode:
            failures.append(f"{name} could not be fetched whole: pip ended with {done.returncode}, and said why above")
    for wheel in sorted(folder.glob("*.whl")):
        if piece_mb is not None and wheel.stat().st_size > piece_mb * _BLOCK:
            _cut(wheel, piece_mb)
    return failures


def tell_sizes(folder: Path) -> Iterator[str]:
    """A line a file, the largest first, and their sum."""
    sizes = {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()}
    for name, size in sorted(sizes.items(), key=lambda item: -item[1]):
        yield f"{size / 1e6:9.1f} MB  {name}"
    yield f"{sum(sizes.values()) / 1e6:9.1f} MB  in {len(sizes)} files of {folder}"


def install(folders: Sequence[Path], site: Path) -> list[str]:
    """Puts packages that are not here into ``site``; what is here already stays, as its other parts fit it.

    Args:
        folders: hold wheels, and pieces of them.
        site: where packages go; is made.

    Returns:
        Lines that tell what was done.
    """
    files = [path for folder in folders for path in folder.iterdir()]
    wheels = [*(path for path in files if path.suffix == ".whl"), *_join(files, site.with_name("joined"))]
    if any(wheel.name.startswith("onnxruntime_gpu-") for wheel in wheels):
        # Both are the package onnxruntime, and one would lie over the other.
        wheels = [wheel for wheel in wheels if not wheel.name.startswith("onnxruntime-")]
    missing = sorted(wheel for wheel in wheels if _installed(wheel) is None)
    told = [f"{wheel.name}: {_installed(wheel)} is here, and stays" for wheel in sorted(set(wheels) - set(missing))]
    if not missing:
        return told
    pip = _find_pip(missing)
    if pip is None:
        return [*told, "no pip is here, nor a wheel of it beside the others: nothing was installed; pack the set core"]
    words = [*pip, "install", "--quiet", "--no-index", "--no-deps", "--no-compile", "--upgrade", "--target", str(site)]
    if not subprocess.run([*words, *map(str, missing)], check=False, capture_output=True).returncode:
        return [*told, *(f"{wheel.name}: installed" for wheel in missing)]
    # One that does not fit this Python stops all of them.
    for wheel in missing:
        done = subprocess.run([*words, str(wheel)], check=False, capture_output=True, text=True)
        said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        told.append(f"{wheel.name}: {said[-1] if done.returncode else 'installed'}")
    return told


def _pip() -> list[str]:
    return [sys.executable, "-m", "pip", "--disable-pip-version-check"]


def _flags(folder: Path, python: str) -> list[str]:
    # pip takes the platforms that it is given, and none that these include.
    platforms = [f"manylinux_2_{minor}_x86_64" for minor in range(_NEWEST_GLIBC, 16, -1)]
    platforms += ["manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64", "linux_x86_64"]
    flags = ["--dest", str(folder), "--only-binary", ":all:", "--constraint", str(CONSTRAINTS)]
    flags += ["--python-version", python, "--implementation", "cp", "--abi", f"cp{python.replace('.', '')}"]
    flags += ["--abi", "abi3", "--abi", "none"]
    return flags + [word for platform in platforms for word in ("--platform", platform)]


def _pinned(names: Sequence[str]) -> list[str]:
    """The same, with the pinned version of PyTorch spelled out: its CPU build of that version would count as newer."""
    found = re.search(r"^torch==([\w.]+)", CONSTRAINTS.read_text(encoding="utf-8"), re.MULTILINE)
    return [f"torch==={found[1]}" if name == "torch" and found else name for name in names]


def _cut(wheel: Path, piece_mb: int) -> None:
    with wheel.open("rb") as file:
        for number in range(10_000):
            content = file.read(piece_mb * _BLOCK)
            if not content:
                break
            wheel.with_name(f"{wheel.name}{_PIECE}{number:03}").write_bytes(content)
    wheel.unlink()


def _join(files: Sequence[Path], out: Path) -> Iterator[Path]:
    """Wheels that came in pieces, whole again."""
    pieces = sorted((path for path in files if _PIECE in path.name), key=lambda path: path.name)
    for name, parts in itertools.groupby(pieces, key=lambda path: path.name.partition(_PIECE)[0]):
        out.mkdir(parents=True, exist_ok=True)
        with (out / name).open("wb") as file:
            for piece in parts:
                file.write(piece.read_bytes())
        yield out / name


def _installed(wheel: Path) -> str | None:
    try:
        return metadata.version(wheel.name.partition("-")[0].replace("_", "-"))
    except metadata.PackageNotFoundError:
        return None


def _find_pip(wheels: Sequence[Path]) -> list[str] | None:
    if not subprocess.run([*_pip(), "--version"], check=False, capture_output=True).returncode:
        return _pip()
    own = [wheel for wheel in wheels if wheel.name.startswith("pip-")]
    # A wheel of pip runs as it is.
    return [sys.executable, str(own[-1] / "pip"), "--disable-pip-version-check"] if own else None
