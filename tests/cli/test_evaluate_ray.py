"""``s2tf-eval --ray``: workers on a cluster, the numbers and files of one process."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from s2tf_edge.data.synthetic import write_video

_PLACE = Path(__file__).parents[1] / "runtime/archives/ray_cluster.py"
_SPECIFICATION = importlib.util.spec_from_file_location("ray_cluster", _PLACE)
assert _SPECIFICATION is not None
assert _SPECIFICATION.loader is not None
helper = importlib.util.module_from_spec(_SPECIFICATION)
_SPECIFICATION.loader.exec_module(helper)
pytestmark = [pytest.mark.slow, *helper.IGNORED]

COMMAND = [sys.executable, "-m", "s2tf_edge.cli.evaluate"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with helper.local_cluster() as made:
        made.add_node()
        yield made


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos of two classes, one of them damaged."""
    folder = tmp_path_factory.mktemp("labeled")
    labels = ("moving left", "moving right")
    lines = []
    for index in range(150):
        name, label = f"{index}.mp4", index % 2
        source = folder / f"{index % 10}.mp4"
        if index < 10:
            write_video(source, clips=[(labels[label], 0.3 + 0.05 * index)], size=(32, 48), seed=index)
        elif index != 20:
            shutil.copy(source, folder / name)
        lines.append(f"{name} {labels[label]}\n")
    (folder / "20.mp4").write_bytes(b"no video" * 100)
    (folder / "list.txt").write_text("".join(lines))
    return folder / "list.txt"


def _run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    words = [*COMMAND, *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=False, env=os.environ | environment)


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_cluster_writes_and_prints_what_one_process_does(
    cluster: Any, small_artifact: Path, videos: Path, tmp_path: Path
) -> None:
    options = [small_artifact, "--data", videos, "--views", "2x3", "--threads", "1", "--json"]
    one = _run(*options, "--out", tmp_path / "one")
    assert one.returncode == 0, one.stderr
    assert json.loads(one.stdout)["skipped"] == 1
    many = _run(*options, "--out", tmp_path / "many", "--ray", cluster.address)
    assert many.returncode == 0, many.stderr
    assert many.stdout == one.stdout
    assert _files(tmp_path / "many") == _files(tmp_path / "one")


def test_workers_that_are_killed_change_no_number(cluster: Any, small_artifact: Path, videos: Path) -> None:
    options = [small_artifact, "--data", videos, "--views", "3x3", "--threads", "1", "--json"]
    words = [*COMMAND, *map(str, options), "--ray", cluster.address]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True) as driver:
        helper.wait_until(cluster.workers)
        cluster.workers()[0].kill()
        printed, err = driver.communicate()
    assert driver.returncode == 0, err
    assert "a worker was lost" in err
    assert printed == _run(*options).stdout


def test_what_cannot_be_is_said_in_one_line(cluster: Any, small_artifact: Path, videos: Path, tmp_path: Path) -> None:
    done = _run(small_artifact, "--data", tmp_path / "none", "--ray", cluster.address)
    assert (done.returncode, done.stdout) == (9, "")
    assert "none does not exist" in done.stderr
    done = _run(small_artifact, "--data", videos, "--ray", "nowhere")
    assert done.returncode == 2
    assert "--ray must be auto or HOST:PORT" in done.stderr
    done = _run(small_artifact, "--data", videos, "--ray", "127.0.0.1:1")
    assert done.returncode == 8
    assert len(done.stderr.splitlines()) == 1
