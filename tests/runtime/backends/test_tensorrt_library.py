"""Loading TensorRT-RTX from its wheels for real, and what is said where a part is missing."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from s2tf_edge.errors import MissingExtraError, UnsupportedError, UsageError
from s2tf_edge.runtime.backends.cuda_memory import load_cuda
from s2tf_edge.runtime.backends.tensorrt_library import EngineLog, drop_noise, has_gpu, load_tensorrt

needs_rtx = pytest.mark.needs_rtx
needs_bindings_alone = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is not None, reason="NVIDIA's own package finds its libraries by itself"
)
NO_GPU = "[checkMacros.cpp::catchCudaError::250] Error Code 1: Cuda Runtime (no driver)"
CUDA_MODULES = ("cuda.bindings.runtime", "cuda.cudart")


def _install(folder: Path, package: str, *, version: str, files: tuple[str, ...] = ()) -> None:
    """Makes a package's metadata as pip writes it."""
    info = folder / f"{package.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    (info / "RECORD").write_text("".join(f"{name},,\n" for name in files))


@needs_rtx
def test_rtx_has_a_name_and_a_version() -> None:
    library = load_tensorrt("trt-rtx", purpose="a test")
    assert library.is_rtx
    assert library.version == library.module.__version__
    assert str(library) == f"TensorRT-RTX {library.version}"


@needs_rtx
def test_two_processes_load_at_once_without_a_home_and_leave_no_files(tmp_path: Path) -> None:
    code = "from s2tf_edge.runtime.backends.tensorrt_library import load_tensorrt as load; load('trt-rtx', purpose='x')"
    environment = {key: value for key, value in os.environ.items() if key != "LD_LIBRARY_PATH"}
    environment |= {"HOME": "/nonexistent", "TMPDIR": str(tmp_path), "XDG_CACHE_HOME": "/nonexistent"}
    command = [sys.executable, "-W", "error", "-c", code]
    processes = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate(timeout=300)[1] for process in processes] == ["", ""]
    assert [process.returncode for process in processes] == [0, 0]
    assert not list(tmp_path.iterdir())


def test_a_target_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="target must be trt or trt-rtx, got 'onnx'"):
        load_tensorrt("onnx", purpose="a test")


def test_a_missing_library_ends_in_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(
        MissingExtraError, match=r"a test needs .*install it with: pip install 's2tf-edge\[tensorrt\]'$"
    ):
        load_tensorrt("trt", purpose="a test")


@needs_bindings_alone
def test_missing_rtx_bindings_end_in_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt_rtx_bindings", None)
    with pytest.raises(MissingExtraError, match=r"a test needs .*install it with: pip install 's2tf-edge\[trt-rtx\]'$"):
        load_tensorrt("trt-rtx", purpose="a test")


@needs_bindings_alone
def test_libraries_of_another_version_than_the_bindings_are_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _install(tmp_path, "tensorrt-rtx-cu12-bindings", version="1.70.1.5")
    _install(tmp_path, "onnxruntime-ep-nv-tensorrt-rtx-cu12", version="9", files=("x/libtensorrt_rtx.so.1.7",))
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        MissingExtraError, match=r"in one version, got bindings 1.70.1.5 and libtensorrt_rtx.so.1.7; in"
    ):
        load_tensorrt("trt-rtx", purpose="a test")


@needs_bindings_alone
def test_a_library_that_is_broken_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _install(tmp_path, "tensorrt-rtx-cu12-bindings", version="9.8.7.6")
    _install(tmp_path, "onnxruntime-ep-nv-tensorrt-rtx-cu12", version="9", files=("libtensorrt_rtx.so.9.8.7",))
    (tmp_path / "libtensorrt_rtx.so.9.8.7").write_bytes(b"no library")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingExtraError, match=r"needs libtensorrt_rtx.so.9.8.7, which does not load \(.*pip install"):
        load_tensorrt("trt-rtx", purpose="a test")


@needs_rtx
def test_errors_are_kept_and_the_last_is_quoted_on_one_line() -> None:
    library = load_tensorrt("trt-rtx", purpose="a test")
    log = EngineLog(library)
    assert log.last_error == "TensorRT-RTX gave no reason"
    network = library.module.Builder(log.listener).create_network(0)
    assert not library.module.OnnxParser(network, log.listener).parse(b"no graph")
    assert "Failed to parse the ONNX model" in log.last_error
    assert "\n" not in log.last_error


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"wrong\n{NO_GPU}\n  types", "wrong types"),
        (NO_GPU, NO_GPU),
        ("", ""),
    ],
)
def test_that_there_is_no_gpu_is_only_said_where_nothing_else_is(text: str, line: str) -> None:
    assert drop_noise(text) == line


def test_without_bindings_there_is_no_gpu_to_use(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in CUDA_MODULES:
        monkeypatch.setitem(sys.modules, name, None)
    assert not has_gpu()
    with pytest.raises(
        MissingExtraError, match=r"running a needs the package 'cuda-python'; .*'s2tf-edge\[tensorrt\]'$"
    ):
        load_cuda(extra="tensorrt", purpose="running a")


@pytest.mark.skipif(importlib.util.find_spec("cuda") is None, reason="cuda-python is not installed")
@pytest.mark.skipif(has_gpu(), reason="there is a GPU")
def test_calls_that_fail_say_which_and_why() -> None:
    cuda = load_cuda(extra="tensorrt", purpose="a test")
    with pytest.raises(UnsupportedError, match=r"there is no NVIDIA GPU here \(.*\), GPU 1 was asked for"):
        cuda.find_gpu(1)
    with pytest.raises(UnsupportedError, match=r"cudaMalloc failed: .*; free the GPU's memory, or check its driver"):
        cuda.call("cudaMalloc", 16)
