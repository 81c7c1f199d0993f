"""Archives of made videos, a real artifact whose answers can be told beforehand, and a crew of this very process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pytest

from s2tf_edge.runtime.archives.crew import Finished, Outcome
from s2tf_edge.runtime.archives.entries import Task
from s2tf_edge.runtime.archives.piece_worker import PieceWorker, WorkOrder
from s2tf_edge.runtime.archives.recognize_archive import recognize_archive
from s2tf_edge.runtime.archives.shards import Shards
from s2tf_edge.runtime.artifact import ArtifactMeta, sha256, write_meta
from s2tf_edge.spec import ClipSpec

LABELS = ("dark", "gray", "bright")
SPEC = ClipSpec(frames=4, stride=2, fps=25.0, size=32, layout="NTHWC", dtype="uint8")


def _write_artifact(folder: Path, *, steepness: float = 20.0) -> Path:
    """An artifact for ONNX Runtime that tells dark, gray and bright clips apart."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    folder.mkdir(parents=True)
    shape = list(SPEC.input_shape())
    constants = {"levels": [[0.1, 0.5, 0.9]], "white": [[255]], "steepness": [[-steepness]]}
    make, types = onnx.helper.make_node, onnx.TensorProto
    nodes = [
        make("Cast", ["clip"], ["float"], to=types.FLOAT),
        make("Flatten", ["float"], ["flat"]),
        make("ReduceMean", ["flat"], ["sum"], axes=[1], keepdims=1),
        make("Div", ["sum", "white"], ["mean"]),
        make("Sub", ["mean", "levels"], ["difference"]),
        make("Abs", ["difference"], ["distance"]),
        make("Mul", ["distance", "steepness"], ["logits"]),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "brightness",
        [onnx.helper.make_tensor_value_info("clip", types.UINT8, shape)],
        [onnx.helper.make_tensor_value_info("logits", types.FLOAT, [1, 3])],
        [onnx.numpy_helper.from_array(np.array(value, np.float32), name) for name, value in constants.items()],
    )
    opsets = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8), folder / "model.onnx")
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


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _write_artifact(tmp_path_factory.mktemp("artifacts") / "brightness ä")


@pytest.fixture
def videos(make_video: Callable[..., Path], tmp_path: Path) -> Path:
    """Eleven short videos of odd lengths, one of them no video and one empty."""
    (tmp_path / "videos/more").mkdir(parents=True)
    for index in range(9):
        place = "more/" if index % 3 == 0 else ""
        levels = [25] * (11 + 3 * index) + [230] * (7 + index)
        make_video(f"videos/{place}{index}.mp4", levels)
    (tmp_path / "videos/4 no video.mp4").write_bytes(b"no video at all" * 100)
    (tmp_path / "videos/empty.avi").write_bytes(b"")
    return tmp_path / "videos"


class InlineCrew:
    """One worker in the driver's own process; ``before`` is called with each task, and may end it all."""

    def __init__(self, order: WorkOrder, *, pieces: int, before: Callable[[Task], object] = lambda _: None) -> None:
        del pieces
        self._worker = PieceWorker(order)
        self._before = before
        self._task: Task | None = None
        self.workers = 1

    @property
    def has_room(self) -> bool:
        return self._task is None

    def give(self, task: Task) -> None:
        self._task = task

    def wait(self, seconds: float) -> Sequence[Outcome]:
        del seconds
        assert self._task is not None
        task, self._task = self._task, None
        self._before(task)
        return [Finished(task=task, tally=self._worker.finish(task))]

    def __enter__(self) -> InlineCrew:
        self._worker.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._worker.__exit__(kind, error, traceback)


@pytest.fixture
def run(artifact: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Recognizes sources into a folder of that name, in this process."""

    def run(
        *sources: str | Path, out: str = "out", before: Callable[[Task], object] = lambda _: None, **options: Any
    ) -> dict[str, Any]:
        given: dict[str, Any] = {"artifact": artifact, "make_crew": partial(InlineCrew, before=before)} | options
        return recognize_archive([str(source) for source in sources], out=tmp_path / out, **given)

    return run


def _results(folder: Path) -> dict[str, bytes]:
    """All files of results, by their names."""
    tables = ("predictions", "events", "videos")
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for table in tables
        for path in sorted(folder.glob(f"{table}/*"))
    }


def _rows(folder: Path, table: str = "videos", format: str = "parquet") -> list[dict[str, Any]]:
    """All rows of a table."""
    from s2tf_edge.runtime.archives.rows import COLUMNS

    shards, columns = Shards(folder, format), [name for name in COLUMNS[table] if name not in {"source_bytes", "topk"}]
    pieces = range(len(list((folder / "videos").glob(f"*.{format}"))))
    return [row for piece in pieces for row in shards.read(table, piece, columns=columns)]


@pytest.fixture
def results() -> Callable[[Path], dict[str, bytes]]:
    return _results


@pytest.fixture
def rows() -> Callable[..., list[dict[str, Any]]]:
    return _rows


@pytest.fixture
def write_artifact() -> Callable[..., Path]:
    return _write_artifact


class _Handler(SimpleHTTPRequestHandler):
    """Gives parts of files, as servers of videos do; what a test wants to know or to happen goes through ``asked``."""

    asked: Callable[[_Handler], bool] = staticmethod(lambda _: True)
    gives_parts = True

    def do_GET(self) -> None:
        if type(self).asked(self):
            self._give(with_body=True)

    def do_HEAD(self) -> None:
        if type(self).asked(self):
            self._give(with_body=False)

    def log_message(self, format: str, *arguments: Any) -> None:
        del format, arguments

    def _give(self, *, with_body: bool) -> None:
        path = Path(self.translate_path(self.path))
        if path.is_dir():
            super().do_GET() if with_body else super().do_HEAD()
            return
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        asked = self.headers.get("Range", "") if self.gives_parts else ""
        first, _, last = asked.removeprefix("bytes=").partition("-")
        begin, end = int(first or 0), min(int(last) + 1 if last else len(data), len(data))
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(end - begin))
        if self.gives_parts:
            self.send_header("Accept-Ranges", "bytes")
        if asked:
            self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{len(data)}")
        self.end_headers()
        if with_body:
            self.wfile.write(data[begin:end])


class WebStore:
    """A folder on a server of this machine."""

    def __init__(self, folder: Path) -> None:
        self.handler = type("Handler", (_Handler,), {})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(self.handler, directory=str(folder)))
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def url(self, path: str = "", *, user: str = "") -> str:
        return f"http://{user}{self.host}/{path}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def web(videos: Path) -> Iterator[WebStore]:
    pytest.importorskip("fsspec")
    store = WebStore(videos)
    yield store
    store.close()
