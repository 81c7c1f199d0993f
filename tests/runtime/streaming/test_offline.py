"""A stream says of a file, bit for bit, what evaluation says of the same windows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from s2tf_edge.data.datasets import open_data
from s2tf_edge.export import ExportOptions, export
from s2tf_edge.models import create_model
from s2tf_edge.models.model_file import save_model
from s2tf_edge.runtime.evaluation.multi_view import evaluate
from s2tf_edge.runtime.open import open_session
from s2tf_edge.runtime.session import SessionOptions
from s2tf_edge.runtime.streaming.recognize import recognize
from s2tf_edge.runtime.streaming.records import Prediction
from s2tf_edge.runtime.streaming.smoothing import Smoothing
from s2tf_edge.runtime.streaming.stream_options import StreamOptions

FRAMES = 4
LABELS = ("a", "b", "c")
TARGETS: dict[str, dict[str, Any]] = {
    "torch": {},
    "onnx": {"target": "onnx", "precision": "fp32"},
    "onnx-u8": {"target": "onnx", "precision": "fp32", "input": "u8"},
    "openvino": {"target": "openvino", "precision": "fp16"},
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "model.pt"
    network = create_model("s2tf_r3d_10?width=0.0625", num_classes=len(LABELS), frames=FRAMES, size=40)
    network.labels = LABELS
    save_model(path, network)
    return path


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Noise that moves, of lengths whose center clips begin on a frame."""
    folder = tmp_path_factory.mktemp("videos")
    paths = []
    for index in range(3):
        paths.append(folder / f"{index}.mp4")
        picture = np.random.default_rng(index).integers(0, 256, (12, 16, 3)).repeat(5, 0).repeat(5, 1)
        with av.open(str(paths[-1]), "w") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = 80, 60, "yuv420p"
            for shift in range(FRAMES + 2 * (4 + index)):
                image = np.roll(picture, 3 * shift, axis=1).astype(np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode(None))
    return paths


@pytest.mark.parametrize("requests", [1, 2])
@pytest.mark.parametrize("target", TARGETS)
def test_stream_and_evaluation_agree_to_the_last_bit(
    target: str, requests: int, model: Path, videos: list[Path], tmp_path: Path
) -> None:
    options = TARGETS[target]
    path = export(model, ExportOptions(out=tmp_path / "a", verify=False, **options)).folder if options else model
    listed = tmp_path / "list.txt"
    listed.write_text("".join(f"{video} {LABELS[index]}\n" for index, video in enumerate(videos)))
    how = StreamOptions(hop=1, smoothing=Smoothing(kind="none"), topk=len(LABELS))
    with open_session(path, SessionOptions(device="CPU", threads=1, requests=requests)) as session:
        evaluation = evaluate(session, open_data(listed))
        records = list(recognize(videos, session, options=how))
    for index in range(len(videos)):
        windows = [each for each in records if isinstance(each, Prediction) and each.source == index]
        # Of an odd number of windows, each a frame further on, the middle one is the center clip.
        scores = dict(windows[len(windows) // 2].topk)
        got = np.array([scores[label] for label in LABELS]).astype(np.float32)
        np.testing.assert_array_equal(got, evaluation.scores[index])
        assert len({window.topk for window in windows}) > 1
