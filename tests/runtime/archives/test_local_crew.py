"""Workers as processes of this machine: how many there are changes nothing, nor that some of them are killed."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from s2tf_edge.errors import InputFileError, UnsupportedError
from s2tf_edge.runtime.archives import local_crew
from s2tf_edge.runtime.archives.folder_lock import hold_as_driver
from s2tf_edge.runtime.archives.local_crew import LocalCrew, default_workers
from s2tf_edge.runtime.archives.piece_worker import WorkOrder
from s2tf_edge.runtime.archives.recognize_archive import ArchiveOptions
from s2tf_edge.runtime.archives.status import ArchiveStatus
from s2tf_edge.runtime.artifact import read_meta, sha256, write_meta
from s2tf_edge.runtime.hardware import MachineMemory
from s2tf_edge.runtime.session import SessionOptions
from s2tf_edge.runtime.streaming.stream_options import StreamOptions

Run = Callable[..., dict[str, Any]]
Rows = Callable[..., list[dict[str, Any]]]
Results = Callable[[Path], dict[str, bytes]]


def _kill_workers() -> list[int]:
    """Kills all worker processes there are, as the system does that is out of memory."""
    found = [process.pid for process in multiprocessing.active_children() if process.pid is not None]
    for number in found:
        os.kill(number, signal.SIGKILL)
    return found


def _local(workers: int) -> dict[str, Any]:
    return {"make_crew": None, "how": ArchiveOptions(workers=workers)}


def test_workers_that_are_killed_change_nothing(run: Run, videos: Path, tmp_path: Path, results: Results) -> None:
    run(videos, out="whole")
    killed: list[int] = []

    def watch(status: ArchiveStatus) -> None:
        if status.now.videos and not killed:
            killed.extend(_kill_workers())

    summary = run(videos, **_local(2), watch=watch)
    assert killed
    assert results(tmp_path / "out") == results(tmp_path / "whole")
    assert (summary["videos"], summary["bad"]) == (11, 2)
    assert not multiprocessing.active_children()


def test_a_video_that_kills_its_workers_is_a_row(run: Run, web: Any, videos: Path, tmp_path: Path, rows: Rows) -> None:
    killed: list[int] = []

    def asked(handler: SimpleHTTPRequestHandler) -> bool:
        if "5.mp4" in handler.path:
            killed.extend(_kill_workers())
        return True

    web.handler.asked = staticmethod(asked)
    (tmp_path / "list.txt").write_text("".join(f"{web.url(f'{name}.mp4')}\n" for name in (4, 5, 7)))
    summary = run(tmp_path / "list.txt", **_local(1))
    assert len(set(killed)) == 2
    assert (summary["errors"], summary["run"]["workers_lost"]) == ({"worker": 1}, 2)
    found = rows(tmp_path / "out")
    assert [row["error"] for row in found] == [None, "worker", None]
    assert found[1]["status"] == "two workers were lost while they read it; the last one was killed by SIGKILL"


def test_a_network_that_no_worker_can_open_ends_the_run(
    run: Run, write_artifact: Callable[..., Path], videos: Path, tmp_path: Path
) -> None:
    folder = write_artifact(tmp_path / "broken")
    (folder / "model.onnx").write_bytes(b"no graph")
    meta = read_meta(folder)
    meta.files["model.onnx"] = sha256(folder / "model.onnx")  # type: ignore[index]  # a dict, as it was read
    write_meta(meta, folder)
    with pytest.raises(InputFileError, match=r"model\.onnx"):
        run(videos, artifact=folder, **_local(1))
    assert not multiprocessing.active_children()


@pytest.fixture
def order(artifact: Path, tmp_path: Path) -> WorkOrder:
    return WorkOrder(
        artifact=artifact,
        session=SessionOptions(threads=1),
        options=StreamOptions(),
        folder=tmp_path,
        format="jsonl",
    )


def _wait_for_workers(crew: LocalCrew, count: int) -> None:
    while not (crew.workers == count and all(worker.is_ready for worker in crew._crew)):
        crew.wait(60)


def test_no_more_workers_than_memory_allows(order: WorkOrder, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = iter([MachineMemory(total=64.0, free=32.0), MachineMemory(total=64.0, free=0.5)])
    monkeypatch.setattr(local_crew, "find_memory", lambda: next(memory))
    with LocalCrew(order, most=8) as crew:
        _wait_for_workers(crew, 2)
        assert not crew.wait(0.0)
        assert (crew.workers, crew._most) == (2, 2)


def test_workers_that_die_before_they_open_anything(order: WorkOrder, monkeypatch: pytest.MonkeyPatch) -> None:
    start = LocalCrew._start

    def start_and_kill(crew: LocalCrew) -> None:
        start(crew)
        _kill_workers()

    monkeypatch.setattr(LocalCrew, "_start", start_and_kill)
    with LocalCrew(order, most=1) as crew:
        outcomes = [outcome for _ in range(3) for outcome in crew.wait(60)]
    with pytest.raises(UnsupportedError, match=r"workers end before they have opened .*\(killed by SIGKILL\)"):
        raise outcomes[-1].error  # type: ignore[union-attr]


def test_workers_of_a_driver_that_was_killed_end_before_the_next_begins(order: WorkOrder, tmp_path: Path) -> None:
    script = (
        "import pickle, sys, time\n"
        "from s2tf_edge.runtime.archives.local_crew import LocalCrew\n"
        "if __name__ == '__main__':\n"
        "    crew = LocalCrew(pickle.loads(bytes.fromhex(sys.argv[1])), most=1).__enter__()\n"
        "    while not crew._crew[0].is_ready: crew.wait(1)\n"
        "    print(crew._crew[0].process.pid, flush=True)\n"
        "    time.sleep(600)\n"
    )
    (tmp_path / "driver.py").write_text(script)
    command = [sys.executable, str(tmp_path / "driver.py"), pickle.dumps(order).hex()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        worker = int(driver.stdout.readline())
        driver.kill()
        driver.wait()
        with hold_as_driver(tmp_path):
            # It writes no more: what is left of it is the system's to clear away, and then nobody's.
            while _is_alive(worker):
                time.sleep(0.01)


def _is_alive(number: int) -> bool:
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    return False


def test_a_worker_for_each_core() -> None:
    cores = len(os.sched_getaffinity(0))
    assert 1 <= default_workers(1) <= cores
    assert default_workers(10_000) == 1
