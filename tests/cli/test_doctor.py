"""``s2tf-doctor``: what it finds here, and what it says of other machines."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from s2tf_edge.cli import diagnosis, doctor, probing
from s2tf_edge.cli.probing import RuntimeState
from s2tf_edge.runtime import hardware
from s2tf_edge.runtime.hardware import Cores

Run = Callable[..., int]

ABSENT = RuntimeState(is_installed=False)
VIDEO = RuntimeState(is_installed=True, version="18.1", facts={"ffmpeg": "8.1", "cameras": []})
BARE: Mapping[str, RuntimeState] = {
    **dict.fromkeys(("openvino", "onnxruntime", "torch", "tensorrt", "tensorrt-rtx", "cuda"), ABSENT),
    "video": VIDEO,
}
ON_CPU = RuntimeState(is_installed=True, version="1.2", devices=("CPU",))
GPU = RuntimeState(is_installed=True, devices=("NVIDIA H200, compute capability 9.0",))
NO_GPU = RuntimeState(is_installed=True, lacks="no NVIDIA GPU here")
ENGINES = RuntimeState(is_installed=True, version="10.3")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command; with ``states``, on a machine whose runtimes answer so and that lacks no packages."""

    def run(*words: str, states: Mapping[str, RuntimeState] | None = None) -> int:
        monkeypatch.setattr(sys, "argv", ["s2tf-doctor", "--quiet", *words])
        if states is not None:
            monkeypatch.setattr(diagnosis, "probe_runtimes", lambda: {**BARE, **states})
            monkeypatch.setattr("s2tf_edge.extras.lacking_packages", lambda: {"export": [], "web": []})
        with pytest.raises(SystemExit, match=r"\d*") as ended:
            doctor.main()
        return int(ended.value.code or 0)

    return run


@pytest.mark.slow
def test_it_says_what_is_here(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    import onnxruntime

    assert run("--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["machine"]["python"] == platform.python_version()
    assert found["runtimes"]["onnxruntime"]["version"] == onnxruntime.__version__
    assert {"onnx", "model.pt"} <= set(found["runs"])
    assert {"onnx", "openvino"} <= set(found["exports"])


def test_a_machine_where_all_is_well(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(states={"openvino": ON_CPU, "onnxruntime": ON_CPU, "torch": ON_CPU, "cuda": NO_GPU}) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "OpenVINO      1.2 on CPU" in lines
    assert "extras        export, web complete" in lines
    assert "runs          openvino, onnx, model.pt" in lines
    assert lines[lines.index("TensorRT      missing; where there is an NVIDIA GPU:") + 1].split("  ")[-1] == (
        "pip install 's2tf-edge[tensorrt]'"
    )
    assert any(line.startswith("exports to    openvino, onnx, trt up to the engine") for line in lines)
    assert max(map(len, lines)) <= 80


def test_a_machine_with_nothing_ends_with_what_a_device_needs(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(states={}) == 7
    said = capsys.readouterr()
    assert "OpenVINO      missing; pip install 's2tf-edge[openvino]'" in said.out
    assert "runs          nothing" in said.out
    assert said.err.endswith("install what does with: pip install 's2tf-edge[device]'\n")
    assert run("--json", states={}) == 7
    assert json.loads(capsys.readouterr().out)["runs"] == []


def test_torch_alone_runs_no_artifact(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(states={"torch": ON_CPU}) == 7
    assert "runs          model.pt" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("states", "runs", "exports", "defers"),
    [
        ({"tensorrt": ENGINES, "cuda": GPU}, ["trt"], [], []),
        ({"tensorrt": ENGINES, "cuda": NO_GPU}, [], [], []),
        ({"torch": ON_CPU, "onnxruntime": ON_CPU}, ["onnx", "model.pt"], ["onnx"], ["trt", "trt-rtx"]),
        (
            {"torch": ON_CPU, "onnxruntime": ON_CPU, "tensorrt-rtx": ENGINES, "cuda": NO_GPU},
            *(["onnx", "model.pt"], ["onnx", "trt-rtx"], ["trt"]),
        ),
        (
            {"torch": ON_CPU, "onnxruntime": ON_CPU, "tensorrt": ENGINES, "cuda": GPU},
            *(["onnx", "trt", "model.pt"], ["onnx", "trt"], ["trt-rtx"]),
        ),
    ],
)
def test_what_runs_and_is_exported_where(
    run: Run,
    capsys: pytest.CaptureFixture[str],
    states: Mapping[str, RuntimeState],
    runs: Sequence[str],
    exports: Sequence[str],
    defers: Sequence[str],
) -> None:
    run("--json", states=states)
    found = json.loads(capsys.readouterr().out)
    assert (found["runs"], found["exports"], found["defers"]) == (runs, exports, defers)


def test_an_engine_without_its_way_to_the_gpu(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run(states={"tensorrt": ENGINES})
    text = " ".join(capsys.readouterr().out.split())
    assert "TensorRT 10.3, but lacks cuda-python to reach a GPU; pip install 's2tf-edge[tensorrt]'" in text


def test_what_is_broken_is_told_with_its_error(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    crashed = RuntimeState(is_installed=True, version="2026.4", broken="its process crashed (SIGILL) while listing it")
    video = RuntimeState(is_installed=True, broken="ImportError: libavcodec.so: \x1b[31mnot found")
    assert run(states={"openvino": crashed, "onnxruntime": ON_CPU, "video": video}) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "OpenVINO 2026.4, broken: its process crashed (SIGILL) while listing it; pip install --force-" in text
    assert r"PyAV broken: ImportError: libavcodec.so: \x1b[31mnot found;" in text
    assert "runs onnx exports" in text


@pytest.mark.parametrize(
    ("architecture", "libc", "states", "said"),
    [
        ("aarch64", ("glibc", "2.31"), {}, "glibc 2.31: OpenVINO's packages for Arm need 2.35; use ONNX Runtime"),
        ("aarch64", ("glibc", "2.36"), {"openvino": ON_CPU}, "on Arm, OpenVINO computes 3-D convolutions by its ref"),
        ("x86_64", ("", ""), {}, "this system's C library is not glibc: there are no packages of OpenVINO for it"),
    ],
)
def test_what_is_known_of_a_machine(
    run: Run,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    architecture: str,
    libc: tuple[str, str],
    states: Mapping[str, RuntimeState],
    said: str,
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: architecture)
    monkeypatch.setattr(platform, "libc_ver", lambda: libc)
    run("--json", states={"onnxruntime": ON_CPU, **states})
    notes = json.loads(capsys.readouterr().out)["notes"]
    assert any(note.startswith(said) for note in notes), notes


def test_no_note_where_a_machine_has_no_trap(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "saturates_int8", lambda: False)
    monkeypatch.setattr(hardware, "is_arm", lambda: False)
    monkeypatch.setattr(hardware, "find_cores", lambda: Cores(there=4, allowed=4, quota=None))
    run("--json", states={"openvino": ON_CPU})
    assert json.loads(capsys.readouterr().out)["notes"] == []


def test_a_processor_without_vnni_a_quota_and_a_camera_without_permission(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "saturates_int8", lambda: True)
    monkeypatch.setattr(hardware, "find_cores", lambda: Cores(there=8, allowed=8, quota=1.5))
    cameras = [{"index": 0, "name": "HD Webcam", "is_allowed": True}, {"index": 2, "name": "", "is_allowed": False}]
    video = RuntimeState(is_installed=True, version="18.1", facts={"ffmpeg": "8.1", "cameras": cameras})
    run(states={"openvino": ON_CPU, "video": video})
    text = " ".join(capsys.readouterr().out.split())
    assert "8 cores, 1.5 for this process" in text
    assert "cameras 0 (HD Webcam), 2" in text
    assert "needs --weight-bits 7" in text
    assert "the time of 1.5 of 8 cores, which runtimes do not see; give --threads 1" in text
    assert "no permission to open /dev/video2" in text


def test_a_package_that_crashes_does_not_take_the_doctor_along(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "av.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n", encoding="utf-8")
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('no libgomp')\n", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", ":".join([str(tmp_path), *(path for path in sys.path if path)]))
    found = probing.probe_runtimes(["video", "onnxruntime"])
    assert run(states={"openvino": ON_CPU, **found}) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "PyAV broken: its process crashed (SIGSEGV) while importing it" in text
    assert "ONNX Runtime broken: ImportError: no libgomp" in text
