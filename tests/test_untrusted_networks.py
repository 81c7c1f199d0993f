"""Networks of somebody else, damaged or made up: reading one ends in a network or in one short line of ours.

A tenth of the examples that text files get, as each takes longer. What a native library makes of a file it takes with
its process: these would end with the test run, and none does.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from s2tf_edge.cli.app import error_line
from s2tf_edge.errors import InputFileError, S2TFError
from s2tf_edge.export.sources.network import open_network
from s2tf_edge.models import create_model, load_model, save_model

GOLDEN: Final = Path(__file__).parent / "golden/version_1/tiny_onnx_fp32"
_DIGIT: Final = st.integers(0, 9)
_PLACE: Final = st.integers(0, 2**24)
_BYTES: Final = st.binary(min_size=1, max_size=4)
_VALUES: Final[st.SearchStrategy[Any]] = st.sampled_from(
    (
        *(None, True, -1, 0, 2**31, 2**63, 10**400, 1e308, float("nan"), "", "x" * 9000, "\x1b]0;x\x07", "\u202e"),
        *(
            [],
            {},
            [None],
            {"a": {}},
            torch.zeros(0),
            torch.zeros(3),
            torch.zeros(2, dtype=torch.int8),
            "r3d_10?width=1e9",
        ),
        *("r3d_10?width=nan", "s2tf_r3d_200", "r3d_10?width=0.0625&width=1", {"frames": 10**9, "size": 10**9}),
    )
)


def _examples() -> Callable[..., Any]:
    """A tenth of what the profile says, but not fewer than ten."""
    assert settings.default is not None
    return settings(max_examples=max(10, settings.default.max_examples // 10))


@st.composite
def _damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """Bytes replaced here and there, or put in, and now and then the end cut off."""
    found = bytearray(data)
    for _ in range(draw(_DIGIT)):
        at, new = draw(_PLACE) % len(found), draw(_BYTES)
        found[at : at + (len(new) if draw(_DIGIT) else 0)] = new
    return bytes(found if draw(_DIGIT) else found[: draw(_PLACE) % len(found)])


_EDITS: Final = st.lists(st.tuples(_DIGIT, _PLACE, _PLACE, _VALUES), min_size=1, max_size=3)
"""On which level, of which dictionary, which key, and its value."""


def _edited(content: dict[str, Any], edits: list[tuple[int, int, int, Any]]) -> dict[str, Any]:
    """What a ``model.pt`` holds with values replaced or left out, on both levels."""
    found: dict[str, Any] = {key: dict(value) if isinstance(value, dict) else value for key, value in content.items()}
    for how, place, key, value in edits:
        inner = [each for each in found.values() if isinstance(each, dict) and each]
        holder = inner[place % len(inner)] if inner and how < 5 else found
        name = list(holder)[key % len(holder)]
        if how % 5 or len(holder) == 1:
            holder[name] = value
        else:
            del holder[name]
    return found


def _check(read: Callable[[], object]) -> None:
    try:
        read()
    except S2TFError as error:
        said, code = error_line("s2tf-export", str(error)), error.exit_code
    else:
        return
    assert code in {2, 3, 9}
    assert len(said) <= 400
    assert said.isprintable()


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.pt"
    save_model(path, create_model("r3d_10?width=0.0625", num_classes=2, frames=4, size=32))
    return path


def test_a_damaged_model_file_ends_in_one_short_line(model_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"

    @_examples()
    @given(_damaged(model_file.read_bytes()))
    def read(data: bytes) -> None:
        path.write_bytes(data)
        _check(lambda: load_model(path))

    read()


def test_a_model_file_of_other_values_ends_in_one_short_line(model_file: Path, tmp_path: Path) -> None:
    path, content = tmp_path / "model.pt", torch.load(model_file, weights_only=True)

    @_examples()
    @given(_EDITS)
    def read(edits: list[tuple[int, int, int, Any]]) -> None:
        torch.save(_edited(content, edits), path)
        _check(lambda: load_model(path))

    read()


def _clip_file(folder: Path) -> Path:
    meta = json.loads((GOLDEN / "meta.json").read_text("utf-8"))
    clip = meta["clip"]
    values = {key: clip[key] for key in ("frames", "stride", "fps", "resize_short_side", "mean", "std")}
    path = folder / "clip.json"
    path.write_text(json.dumps(values | {"crop": clip["size"], "labels": meta["labels"]}))
    return path


def test_a_damaged_graph_ends_in_one_short_line(tmp_path: Path) -> None:
    path, clip_file = tmp_path / "net.onnx", _clip_file(tmp_path)

    def export() -> None:
        source = open_network(path, meta=clip_file)
        source.graph(batch=1, mask=False)

    path.write_bytes((GOLDEN / "model.onnx").read_bytes())
    export()

    @_examples()
    @given(_damaged(path.read_bytes()))
    def read(data: bytes) -> None:
        path.write_bytes(data)
        _check(export)

    read()


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "gone.bin", "net.onnx", "\x1b]0;x\x07"])
def test_weights_from_elsewhere_are_refused(location: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(2**16))
    folder = tmp_path / "folder"
    folder.mkdir()
    path, clip_file = folder / "net.onnx", _clip_file(folder)
    model = onnx.load(GOLDEN / "model.onnx")
    for tensor in model.graph.initializer:
        if len(tensor.raw_data) > 64:
            size = len(tensor.raw_data)
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
            for key, value in {"location": location, "offset": "0", "length": str(size)}.items():
                tensor.external_data.add(key=key, value=value)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InputFileError, match=r"not a valid ONNX model|cannot read|is said to lie") as refused:
        open_network(path, meta=clip_file)
    assert error_line("s2tf-export", str(refused.value)).isprintable()
