"""Runtimes are asked in processes of their own: those that work, are missing, broken, crash or hang."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from s2tf_edge.cli.probing import RuntimeState, probe_runtimes

Place = Callable[[str, str], None]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Installs a package of one file for the processes that are started."""
    paths = [str(tmp_path), *(path for path in sys.path if path)]
    monkeypatch.setenv("PYTHONPATH", ":".join(paths))

    def place(module: str, text: str) -> None:
        (tmp_path / f"{module}.py").write_text(text, encoding="utf-8")

    return place


def ask(name: str, *, patience_seconds: float = 120.0) -> RuntimeState:
    return probe_runtimes([name], patience_seconds=patience_seconds)[name]


def test_a_runtime_that_works(place: Place) -> None:
    import onnxruntime

    del place
    found = ask("onnxruntime")
    assert found.works
    assert found.version == onnxruntime.__version__
    assert "CPU" in found.devices


def test_frames_come_from_pyav(place: Place) -> None:
    import av

    del place
    found = ask("video")
    assert (found.works, found.version) == (True, av.__version__)
    assert found.facts["ffmpeg"] == av.ffmpeg_version_info
    assert isinstance(found.facts["cameras"], list)


def test_what_an_import_prints_is_no_answer(place: Place) -> None:
    place(
        "onnxruntime",
        "print('{}')\n__version__ = '1'\ndef get_available_providers(): return ['TpuExecutionProvider']\n",
    )
    assert ask("onnxruntime") == RuntimeState(is_installed=True, version="1", devices=("Tpu",))


def test_a_package_that_does_not_import_is_broken(place: Place) -> None:
    place("onnxruntime", "raise ImportError('libgomp.so.1: cannot open shared object file')")
    found = ask("onnxruntime")
    assert (found.is_installed, found.works) == (True, False)
    assert found.broken == "ImportError: libgomp.so.1: cannot open shared object file"


def test_a_package_whose_own_needs_are_missing_is_broken(place: Place) -> None:
    place("tensorrt", "import no_such_library_anywhere")
    found = ask("tensorrt")
    assert found.is_installed
    assert found.broken == "ModuleNotFoundError: No module named 'no_such_library_anywhere'"


@pytest.mark.parametrize(
    ("text", "version", "step"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", None, "importing it"),
        ("__version__ = '2'\nclass Core:\n    def __init__(self): os.kill(os.getpid(), signal.SIGSEGV)", "2", None),
    ],
)
def test_a_runtime_that_crashes_leaves_what_was_known(
    place: Place, text: str, version: str | None, step: str | None
) -> None:
    place("openvino", f"import os, signal\n{text}\n")
    found = ask("openvino")
    assert found.version == version
    assert found.broken == f"its process crashed (SIGSEGV) while {step or 'listing its devices'}"


def test_a_runtime_that_ends_the_process_is_broken(place: Place) -> None:
    place("tensorrt", "import os\nos._exit(3)")
    assert ask("tensorrt").broken == "its process ended with exit code 3 while importing it"


def test_a_runtime_that_hangs_is_stopped(place: Place) -> None:
    place("tensorrt", "import signal\nwhile True: signal.pause()")
    broken = ask("tensorrt", patience_seconds=1.0).broken
    assert broken is not None
    assert broken.startswith("it did not answer within 1 s of ")


def test_a_package_that_is_not_there_is_missing(place: Place) -> None:
    if importlib.util.find_spec("tensorrt") is not None:
        pytest.skip("TensorRT is installed here")
    del place
    assert ask("tensorrt") == RuntimeState(is_installed=False)


def test_a_file_where_the_user_happens_to_be_is_no_runtime(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del place
    here = tmp_path / "here"
    here.mkdir()
    (here / "av.py").write_text("raise ImportError('mine')")
    monkeypatch.chdir(here)
    assert ask("video").works
