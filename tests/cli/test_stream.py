"""``s2tf-stream`` as a user runs it."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from s2tf_edge.cli import stream as command
from s2tf_edge.cli.cache import remember_artifact
from s2tf_edge.data.video import probe
from s2tf_edge.runtime.artifact import ArtifactMeta, sha256, write_meta
from s2tf_edge.runtime.session import Session
from s2tf_edge.spec import ClipSpec

LABELS = ("dark", "gray", "bright")
LEVELS = (0.1, 0.5, 0.9)
SPEC = ClipSpec(frames=4, stride=2, fps=25.0, size=32, layout="NTHWC", dtype="uint8")
CLIP = "lavfi:color=white:size=64x48:rate=25"
Printed = tuple[int, str, str]


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real artifact for ONNX Runtime whose answer can be told beforehand: it measures brightness."""
    folder = tmp_path_factory.mktemp("art") / "brightness ä"
    folder.mkdir()
    shape = list(SPEC.input_shape())
    constants = {
        "levels": np.array([LEVELS], np.float32),
        "white": np.array([[255]], np.float32),
        "steepness": np.array([[-20]], np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["clip"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["float"], ["flat"]),
        helper.make_node("ReduceMean", ["flat"], ["sum"], axes=[1], keepdims=1),
        helper.make_node("Div", ["sum", "white"], ["mean"]),
        helper.make_node("Sub", ["mean", "levels"], ["difference"]),
        helper.make_node("Abs", ["difference"], ["distance"]),
        helper.make_node("Mul", ["distance", "steepness"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "brightness",
        [helper.make_tensor_value_info("clip", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 3])],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "model.onnx")
    meta = ArtifactMeta(
        network="brightness",
        labels=LABELS,
        clip=SPEC,
        target="onnx",
        precision={"asked": "fp32"},
        inputs={"clip": {"shape": shape, "dtype": "uint8"}},
        outputs={"logits": {"shape": [1, 3], "dtype": "float32"}},
        model="model.onnx",
        files={"model.onnx": sha256(folder / "model.onnx")},
    )
    write_meta(meta, folder)
    return folder


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of dark, two of bright frames."""
    path = tmp_path_factory.mktemp("video") / "two actions.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for level in [25] * 50 + [230] * 50:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((64, 96, 3), level, np.uint8))))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Printed]:
    """Runs the console script; gives its exit code, stdout and stderr."""

    def run(*arguments: str | Path) -> Printed:
        monkeypatch.setattr(sys, "argv", ["s2tf-stream", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            command.main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


def _records(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_readable_lines_on_stdout_and_a_summary_on_stderr(
    run: Callable[..., Printed], artifact: Path, video: Path
) -> None:
    code, out, err = run(artifact, "--source", video, "--smooth", "none", "--hop", 1)
    assert code == 0
    assert [line.split()[2] for line in out.splitlines() if "gray" not in line] == ["dark", "bright"]
    assert "100 frames" in err


@pytest.mark.parametrize("smooth", ["none", "ema:0.2"])
def test_lines_and_json_lines_tell_the_same_time_of_an_action(
    run: Callable[..., Printed], artifact: Path, video: Path, smooth: str
) -> None:
    shared = (artifact, "--source", video, "--smooth", smooth)
    lines = [line.split() for line in run(*shared)[1].splitlines()]
    records = _records(run(*shared, "--jsonl", "-")[1])
    events = [record for record in records if record["type"] == "event"]
    assert len(events) >= 2
    assert [(time, label) for time, _, label, _ in lines] == [(f"{e['t_start']:.2f}", e["label"]) for e in events]
    actions = [record["action"] for record in records if record["type"] == "prediction" and record["action"]]
    begun = dict.fromkeys((action["label"], action["t_start"]) for action in actions)
    assert [*begun] == [(event["label"], event["t_start"]) for event in events]


def test_json_lines_on_stdout_and_nothing_else(run: Callable[..., Printed], artifact: Path, video: Path) -> None:
    code, out, _ = run(artifact, "--source", video, "--jsonl", "-", "--topk", 2, "--threshold", 0.6)
    records = _records(out)
    assert code == 0
    assert [records[0]["type"], records[-1]["type"]] == ["start", "summary"]
    assert records[0]["labels"] == 3
    assert ClipSpec.from_dict(records[0]["clip"]) == SPEC
    predictions = [record for record in records if record["type"] == "prediction"]
    assert len(predictions) == records[-1]["windows"] == 47
    assert all(len(record["topk"]) == 2 for record in predictions)
    events = [record["label"] for record in records if record["type"] == "event"]
    assert events[0] == "dark"
    assert events[-1] == "bright"


def test_a_file_of_json_lines_and_a_saved_video(
    run: Callable[..., Printed], artifact: Path, video: Path, tmp_path: Path
) -> None:
    lines, saved = tmp_path / "out.jsonl", tmp_path / "saved.mp4"
    code, _, err = run(artifact, "--source", video, "--jsonl", lines, "--save", saved)
    assert code == 0
    assert _records(lines.read_text(encoding="utf-8"))[-1]["frames_in"] == 100
    info = probe(saved)
    assert (info.width, info.height, info.frames) == (96, 64, 100)
    assert "saved" in err


def test_a_network_of_this_package(run: Callable[..., Printed], video: Path, tmp_path: Path) -> None:
    from s2tf_edge.models import create_model, save_model

    save_model(tmp_path / "model.pt", create_model("r3d_10?width=0.125", num_classes=4, frames=4, size=24))
    code, out, err = run(tmp_path / "model.pt", "--source", video, "--jsonl", "-", "--duration", 1, "--threads", 1)
    records = _records(out)
    assert code == 0, err
    assert records[0]["target"] == "torch"
    assert records[-1]["windows"] > 3


def test_a_file_of_json_lines_for_each_source(
    run: Callable[..., Printed], artifact: Path, video: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.mp4"
    other.write_bytes(video.read_bytes())
    code, out, _ = run(artifact, "--source", video, "--source", other, "--jsonl", f"{tmp_path / 'found'}/")
    assert (code, out) == (0, "")
    files = sorted((tmp_path / "found").iterdir())
    assert [file.name for file in files] == ["other.jsonl", "two actions.jsonl"]
    first, second = (_records(file.read_text(encoding="utf-8")) for file in files)
    assert [each["type"] for each in first] == [each["type"] for each in second]
    assert (first[0]["sources"], first[-1]["frames_in"]) == ([str(other)], 100)


def test_a_part_of_a_file(run: Callable[..., Printed], artifact: Path, video: Path) -> None:
    code, out, _ = run(artifact, "--source", video, "--start", "0:02", "--end", "3", "--jsonl", "-")
    records = _records(out)
    predictions = [record for record in records if record["type"] == "prediction"]
    assert code == 0
    assert {record["label"] for record in predictions} == {"bright"}
    assert predictions[0]["t_start"] == 2
    assert 2.9 <= predictions[-1]["t_end"] <= 3


def test_saliency_over_a_saved_video(run: Callable[..., Printed], video: Path, tmp_path: Path) -> None:
    from s2tf_edge.models import create_model, save_model

    save_model(tmp_path / "model.pt", create_model("s2tf_r3d_10?width=0.0625", num_classes=4, frames=4, size=32))
    saved = [tmp_path / "plain.mp4", tmp_path / "saliency.mp4"]
    for path, flags in zip(saved, ([], ["--saliency"]), strict=True):
        code, _, err = run(tmp_path / "model.pt", "--source", video, "--save", path, "--threads", 1, *flags)
        assert code == 0, err
    plain, salient = (next(av.open(str(path)).decode(video=0)).to_ndarray(format="rgb24") for path in saved)
    assert plain.shape == salient.shape
    # Of a picture without anything in it the mask is flat: what is seen is where it would lie.
    assert np.abs(plain[:32].astype(int) - salient[:32].astype(int)).mean() > 0.2


def test_a_self_test_that_is_too_short(run: Callable[..., Printed], artifact: Path) -> None:
    code, out, err = run(artifact, "--selftest", "--duration", 5)
    assert (code, out) == (2, "")
    assert "a self-test takes 30 seconds or more, got 5" in err


def test_a_page_while_it_runs(artifact: Path) -> None:
    code = "from s2tf_edge.cli.stream import main; main()"
    line = [sys.executable, "-c", code, str(artifact), "--source", CLIP, "--serve", "127.0.0.1:0", "--jsonl", "-"]
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = process.stderr.readline()
        url = said.removeprefix("serving ").strip()
        try:
            metrics = _fetched_until(f"{url}metrics", "s2tf_windows")
            assert json.loads(_fetched_until(f"{url}healthz", '"ok"'))["status"] == "ok"
        finally:
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert 'source="' in metrics


def _fetched_until(url: str, text: str) -> str:
    """The answer of ``url`` once it holds ``text``."""
    deadline, answer = time.monotonic() + 120, ""
    while text not in answer and time.monotonic() < deadline:
        with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(url, timeout=60) as response:
            answer = response.read().decode()
        time.sleep(0.05)
    assert text in answer
    return answer


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is full is made of Linux's /dev/full")
def test_where_a_disk_is_full_the_runs_end_before_the_session_is_closed(
    run: Callable[..., Printed], artifact: Path, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running: list[str] = []

    def close(session: Session) -> None:
        running.extend(thread.name for thread in threading.enumerate() if thread.name.startswith("infer"))
        real_close(session)

    real_close = Session.close
    monkeypatch.setattr(Session, "close", close)
    code, _, err = run(artifact, "--source", video, "--jsonl", "/dev/full")
    assert code == 9
    assert "No space left on device" in err
    assert running == []


@pytest.mark.needs_display
def test_without_a_display_nothing_can_be_shown(artifact: Path) -> None:
    code = "from s2tf_edge.cli.stream import main; main()"
    line = [sys.executable, "-c", code, str(artifact), "--source", CLIP, "--show"]
    bare = {name: value for name, value in os.environ.items() if name != "DISPLAY"}
    done = subprocess.run(line, env=bare, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout) == (2, "")
    assert "showing pictures needs a display" in done.stderr


def test_without_an_artifact_the_last_one_exported(run: Callable[..., Printed], artifact: Path, video: Path) -> None:
    remember_artifact(artifact)
    code, out, err = run("--source", video, "--jsonl", "-")
    assert code == 0
    assert _records(out)[0]["artifact"] == str(artifact)
    assert err.splitlines()[0] == f"no ARTIFACT given: running the one exported last, {artifact}"
    assert run("--source", video, "--jsonl", "-", "-q")[2] == ""


def test_a_source_that_fails_beside_one_that_does_not(
    run: Callable[..., Printed], artifact: Path, video: Path, tmp_path: Path
) -> None:
    code, out, err = run(artifact, "--source", tmp_path / "gone.mp4", "--source", video, "--jsonl", "-")
    assert code == 0
    assert "gone.mp4 does not exist" in " ".join(err.split())
    assert [record["exit_code"] for record in _records(out) if record["type"] == "error"] == [9]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "nothing to read"),
        (("--source", "gopher://user:secret@host/a"), 2, "cannot be read"),
        (("--source", "gone.mp4"), 9, "gone.mp4 does not exist"),
        (("--source", "text.mp4"), 9, "text.mp4 is not a video"),
        (("--source", "sound.wav"), 9, "no video stream"),
        (("--camera", "99"), 8, "/dev/video99"),
        (("--source", CLIP, "--smooth", "x"), 2, "smoothing must be"),
        (("--source", CLIP, "--policy", "x"), 2, "policy must be"),
        (("--source", CLIP, "--save", "x.avi"), 2, "must end in .mp4"),
        (("--source", CLIP, "--source", CLIP, "--save", "x.mp4"), 2, "of one source, got 2"),
        (("--source", CLIP, "--jsonl", "gone/x"), 9, "cannot write gone/x"),
        (("--source", CLIP, "--jsonl", "text.mp4/"), 2, "is a file; name a folder"),
        (("--source", CLIP, "--start", "x"), 2, "--start must be seconds"),
        (("--source", CLIP, "--end", "5", "--duration", "5"), 2, "say the same thing twice"),
        (("--source", CLIP, "--max-age", "0"), 2, "max age must be more than zero"),
        (("--source", CLIP, "--hwaccel", "x"), 2, "hwaccel"),
        (("--source", CLIP, "--saliency"), 2, "gives no saliency mask; export an SSF or S2TF network with --mask"),
        (("--source", CLIP, "--serve", "0.0.0.0:0"), 2, "token"),
        (("--source", CLIP, "--serve", "nonsense"), 2, "HOST:PORT"),
        (("--source", CLIP, "--on-event", "no-such-program"), 2, "--on-event cannot be run: there is no program"),
        (("--source", CLIP, "--webhook", "me:secret@host/secret"), 2, "--webhook is no address"),
        (("--source", CLIP, "--selftest"), 2, "leave out --source and --camera"),
    ],
)
def test_what_goes_wrong_is_one_line_and_an_exit_code(
    run: Callable[..., Printed],
    artifact: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.mp4").write_text("not a video")
    with av.open(str(tmp_path / "sound.wav"), "w") as container:
        sound = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.rate = 8000
        container.mux(sound.encode(frame))
    got, out, err = run(artifact, *arguments)
    assert (got, out) == (code, "")
    (line,) = err.strip().splitlines()
    assert message in line
    assert "secret" not in line


@pytest.mark.parametrize("content", [None, "{}"])
def test_a_bad_artifact(run: Callable[..., Printed], tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "meta.json").write_text(content)
    code, _, err = run(tmp_path if content else tmp_path / "gone", "--source", CLIP)
    assert code == 9
    assert err.startswith("s2tf-stream: error: ")


def test_without_any_artifact(run: Callable[..., Printed]) -> None:
    code, _, err = run("--source", CLIP)
    assert code == 2
    assert "export one with: s2tf-export" in err


def _started(artifact: Path, *arguments: str | Path) -> subprocess.Popen[str]:
    code = "from s2tf_edge.cli.stream import main; main()"
    line = [sys.executable, "-c", code, str(artifact), "--source", CLIP, "-q", *map(str, arguments)]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_it_leaves_complete_files(artifact: Path, tmp_path: Path, number: signal.Signals) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    lines, saved = folder / "out.jsonl", folder / "out.mp4"
    # Every frame and every window, however slow the machine is.
    with _started(artifact, "--jsonl", lines, "--save", saved, "--policy", "every") as process:
        deadline = time.monotonic() + 120
        while (not lines.exists() or "prediction" not in lines.read_text()) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(number)
        _, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (130, "s2tf-stream: error: interrupted\n")
    records = _records(lines.read_text(encoding="utf-8"))
    assert records[-1]["type"] == "summary"
    assert records[-1]["interrupted"]
    assert probe(saved).frames >= 7
    assert sorted(path.name for path in folder.iterdir()) == ["out.jsonl", "out.mp4"]


def test_a_closed_pipe_ends_it_quietly(artifact: Path) -> None:
    with _started(artifact, "--jsonl", "-") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["type"] == "start"
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=120) == 0


def test_what_is_read_is_never_overwritten(
    run: Callable[..., Printed], artifact: Path, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    content = video.read_bytes()
    Path("own.mp4").write_bytes(content)
    Path("link.mp4").hardlink_to("own.mp4")
    Path("list.txt").write_text("own.mp4\n")
    for arguments in (
        ("--source", "own.mp4", "--jsonl", tmp_path / "own.mp4"),
        ("--source", "own.mp4", "--save", "link.mp4"),
        ("--source", "list.txt", "--save", "own.mp4"),
        ("--source", "list.txt", "--jsonl", "list.txt"),
        ("--source", "own.mp4", "--save", "new.mp4", "--jsonl", "./new.mp4"),
    ):
        code, _, err = run(artifact, *arguments)
        assert (code, "would overwrite" in err) == (2, True), err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.mp4", "list.txt", "own.mp4"]
    assert Path("own.mp4").read_bytes() == content
    assert Path("list.txt").read_text() == "own.mp4\n"


def test_a_failed_run_leaves_no_file(run: Callable[..., Printed], artifact: Path, tmp_path: Path) -> None:
    lines = tmp_path / "out.jsonl"
    assert run(artifact, "--source", tmp_path / "gone.mp4", "--jsonl", lines)[0] == 9
    assert not lines.exists()


def test_actions_are_told_to_a_command_and_to_an_address(
    run: Callable[..., Printed], artifact: Path, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    posted: list[dict[str, Any]] = []
    tokens: list[str | None] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            tokens.append(self.headers["Authorization"])
            posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            del format, arguments

    monkeypatch.setenv("S2TF_WEBHOOK_TOKEN", "secret")
    tell = shlex.join(["sh", "-c", 'echo noise; cat >> "$1"', "sh", str(tmp_path / "told")])
    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        flags = ("--on-event", tell, "--webhook", f"http://127.0.0.1:{server.server_port}/x")
        code, out, err = run(artifact, "--source", video, "--jsonl", "-", "--smooth", "none", *flags)
        server.shutdown()
        serving.join()
    assert code == 0
    assert "secret" not in err
    assert set(tokens) == {"Bearer secret"}
    events = [record for record in _records(out) if record["type"] == "event"]
    ends = [{key: each[key] for key in events[0]} for each in posted if each["phase"] == "end"]
    assert ends == events
    begins = [(each["label"], each["t_start"]) for each in posted if each["phase"] == "begin"]
    assert begins == [(each["label"], each["t_start"]) for each in events]
    told = _records((tmp_path / "told").read_text(encoding="utf-8"))
    assert [(each["phase"], each["label"]) for each in told] == [(each["phase"], each["label"]) for each in posted]
    assert {each["name"] for each in told} == {str(video)}


def test_zones_are_sources_with_files_of_their_own(
    run: Callable[..., Printed], artifact: Path, video: Path, tmp_path: Path
) -> None:
    zones = ["--roi", "0,0,0.5,1:door", "--roi", "48,0,48,64"]
    saved = tmp_path / "saved.mp4"
    code, _, err = run(artifact, "--source", video, *zones, "--jsonl", f"{tmp_path}/out/", "--save", saved)
    assert (code, "saved" in err) == (0, True)
    files = {path.name: _records(path.read_text("utf-8")) for path in (tmp_path / "out").iterdir()}
    assert sorted(files) == ["two actions-door.jsonl", "two actions-zone-2.jsonl"]
    for lines in files.values():
        assert [line["label"] for line in lines if line["type"] == "event"] == ["dark", "gray", "bright"]
    with av.open(str(saved)) as container:
        image = next(container.decode(video=0)).to_ndarray(format="rgb24")
    # The frame of the first zone and that of the second meet in the middle of a dark picture.
    assert int(image[40, 47].max()) > 100
    assert int(image[40, 24].max()) < 60


@pytest.mark.parametrize(
    ("zone", "said"), [("0.5,0", "--roi must be X,Y,W,H"), ("90,0,20,20", "beyond the picture of 96×64")]
)
def test_a_zone_that_cannot_be_is_wrong_usage(
    run: Callable[..., Printed], artifact: Path, video: Path, zone: str, said: str
) -> None:
    code, _, err = run(artifact, "--source", video, "--roi", zone)
    assert (code, said in err) == (2, True)


def test_a_source_whose_zones_all_fail_is_told_of_once(
    run: Callable[..., Printed], artifact: Path, video: Path, tmp_path: Path
) -> None:
    small = tmp_path / "small.mp4"
    with av.open(str(small), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(10):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode(None))
    zones = ["--roi", "0,0,96,64:all", "--roi", "0,0,48,48:part"]
    code, out, err = run(artifact, "--source", small, "--source", video, *zones, "--jsonl", "-")
    assert code == 0
    assert err.count("beyond the picture of 64×48") == 1
    # Each zone has its record of it.
    failed = [record["name"] for record in _records(out) if record["type"] == "error"]
    assert failed == [f"{small} [all]", f"{small} [part]"]
