"""What ``s2tf_edge.runtime`` gives is imported once it is asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

from s2tf_edge import runtime


def test_every_name_is_there() -> None:
    assert sorted(runtime._PLACES) == runtime.__all__
    assert all(getattr(runtime, name).__name__ == name for name in runtime.__all__ if name != "Record")


def test_there_is_no_other() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'recognise'"):
        _ = runtime.recognise


def test_the_machine_is_known_without_any_library() -> None:
    lines = [
        "import sys",
        "from s2tf_edge.runtime import hardware",
        "print([name for name in ('numpy', 'av') if name in sys.modules])",
    ]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
