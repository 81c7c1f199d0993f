"""A real busy process beside this one, and none."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from s2tf_edge.runtime.reporting.measuring.surroundings import Sample, Surroundings, Watch


def compute(seconds: float) -> None:
    """Takes processor time, not wall time: on a busy machine it lasts longer."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_a_process_that_is_not_ours_counts() -> None:
    """Its time is told by the system; how much else goes on at the same time does not matter."""
    code = "import time\nprint('ready', flush=True)\nwhile True: time.process_time()"
    # A child is one of ours, unless its parent is gone: so the busy process is started by one that ends.
    starter = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {code!r}], stdout=subprocess.PIPE, "
        "stderr=subprocess.DEVNULL)\n"
        "child.stdout.readline(); print(child.pid)"
    )
    done = subprocess.run([sys.executable, "-c", starter], capture_output=True, text=True, check=True)
    stranger = psutil.Process(int(done.stdout))
    try:
        watch = Watch()
        before = sum(stranger.cpu_times()[:2])
        while sum(stranger.cpu_times()[:2]) - before < 0.5:
            time.sleep(0.05)
        watch.sample()
        (sample,) = watch.finish().samples
        assert sample.others > 0
        mine = sample.others * (os.cpu_count() or 1)
        assert mine > 0.1
    finally:
        stranger.kill()


def test_what_this_program_computes_is_its_own() -> None:
    watch = Watch()
    compute(0.5)
    watch.sample()
    (sample,) = watch.finish().samples
    # Whatever others do, half a second of ours is none of theirs.
    assert sample.others <= 1
    assert sum(watch._read_own().values()) >= 0.5


def surroundings(*others: float, stolen: float = 0.0, cores: int = 2) -> Surroundings:
    return Surroundings(samples=tuple(Sample(others=part, stolen=stolen) for part in others), cores=cores)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (surroundings(), ""),
        (surroundings(0.02, 0.04), ""),
        (surroundings(0.9, 1.0), "the machine was busy: other processes took 1.9 of its 2 cores"),
        (surroundings(0.5, cores=1), "the machine was busy: other processes took 0.5 of its 1 core"),
        (surroundings(0.01, stolen=0.3), "the machine was busy: other virtual machines took 0.6 of its 2 cores"),
    ],
)
def test_what_is_said_of_a_busy_machine(found: Surroundings, words: str) -> None:
    assert found.explain() == words
    assert found.is_busy == bool(words)


def test_as_json() -> None:
    found = Surroundings(samples=(Sample(others=0.1, mhz=1000), Sample(others=0.3, mhz=3000)), cores=2)
    values = found.to_dict()
    assert values["mhz"] == {"mean": 2000, "least": 1000, "most": 3000}
    assert values["celsius"] is None
    assert values["others"]["mean"] == pytest.approx(0.2)


def test_governors(tmp_path: Path) -> None:
    for core, name in enumerate(("powersave", "performance", "powersave")):
        file = tmp_path / f"devices/system/cpu/cpu{core}/cpufreq/scaling_governor"
        file.parent.mkdir(parents=True)
        file.write_text(f"{name}\n", encoding="ascii")
    assert Watch(root=tmp_path).finish().governors == ("performance", "powersave")
    assert Watch(root=tmp_path / "none").finish().governors == ()
