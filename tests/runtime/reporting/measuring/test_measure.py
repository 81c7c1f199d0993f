"""Real networks in real processes: side by side, apart, and gone afterwards."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest

from s2tf_edge.data.datasets import open_data
from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.data.synthetic import write_video
from s2tf_edge.errors import InputFileError, S2TFError, UsageError
from s2tf_edge.models import create_model, save_model
from s2tf_edge.progress import Progress, no_progress
from s2tf_edge.runtime.evaluation.multi_view import evaluate
from s2tf_edge.runtime.open import open_session
from s2tf_edge.runtime.reporting.measuring.latency import MIN_ROUNDS, median_is_known
from s2tf_edge.runtime.reporting.measuring.measure import (
    Measurement,
    MeasureOptions,
    Skipped,
    _alternate,
    _MeasuredArtifact,
    measure,
    no_steps,
)
from s2tf_edge.runtime.reporting.measuring.surroundings import Watch
from s2tf_edge.runtime.reporting.measuring.worker import ArtifactProcess, Turn
from s2tf_edge.runtime.session import SessionOptions

NETWORK = "r3d_10?width=0.125"


@pytest.fixture(scope="module")
def data() -> LabeledVideos:
    return open_data("synthetic?clips=10")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, data: LabeledVideos) -> Path:
    path = tmp_path_factory.mktemp("measured") / "model.pt"
    save_model(path, create_model(NETWORK, num_classes=10, frames=4, size=16, labels=data.labels))
    return path


def test_measures_what_runs_and_keeps_what_does_not(model: Path, data: LabeledVideos, tmp_path: Path) -> None:
    titles: list[str] = []

    def steps(title: str) -> AbstractContextManager[Progress]:
        titles.append(title)
        return no_steps(title)

    options = MeasureOptions(duration_seconds=0.2, warmup_seconds=0.05, limit=5, session=SessionOptions(threads=1))
    run = measure([tmp_path / "none", model], data, options=options, steps=steps)
    broken, found = run.outcomes
    assert isinstance(broken, Skipped)
    assert isinstance(broken.error, InputFileError)
    assert "does not exist" in str(broken.error)
    assert isinstance(found, Measurement)
    assert found.runtime["threads"] == 1
    assert found.latency.n >= 1
    assert 0 < found.latency.p50_ms <= found.latency.p95_ms <= found.latency.p99_ms
    # Python with PyTorch takes over 100 MB; far more would be another process's memory.
    assert 100 < found.peak_memory_mb < 2000
    assert titles == ["loading", "warming up", "measuring latency", "measuring throughput", "evaluating model.pt"]
    assert len(found.latency.rounds) >= MIN_ROUNDS
    assert sum(map(len, found.latency.rounds)) == found.latency.n
    assert found.latency.intervals["p50_ms"].low <= found.latency.p50_ms <= found.latency.intervals["p50_ms"].high
    assert found.first_ms > 0
    assert found.cores > 0
    assert found.side_by_side.count >= 1
    # PyTorch takes any number of clips at once; made videos are not encoded.
    assert found.best_batch is not None
    assert found.video_ms is None
    assert run.surroundings.samples
    with open_session(model, SessionOptions(threads=1)) as session:
        expected = evaluate(session, data, limit=5)
    assert found.evaluation.names == expected.names
    np.testing.assert_allclose(found.evaluation.scores, expected.scores, atol=1e-5)
    assert multiprocessing.active_children() == []


def test_labels_are_checked_before_anything_is_timed(model: Path) -> None:
    other = LabeledVideos(name="other", labels=("juggling",), videos=open_data("synthetic?clips=1").videos)
    (found,) = measure([model], other, options=MeasureOptions(duration_seconds=3600)).outcomes
    assert isinstance(found, Skipped)
    assert isinstance(found.error, UsageError)
    assert "lacks the label 'juggling' of other" in str(found.error)


def test_a_baseline_that_fails_ends_the_measurement_at_once(model: Path, data: LabeledVideos, tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"the baseline .*none could not run here: .*does not exist"):
        measure([model, tmp_path / "none"], data, baseline=1, options=MeasureOptions(duration_seconds=3600))
    assert multiprocessing.active_children() == []


def test_a_process_that_dies_is_an_error_that_says_how(tmp_path: Path) -> None:
    with ArtifactProcess(tmp_path / "none", SessionOptions()) as process:
        (child,) = multiprocessing.active_children()
        os.kill(child.pid or 0, signal.SIGKILL)
        with pytest.raises(S2TFError, match="ended by signal SIGKILL, perhaps for want of memory"):
            process.peak_memory_mb()


def test_a_process_whose_parent_went_away_ends(tmp_path: Path) -> None:
    with ArtifactProcess(tmp_path / "none", SessionOptions()) as process:
        assert process.peak_memory_mb() > 10
        (child,) = multiprocessing.active_children()
        process._pipe.close()
        child.join(300)
        assert child.exitcode == 0


def test_an_interrupt_does_not_reach_the_processes(tmp_path: Path) -> None:
    with ArtifactProcess(tmp_path / "none", SessionOptions()) as process:
        (child,) = multiprocessing.active_children()
        os.kill(child.pid or 0, signal.SIGINT)
        assert process.peak_memory_mb() > 10


def test_peak_memory_grows_with_use() -> None:
    """In a process of its own: this one's peak may be gigabytes, which would have to be filled first."""
    code = (
        "import numpy; from s2tf_edge.runtime.reporting.measuring.worker import peak_memory_mb\n"
        "before = peak_memory_mb(); block = numpy.ones(int(before + 64) * 10**6 // 8)\n"
        "print(before, peak_memory_mb())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = map(float, done.stdout.split())
    assert 10 < before < after - 50


class MadeTimes:
    """Stands in for a process: predictions whose times are known; notes who was asked when."""

    def __init__(self, name: str, asked: list[str], *, ms: float, spread: float) -> None:
        self._name, self._asked, self._ms, self._spread = name, asked, ms, spread
        self._rng = np.random.default_rng(0)

    def time(self, seconds: float) -> Turn:
        self._asked.append(self._name)
        ms = self._ms * float(np.exp(self._rng.normal(0, self._spread)))
        return Turn(times=(int(1e6 * ms),) * max(1, int(1000 * seconds / ms)), cores=1.0)


def alternate(seconds: float, **spread: float) -> tuple[list[_MeasuredArtifact], list[str]]:
    asked: list[str] = []
    artifacts = [
        _MeasuredArtifact(
            Path(name),
            MadeTimes(name, asked, ms=20, spread=each),  # type: ignore[arg-type]  # a stand-in
            is_baseline=False,
        )
        for name, each in spread.items()
    ]
    _alternate(artifacts, seconds, Watch(), no_progress)
    return artifacts, asked


def test_rounds_go_there_and_back_until_all_medians_are_known() -> None:
    artifacts, asked = alternate(3600, calm=0.0, calmer=0.001)
    assert all(median_is_known(each.rounds) for each in artifacts)
    assert asked[:4] == ["calm", "calmer", "calmer", "calm"]
    assert len(asked) == 2 * 30


def test_rounds_end_with_the_time() -> None:
    (calm, wild), _ = alternate(30, calm=0.0, wild=1.0)
    assert not median_is_known(wild.rounds)
    # The calm one went on to the end of its time, as the two are compared by the rounds that both had.
    assert len(calm.rounds) >= 300
    used = sum(map(sum, wild.rounds)) / 1e9
    assert used >= 30


def test_videos_from_file_to_label(model: Path, data: LabeledVideos, tmp_path: Path) -> None:
    folder = tmp_path / data.labels[0]
    folder.mkdir()
    write_video(folder / "video.mp4", clips=[(data.labels[0], 0.6)], size=(48, 64))
    (folder / "broken.mp4").write_bytes(b"no video")
    options = MeasureOptions(duration_seconds=0.2, warmup_seconds=0.05, session=SessionOptions(threads=1))
    (found,) = measure([model], open_data(str(tmp_path)), options=options).outcomes
    assert isinstance(found, Measurement)
    assert found.video_ms is not None
    assert found.video_ms > 0
    assert found.evaluation.n == 1


@pytest.mark.parametrize(("duration", "warmup"), [(0.0, 1.0), (-1.0, 1.0), (1.0, -1.0), (float("nan"), 1.0)])
def test_times_out_of_range(duration: float, warmup: float) -> None:
    with pytest.raises(UsageError, match="duration must be above 0"):
        MeasureOptions(duration_seconds=duration, warmup_seconds=warmup)
