"""Archives on a cluster of two nodes: whoever is killed, nothing is lost, nothing done twice, and no byte changed."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from s2tf_edge.errors import InputFileError, SourceError
from s2tf_edge.runtime.archives.cluster.connection import connect
from s2tf_edge.runtime.archives.cluster.needs import Needs
from s2tf_edge.runtime.archives.cluster.workers import ClusterWorkers, Done, GivenUp, Said
from s2tf_edge.runtime.archives.ray_crew import RayCrews
from s2tf_edge.runtime.archives.status import ArchiveStatus


def _load(name: str) -> ModuleType:
    """A module of this folder, which is no package."""
    specification = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


helper = _load("ray_cluster")
pytestmark = [pytest.mark.slow, *helper.IGNORED]

Run = Callable[..., dict[str, Any]]
Rows = Callable[..., list[dict[str, Any]]]
Results = Callable[[Path], dict[str, bytes]]
COUNT = 500
FEW = 60


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with helper.local_cluster(Path(__file__).parent) as made:
        made.add_node()
        yield made


@pytest.fixture
def archive(make_video: Callable[..., Path], tmp_path: Path) -> Path:
    """500 videos of 1 to 40 frames, five of them damaged, and one that is on the list alone."""
    (tmp_path / "made").mkdir()
    made = [make_video(f"made/{n}.mp4", [25] * (n // 2 + 1) + [230] * ((n - 1) // 2)) for n in range(1, 41)]
    folder = tmp_path / "archive"
    folder.mkdir()
    for number in range(COUNT):
        shutil.copy(made[7 * number % len(made)], folder / f"{number:03d}.mp4")
    (folder / "031.mp4").write_bytes(b"")
    (folder / "100.mp4").write_bytes(bytes(reversed(made[30].read_bytes())))
    (folder / "222.mp4").write_bytes(b"no video at all" * 100)
    (folder / "333.mp4").write_bytes(made[30].read_bytes()[:200])
    (folder / "404.mp4").write_bytes(made[30].read_bytes()[200:])
    (folder / "444.mp4").unlink()
    lines = [f"archive/{number:03d}.mp4\n" for number in range(COUNT)]
    (tmp_path / "list.txt").write_text("".join(lines))
    return tmp_path / "list.txt"


@pytest.fixture
def few(archive: Path) -> Path:
    """The first of them, one damaged."""
    listed = archive.with_name("few.txt")
    listed.write_text("".join(archive.read_text().splitlines(keepends=True)[:FEW]))
    return listed


def _start(*words: str | Path) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(helper.command(*words), stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def test_500_videos_while_actor_node_and_driver_are_killed(
    cluster: Any, run: Run, archive: Path, artifact: Path, tmp_path: Path, results: Results
) -> None:
    whole = run(archive, out="whole")
    assert (whole["videos"], whole["errors"]) == (COUNT, {"missing": 1, "unreadable": 5})
    out = tmp_path / "out"
    words = (artifact, archive, "--out", out, "--ray", cluster.address, "--json")

    def wait_for(pieces: int, driver: subprocess.Popen[str]) -> None:
        def is_there() -> bool:
            assert driver.poll() is None, driver.communicate()
            return len([*out.glob("videos/*.parquet")]) >= pieces

        helper.wait_until(is_there)

    with _start(*words) as driver:
        wait_for(2, driver)
        helper.wait_until(lambda: len(cluster.workers()) == 2)
        cluster.workers()[0].kill()
        wait_for(12, driver)
        cluster.kill_node()
        wait_for(24, driver)
        # Another machine comes, and gets a worker.
        cluster.add_node()
        helper.wait_until(lambda: len(cluster.workers()) == 2)
        wait_for(36, driver)
        driver.kill()
        driver.communicate()
    done = len([*out.glob("videos/*.parquet")])
    helper.wait_until(lambda: not cluster.workers())
    with _start(*words) as driver:
        printed, err = driver.communicate()
    assert driver.returncode == 0, err
    summary = json.loads(printed)
    assert summary["videos"] == COUNT
    # What was done before is not done again.
    assert summary["run"]["videos"] < COUNT - 4 * (done - 2)
    assert results(out) == results(tmp_path / "whole")
    assert not [*out.rglob("*.part"), *out.glob("job/run-*")]


def test_workers_that_are_lost_are_told_and_stdout_stays_clean(
    cluster: Any, artifact: Path, few: Path, tmp_path: Path
) -> None:
    words = (artifact, few, "--out", tmp_path / "out", "--ray", cluster.address, "--workers", "1", "--json")
    with _start(*words) as driver:
        helper.wait_until(lambda: (tmp_path / "out/videos/0000001.parquet").exists())
        cluster.workers()[0].kill()
        printed, err = driver.communicate()
    assert driver.returncode == 0, err
    summary = json.loads(printed)
    assert (summary["videos"], summary["run"]["workers"], summary["run"]["workers_lost"]) == (FEW, 1, 1)
    assert "a worker was lost (killed, or crashed); another one is started" in err
    assert "(raylet)" not in err


def test_a_video_that_kills_its_workers_is_a_row(cluster: Any, run: Run, web: Any, tmp_path: Path, rows: Rows) -> None:
    killed = []

    def asked(handler: SimpleHTTPRequestHandler) -> bool:
        if "5.mp4" in handler.path:
            for process in cluster.workers():
                killed.append(process.pid)
                process.kill()
        return True

    web.handler.asked = staticmethod(asked)
    (tmp_path / "list.txt").write_text("".join(f"{web.url(f'{name}.mp4')}\n" for name in (4, 5, 7)))
    with connect(cluster.address) as ray:
        summary = run(tmp_path / "list.txt", make_crew=RayCrews(ray, workers=1))
    assert len(set(killed)) == 2
    assert (summary["errors"], summary["run"]["workers_lost"]) == ({"worker": 1}, 2)
    found = rows(tmp_path / "out")
    assert [row["error"] for row in found] == [None, "worker", None]
    assert found[1]["status"] == "two workers were lost while they read it; the last one was killed, or crashed"


def test_a_run_that_is_ended_leaves_no_worker_behind(cluster: Any, run: Run, few: Path) -> None:
    def watch(status: ArchiveStatus) -> None:
        if status.now.videos:
            raise KeyboardInterrupt

    with connect(cluster.address) as ray:
        with pytest.raises(KeyboardInterrupt):
            run(few, make_crew=RayCrews(ray), watch=watch)
        helper.wait_until(lambda: not cluster.workers())
        assert run(few, make_crew=RayCrews(ray))["videos"] == FEW


def _drive(ray: ModuleType, *, module: str, order: str = "", until: Callable[[], object]) -> tuple[int, list[Any]]:
    """Gives tasks to picky workers; how many were given, and what was said of them."""
    said, given, done = [], 0, 0
    with ClusterWorkers(ray, module=module, kind="PickyWorker", order=order, needs=Needs(), most=9) as workers:
        while done < given or not until():
            while workers.has_room and not until():
                workers.give(given)
                given += 1
            for event in workers.wait(1.0):
                if isinstance(event, GivenUp):
                    raise event.error
                if isinstance(event, Said):
                    said.append(event.what)
                done += isinstance(event, Done)
    return given, said


def test_a_node_that_lacks_something_is_left_out(cluster: Any, caplog: pytest.LogCaptureFixture) -> None:
    cluster.add_node(cpus=2, **{helper.LACKS: "1"})
    try:
        with connect(cluster.address) as ray:
            given, said = _drive(ray, module="ray_cluster", until=lambda: "this node is left out" in caplog.text)
    finally:
        cluster.kill_node()
    assert sorted(said) == [*range(given)]
    assert re.search(r"node [\d.]+: it lacks what it needs \(this node is left out\)", caplog.text)


def test_where_no_node_is_fit_the_reason_is_the_error(cluster: Any) -> None:
    with connect(cluster.address) as ray:
        with pytest.raises(InputFileError, match=r"^node [\d.]+: it lacks what it needs$"):
            _drive(ray, module="ray_cluster", order="nothing is right", until=lambda: False)
        with pytest.raises(SourceError, match=r"no worker can be started: it lacks the module nowhere; install there"):
            _drive(ray, module="nowhere", until=lambda: False)


_WITH_TOKEN = """
import sys
from ray.cluster_utils import Cluster

cluster = Cluster(head_node_args={"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False},
                  initialize_head=True)
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""


def test_a_cluster_that_asks_for_a_token(artifact: Path, make_video: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "with/.ray").mkdir(parents=True)
    (tmp_path / "with/.ray/auth_token").write_text("e" * 64)
    video, pipe = make_video("one.mp4", [25] * 20), subprocess.PIPE
    ours = os.environ | {"HOME": str(tmp_path / "with"), "RAY_USAGE_STATS_ENABLED": "0"}
    ours = {name: value for name, value in ours.items() if name != "RAY_AUTH_MODE"} | {"PYTHONPATH": str(helper.ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", _WITH_TOKEN], stdin=pipe, stdout=pipe, text=True, env=ours | {"RAY_AUTH_MODE": "token"}
    ) as cluster:
        assert cluster.stdout is not None
        address = cluster.stdout.readline().strip()
        words = helper.command(artifact, video, "--out", tmp_path / "out", "--ray", address, "--json")
        done = subprocess.run(words, capture_output=True, text=True, env=ours, check=False)
        without = ours | {"HOME": str(tmp_path / "without")}
        refused = subprocess.run(words, capture_output=True, text=True, env=without, check=False)
        cluster.communicate("")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["videos"] == 1
    assert (refused.returncode, refused.stdout) == (8, "")
    assert "asks for a token; copy ~/.ray/auth_token of its head to this machine" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_alone_on_this_machine(artifact: Path, few: Path, tmp_path: Path) -> None:
    # Ray keeps the password of such a cluster in the user's home.
    environment = os.environ | {"HOME": str(tmp_path / "home"), "RAY_ADDRESS": "local"}
    words = helper.command(artifact, few, "--out", tmp_path / "out", "--ray", "auto", "--workers", "1", "--json")
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["videos"] == FEW
    assert "starting a cluster of this machine alone" in done.stderr
