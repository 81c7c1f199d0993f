"""Every place of every command, given every kind of file that is not for it: exit code 9 and the right command."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import shutil
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import av
import pytest
import torch
from torch import nn
from typer.main import get_command

from s2tf_edge.cli import export, import_checkpoint, stream, train
from s2tf_edge.cli.app import make_app
from s2tf_edge.models import create_model, save_model

MODULES = {
    "export": "export",
    "stream": "stream",
    "eval": "evaluate",
    "report": "report",
    "import": "import_checkpoint",
    "train": "train",
    "models": "models",
    "tune": "tune",
}
"""By command, the module of s2tf_edge.cli that has its ``main``."""
NETWORK = "r3d_10?width=0.0625&frames=4&size=24"


@dataclass(frozen=True)
class Place:
    """A place of a command that takes a file."""

    words: str
    """The command line; FILE stands for the file."""
    takes: frozenset[str] = field(default_factory=frozenset)
    """Files of ``FILES`` that are right there, or that who reads them judges."""


RUNNABLE = frozenset({"model.pt", "m_onnx_fp32", "m_onnx_fp32/model.onnx", "m_onnx_fp32/meta.json"})
TEXTS = frozenset({"list.txt", "empty.pt", "notes.md"})
MEDIA = frozenset({"clip.mp4", "shot.png"})
PLACES = {
    "export": Place("s2tf-export FILE --target onnx", RUNNABLE | {"net.onnx"}),
    "export, clip file": Place("s2tf-export net.onnx --meta FILE --target onnx", TEXTS | {"net.json", "settings.json"}),
    "export, calibration": Place("s2tf-export model.pt --target openvino --precision int8 --calib FILE", TEXTS | MEDIA),
    "stream": Place("s2tf-stream FILE --source clip.mp4", RUNNABLE | MEDIA | TEXTS),
    "stream, second word": Place("s2tf-stream model.pt FILE", RUNNABLE | MEDIA | TEXTS),
    "stream, source": Place("s2tf-stream model.pt --source FILE", MEDIA | TEXTS),
    "eval": Place("s2tf-eval FILE --data clip.mp4", RUNNABLE),
    "eval, data": Place("s2tf-eval model.pt --data FILE", MEDIA | TEXTS),
    "report": Place("s2tf-report FILE --data clip.mp4", RUNNABLE),
    "report, beside another": Place("s2tf-report model.pt FILE --data clip.mp4", RUNNABLE),
    "import": Place(f"s2tf-import FILE --model '{NETWORK}'", frozenset({"weights.pyth", "weights.safetensors"})),
    "import, labels": Place(
        f"s2tf-import weights.pyth --model '{NETWORK}' --labels FILE", TEXTS | {"labels.json", "settings.json"}
    ),
    "train": Place(f"s2tf-train FILE --model '{NETWORK}' --out out", MEDIA | TEXTS),
    "train, name": Place("s2tf-train synthetic?clips=20 --model FILE --out out"),
    "train, pretrained": Place(
        f"s2tf-train synthetic?clips=20 --model '{NETWORK}' --out out --pretrained FILE", frozenset({"model.pt"})
    ),
    "train, resume": Place(
        f"s2tf-train synthetic?clips=20 --model '{NETWORK}' --out out --resume FILE", frozenset({"run/last.ckpt"})
    ),
    "train, settings": Place("s2tf-train synthetic?clips=20 --out out --config FILE", TEXTS),
    "models": Place("s2tf-models FILE"),
    "tune": Place("s2tf-tune FILE", RUNNABLE - {"model.pt"}),
}
EXPORT_ANOTHER = "s2tf-export NETWORK.onnx --meta FILE.json --target openvino"
EXPORT = "s2tf-export net.onnx --meta net.json --target openvino"
STREAM = "s2tf-stream m_onnx_fp32 --source VIDEO"
IMPORT = "s2tf-import {} --model NAME --out model.pt"
PLAY = "s2tf-stream ARTIFACT --source {}"
FILES: Mapping[str, str] = {
    "model.pt": "s2tf-export model.pt --target openvino",
    "run/last.ckpt": "run/model.pt",
    "weights.pyth": IMPORT,
    "weights.safetensors": IMPORT,
    "script.pt": EXPORT_ANOTHER,
    "program.pt2": EXPORT_ANOTHER,
    "m_onnx_fp32": STREAM,
    "m_onnx_fp32/model.onnx": STREAM,
    "m_onnx_fp32/meta.json": STREAM,
    "artifacts": "artifacts/m",
    "run": "run/model.pt",
    "net.onnx": EXPORT,
    "net.onnx.data": EXPORT.replace("net.json", "FILE.json"),
    "hub": "s2tf-export hub/net.onnx --meta FILE.json --target openvino",
    "ir": EXPORT_ANOTHER,
    "graph.xml": EXPORT_ANOTHER,
    "graph.bin": EXPORT_ANOTHER,
    "net.engine": "s2tf-export NETWORK.onnx --meta FILE.json --target trt",
    "net.tflite": EXPORT_ANOTHER,
    "net.h5": EXPORT_ANOTHER,
    "net.pb": EXPORT_ANOTHER,
    "saved": EXPORT_ANOTHER,
    "clip.mp4": PLAY,
    "shot.png": PLAY,
    "list.txt": PLAY,
    "net.json": EXPORT,
    "labels.json": "s2tf-import CHECKPOINT --model NAME --labels labels.json",
    "settings.json": "is a JSON file; give ",
    "notes.md": "is a text file; give ",
    "empty.pt": "copy or download the file again",
    "pointer.onnx": "git lfs pull",
    "page.pth": "copy or download the file again, not the page about it",
    "weights.zip": "unpack it",
}
"""By file: the command or path that is right for it, whatever place it was given to."""
OTHERS = {
    ("export, clip file", "labels.json"): '{"labels": "labels.json"}',
    ("models", "model.pt"): "s2tf-train DATA --model NAME --pretrained model.pt --out DIR",
    ("train, name", "model.pt"): "s2tf-train DATA --model NAME --pretrained model.pt --out DIR",
    ("tune", "model.pt"): "s2tf-export model.pt --target openvino --portable",
    ("tune", "net.onnx"): "s2tf-export net.onnx --meta net.json --target openvino --portable",
    ("train, resume", "model.pt"): "--pretrained model.pt",
    ("train, resume", "run"): "run/last.ckpt",
    ("train, pretrained", "run/last.ckpt"): "--resume run/last.ckpt",
}


def _write_pictures(path: Path, codec: str, pixels: str, *, count: int) -> None:
    with av.open(str(path), "w", format="image2" if path.suffix == ".png" else None) as container:
        stream = cast(av.VideoStream, container.add_stream(codec, rate=10))
        stream.width, stream.height, stream.pix_fmt = 32, 32, pixels
        for _ in range(count):
            container.mux(stream.encode(av.VideoFrame(32, 32, pixels)))
        container.mux(stream.encode())


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, small_artifact: Path) -> Path:
    """A folder with a small real file of every kind in ``FILES``."""
    folder = tmp_path_factory.mktemp("files")
    shutil.copytree(small_artifact, folder / "m_onnx_fp32")
    shutil.copytree(small_artifact, folder / "artifacts" / "m")
    shutil.copy(small_artifact / "model.onnx", folder / "net.onnx")
    save_model(folder / "model.pt", create_model("r3d_10?width=0.0625", num_classes=10, frames=4, size=24))
    (folder / "run").mkdir()
    shutil.copy(folder / "model.pt", folder / "run")
    state = nn.Linear(2, 2).state_dict()
    torch.save({"epoch": 0, "state_dict": state, "s2tf_run": {}}, folder / "run/last.ckpt")
    torch.save({"model_state": state}, folder / "weights.pyth")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(nn.Linear(2, 2)).save(folder / "script.pt")  # type: ignore[no-untyped-call]
    torch.export.save(torch.export.export(nn.Linear(2, 2), (torch.zeros(1, 2),)), folder / "program.pt2")
    shutil.make_archive(str(folder / "weights"), "zip", folder / "run")
    for name in ("saved", "hub", "ir"):
        (folder / name).mkdir()
    shutil.copy(folder / "net.onnx", folder / "hub")
    header = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    contents: dict[str, bytes] = {
        "saved/saved_model.pb": b"\x08\x01",
        "weights.safetensors": len(header).to_bytes(8, "little") + header + bytes(4),
        "net.onnx.data": b"\xfe\xed\0\xff",
        "graph.xml": b'<?xml version="1.0"?>\n<net name="Model0" version="11"></net>',
        "ir/model.xml": b'<?xml version="1.0"?>\n<net name="Model0" version="11"></net>',
        "graph.bin": b"\xfe\xed\0\xff",
        "net.engine": b"ptrt" + bytes(60),
        "net.tflite": b"\x1c\0\0\0TFL3" + bytes(60),
        "net.h5": b"\x89HDF\r\n\x1a\n" + bytes(60),
        "net.pb": b"\x0a\x10\0",
        "list.txt": b"# nothing yet\n",
        "net.json": json.dumps({"frames": 4, "crop": 16, "mean": [0, 0, 0], "std": [1, 1, 1]}).encode(),
        "labels.json": b'["run", "walk"]',
        "settings.json": b'{"epochs": 3}',
        "notes.md": b"to do\n",
        "empty.pt": b"",
        "pointer.onnx": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n",
        "page.pth": b"<!DOCTYPE html>\n<html></html>",
    }
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    _write_pictures(folder / "clip.mp4", "mpeg4", "yuv420p", count=8)
    _write_pictures(folder / "shot.png", "png", "rgb24", count=1)
    return folder


@pytest.fixture
def run(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], tuple[int, str]]:
    """Runs a command line among the files: its exit code and what it says on stderr."""
    monkeypatch.chdir(files)

    def main(line: str) -> tuple[int, str]:
        words = [word if word != "out" else str(tmp_path / word) for word in shlex.split(line)]
        command = words[0].removeprefix("s2tf-")
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as caught:
            importlib.import_module(f"s2tf_edge.cli.{MODULES[command]}").main()
        return int(caught.value.code or 0), capsys.readouterr().err

    return main


WRONG = [(place, name) for place in PLACES for name in FILES if name not in PLACES[place].takes]


@pytest.mark.parametrize(("place", "name"), WRONG, ids=[f"{place}: {name}" for place, name in WRONG])
def test_the_right_command_is_told(place: str, name: str, run: Callable[[str], tuple[int, str]]) -> None:
    code, said = run(PLACES[place].words.replace("FILE", name))
    advice = OTHERS.get((place, name), FILES[name]).replace("{}", name)
    # Logs may come before it: of a training, whose data was opened first.
    last = said.strip().splitlines()[-1]
    assert (code, last.startswith("s2tf-"), advice in last) == (9, True, True), said


def test_every_place_refuses_most_kinds() -> None:
    assert len(WRONG) > 400
    assert all(place.takes <= FILES.keys() for place in PLACES.values())


def test_a_file_of_an_artifact_is_the_artifact(run: Callable[[str], tuple[int, str]]) -> None:
    code, said = run("s2tf-eval m_onnx_fp32/model.onnx --data synthetic?clips=10 --json")
    assert code == 0, said
    code, said = run("s2tf-export m_onnx_fp32/meta.json --target openvino --dry-run")
    assert code == 0, said


def test_the_content_counts_and_not_the_name(files: Path, run: Callable[[str], tuple[int, str]]) -> None:
    shutil.copy(files / "model.pt", files / "misnamed.onnx")
    assert run("s2tf-export misnamed.onnx --target onnx --dry-run")[0] == 0
    code, said = run("s2tf-export misnamed.onnx --meta net.json --target onnx --dry-run")
    assert (code, "describes itself, so leave it out" in said) == (2, True), said


def test_paths_in_commands_can_be_pasted(files: Path, run: Callable[[str], tuple[int, str]]) -> None:
    shutil.copy(files / "net.onnx", files / "a net's.onnx")
    code, said = run('s2tf-eval "a net\'s.onnx" --data clip.mp4')
    assert code == 9
    command = said.partition("export it first: ")[2]
    assert shlex.split(command)[:2] == ["s2tf-export", "a net's.onnx"]


PARSED: Mapping[str, Callable[..., None]] = {
    "s2tf-export": export.command(),
    "s2tf-import": import_checkpoint.import_checkpoint,
    "s2tf-stream": stream.stream,
    "s2tf-train": train.command(),
}


@pytest.mark.parametrize("advice", sorted({each for each in [*FILES.values(), *OTHERS.values()] if "s2tf-" in each}))
def test_commands_that_are_told_have_these_flags(advice: str) -> None:
    name = advice.split()[0]
    flags = {flag for each in get_command(make_app(PARSED[name], name=name)).params for flag in each.opts}
    assert set(re.findall(r"(?<= )--[a-z-]+", advice)) <= flags
