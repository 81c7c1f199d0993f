"""Tests run side by side on few cores: one thread each is faster, and the sums come out the same everywhere."""

from __future__ import annotations

import importlib.util
import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from s2tf_edge.clips import Frame
from s2tf_edge.data.container import open_container, video_stream
from s2tf_edge.data.frames import FrameTimes, scale_frame
from s2tf_edge.runtime.hardware import saturates_int8

os.environ.setdefault("OMP_NUM_THREADS", "1")

_PROPERTIES = settings(deadline=None, database=None, print_blob=True, suppress_health_check=list(HealthCheck))
settings.register_profile("quick", _PROPERTIES, derandomize=True, max_examples=100)
settings.register_profile("ci", _PROPERTIES, derandomize=True, max_examples=2000)
# Others each time; what failed is printed with what gives it again.
settings.register_profile("fuzz", _PROPERTIES, max_examples=5000)
settings.load_profile("quick")

_SHARED = Path(__file__).parents[1] / "../shared"
_SYSTEM_PYTHON = "/usr/bin/python3"


def _has_rtsp_server() -> bool:
    line = [_SYSTEM_PYTHON, "-c", "import gi; gi.require_version('GstRtspServer', '1.0')"]
    return Path(_SYSTEM_PYTHON).exists() and not subprocess.run(line, capture_output=True).returncode


_NEEDS: dict[str, tuple[str, Callable[[], bool]]] = {
    "needs_rtsp_server": ("GStreamer's RTSP server (tools/system-packages.txt)", _has_rtsp_server),
    "needs_chromium": ("the browser Chromium", lambda: shutil.which("chromium") is not None),
    "needs_ssh_keygen": ("ssh-keygen of OpenSSH", lambda: shutil.which("ssh-keygen") is not None),
    "needs_rtx": ("TensorRT-RTX", lambda: importlib.util.find_spec("tensorrt_rtx_bindings") is not None),
    "needs_vnni": ("a processor whose int8 does not overflow, as x86 without VNNI does", lambda: not saturates_int8()),
    "needs_display": ("tkinter and Xvfb", lambda: bool(importlib.util.find_spec("tkinter") and shutil.which("Xvfb"))),
    "needs_shared": ("the folder of real networks and clips beside the repository", _SHARED.is_dir),
}
"""What tests with these marks need, and whether it is here; with FAIL_WITHOUT_RTX=1 and so on they run, and fail."""


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keeps what commands remember from run to run out of the home folder."""
    cache: Path = tmp_path_factory.mktemp("cache")
    os.environ["XDG_CACHE_HOME"] = str(cache)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real networks and clips, which are no part of the project."""
    return _SHARED


@pytest.fixture(scope="session")
def file_limit() -> Callable[[int], AbstractContextManager[None]]:
    """Within it no file of this process may have more bytes: who writes them is told what a full disk would say."""

    @contextmanager
    def limit(size: int) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limit


@pytest.fixture(scope="session")
def read_video() -> Callable[..., list[Frame]]:
    """Reads all frames of a video in order of presentation, scaled to a short side where one is given."""

    def read(path: Path, *, short_side: int = 0) -> list[Frame]:
        with open_container(path) as container:
            stream = video_stream(container)
            times = FrameTimes(stream)
            return [
                Frame(image=scale_frame(frame, short_side), pts_seconds=times.seconds(frame))
                for frame in container.decode(stream)
            ]

    return read


def pytest_configure(config: pytest.Config) -> None:
    for name, (what, _) in _NEEDS.items():
        config.addinivalue_line("markers", f"{name}: needs {what}; skips without it")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for name, (what, is_here) in _NEEDS.items():
        fails = os.environ.get(f"FAIL_WITHOUT_{name.removeprefix('needs_').upper()}") == "1"
        if item.get_closest_marker(name) and not fails and not is_here():
            pytest.skip(f"needs {what}")


@pytest.fixture(scope="module")
def tiny_x3d() -> Iterator[None]:
    """``x3d_tiny`` beside the networks that are published, of 5 blocks: tracing the 26 of the smallest takes long."""
    from s2tf_edge.models import registry
    from s2tf_edge.models.x3d import X3D, X3DOptions
    from s2tf_edge.spec import ClipSpec

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "_ARCHITECTURES", dict(registry._ARCHITECTURES))

        @registry.register("x3d", recipes={"tiny": ClipSpec(frames=5, size=32)}, options=X3DOptions)
        def build(variant: str, *, options: X3DOptions, frames: int, size: int, num_classes: int) -> X3D:
            del variant
            return X3D((1, 1, 2, 1), options=options, frames=frames, size=size, num_classes=num_classes)

        yield
