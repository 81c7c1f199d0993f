"""What a worker in an actor looks at before it does anything: whether its node has what the driver has."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from s2tf_edge.errors import InputFileError, UnsupportedError
from s2tf_edge.runtime.archives.cluster.host import NodeFacts, SentError, WorkerHost, installed_versions
from s2tf_edge.runtime.archives.entries import ListedEntry, Piece, Task
from s2tf_edge.runtime.archives.piece_worker import WorkOrder
from s2tf_edge.runtime.archives.ray_worker import At, Committed, Lacks, RayOrder, RayTask, RayWorker
from s2tf_edge.runtime.artifact import identify
from s2tf_edge.runtime.session import SessionOptions
from s2tf_edge.runtime.streaming.stream_options import StreamOptions

NODE = "10.0.0.3"


@pytest.fixture
def order(artifact: Path, tmp_path: Path) -> RayOrder:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mark").touch()
    work = WorkOrder(
        artifact=artifact,
        session=SessionOptions(threads=1),
        options=StreamOptions(),
        folder=tmp_path / "out",
        format="jsonl",
    )
    return RayOrder(work=work, artifact_sha256=identify(artifact), mark=tmp_path / "out/mark")


def _host(order: RayOrder, kind: str = "RayWorker") -> WorkerHost:
    return WorkerHost(RayWorker.__module__, kind, order, "7")


def test_a_piece(order: RayOrder, make_video: Callable[..., Path]) -> None:
    entries = [ListedEntry(number=n, address=str(make_video(f"{n}.mp4", [25] * 20)), name=f"{n}.mp4") for n in (0, 2)]
    gone = ListedEntry(number=1, address="/nowhere/1.mp4", name="1.mp4")
    task = RayTask(task=Task(piece=Piece(number=3, entries=(entries[0], gone, entries[1]))))
    host = _host(order)
    assert isinstance(host.open(installed_versions()), NodeFacts)
    # It may be elsewhere: the driver is asked first.
    assert [*host.work(task)] == [Lacks(entries=(1,))]
    *said, last = host.work(replace(task, missing=frozenset({1})))
    host.close()
    assert said == [At(entry=0), At(entry=1), At(entry=2), At(entry=-1)]
    assert isinstance(last, Committed)
    assert (last.tally.videos, dict(last.tally.errors)) == (3, {"missing": 1})
    assert [path.name for path in order.work.folder.glob("videos/*")] == ["0000003.jsonl"]


def test_another_folder_of_results(order: RayOrder) -> None:
    order.mark.unlink()
    with pytest.raises(InputFileError, match=r"it lacks the folder of results, .*/out, or has another one of that"):
        RayWorker(order, "7").open()


def test_no_artifact(order: RayOrder, tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"it lacks .*/none; put it on storage that all nodes have"):
        RayWorker(replace(order, work=replace(order.work, artifact=tmp_path / "none")), "7").open()


def test_another_artifact(order: RayOrder, write_artifact: Callable[..., Path], tmp_path: Path) -> None:
    other = write_artifact(tmp_path / "other", steepness=5)
    with pytest.raises(InputFileError, match=r"it has another .*/other than the driver \(sha256 differs\)"):
        RayWorker(replace(order, work=replace(order.work, artifact=other)), "7").open()


def test_an_artifact_with_another_network_inside(order: RayOrder, tmp_path: Path) -> None:
    shutil.copytree(order.work.artifact, tmp_path / "changed")
    (tmp_path / "changed/model.onnx").write_bytes(b"another network")
    said = _host(replace(order, work=replace(order.work, artifact=tmp_path / "changed"))).open(installed_versions())
    assert isinstance(said, SentError)
    with pytest.raises(InputFileError, match=r"^node 10\.0\.0\.3: .*has changed since it was exported"):
        raise said.restore(NODE)


@pytest.mark.parametrize("package", ["s2tf-edge", "numpy", "Python"])
def test_other_versions(order: RayOrder, package: str) -> None:
    said = _host(order).open({**installed_versions(), package: "0.0.1"})
    assert isinstance(said, SentError)
    with pytest.raises(
        UnsupportedError, match=rf"node 10\.0\.0\.3: it has {package} [\d.]+, and the driver 0\.0\.1, so that"
    ):
        raise said.restore(NODE)


def test_a_package_that_a_node_lacks(order: RayOrder) -> None:
    said = _host(order).open({**installed_versions(), "tensorrt": "11.0"})
    assert isinstance(said, SentError)
    with pytest.raises(InputFileError, match=r"it lacks tensorrt 11\.0, which the driver has; install it there"):
        raise said.restore(NODE)
