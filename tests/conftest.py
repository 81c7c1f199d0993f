"""Tests run side by side on few cores: one thread each is faster, and the sums come out the same everywhere."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
import resource
import select
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
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


def _library(name: str) -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(name)
    except OSError:
        return None


@functools.cache
def _has_gpu() -> bool:
    """Asks the driver itself, whatever packages are here."""
    cuda = _library("libcuda.so.1")
    if cuda is None:
        return False
    count = ctypes.c_int()
    return cuda.cuInit(0) == 0 and cuda.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0


def _has_torch_cuda() -> bool:
    import torch

    return torch.version.cuda is not None


def _has_ort_cuda() -> bool:
    import onnxruntime

    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()


_NEEDS: dict[str, tuple[str, Callable[[], bool]]] = {
    "needs_rtsp_server": ("GStreamer's RTSP server (tools/system-packages.txt)", _has_rtsp_server),
    "needs_chromium": ("the browser Chromium", lambda: shutil.which("chromium") is not None),
    "needs_ssh_keygen": ("ssh-keygen of OpenSSH", lambda: shutil.which("ssh-keygen") is not None),
    "needs_rtx": ("TensorRT-RTX", lambda: importlib.util.find_spec("tensorrt_rtx_bindings") is not None),
    "needs_gpu": ("an NVIDIA GPU and its driver", _has_gpu),
    "needs_torch_cuda": ("PyTorch's CUDA build", _has_torch_cuda),
    "needs_ort_cuda": ("onnxruntime-gpu", _has_ort_cuda),
    "needs_tensorrt": ("TensorRT", lambda: importlib.util.find_spec("tensorrt") is not None),
    "needs_nvdec": ("NVIDIA's video decoder, libnvcuvid", lambda: _library("libnvcuvid.so.1") is not None),
    "needs_vnni": ("a processor whose int8 does not overflow, as x86 without VNNI does", lambda: not saturates_int8()),
    "needs_display": ("tkinter and Xvfb", lambda: bool(importlib.util.find_spec("tkinter") and shutil.which("Xvfb"))),
    "needs_systemd": (
        "systemd-analyze (tools/system-packages.txt)",
        lambda: shutil.which("systemd-analyze") is not None,
    ),
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


class ServiceManager:
    """A datagram socket as systemd has it, and what it is told there."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        # No test waits that long unless something hangs, however busy the machine is.
        self._socket.settimeout(300)

    def next(self) -> list[str]:
        """The lines of the next message, which is waited for."""
        return self._socket.recv(65536).decode().splitlines()

    def told(self) -> list[list[str]]:
        """All messages that have come."""
        messages = []
        while select.select([self._socket], [], [], 0)[0]:
            messages.append(self.next())
        return messages

    def close(self) -> None:
        """Listens no longer."""
        self._socket.close()


@pytest.fixture
def make_manager() -> Iterator[Callable[..., ServiceManager]]:
    """Makes a service manager's socket, in a folder or with an abstract name."""
    # The path of a socket has 107 bytes at most, which those of tests' folders may exceed.
    with tempfile.TemporaryDirectory(prefix="s2tf-") as folder, ExitStack() as stack:

        def make(*, abstract: bool = False) -> ServiceManager:
            manager = ServiceManager(f"@{folder}/notify" if abstract else f"{folder}/notify")
            stack.callback(manager.close)
            return manager

        yield make


@pytest.fixture
def manager(make_manager: Callable[..., ServiceManager]) -> ServiceManager:
    """A service manager's socket."""
    return make_manager()


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
