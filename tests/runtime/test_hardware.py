from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from s2tf_edge.runtime import hardware
from s2tf_edge.runtime.hardware import (
    Cores,
    find_cores,
    find_memory,
    hardware_facts,
    has_dot_products,
    instruction_sets,
    is_arm,
    saturates_int8,
)


def test_streams_need_no_module_that_windows_lacks() -> None:
    lacking = "import sys; sys.modules.update(dict.fromkeys(('fcntl', 'grp', 'pwd', 'resource', 'termios')));"
    line = f"{lacking} import s2tf_edge.runtime.open, s2tf_edge.runtime.streaming.recognize"
    subprocess.run([sys.executable, "-c", line], check=True, timeout=120)


def test_it_is_this_machine() -> None:
    facts = hardware_facts()
    assert facts["cores"] == str(os.cpu_count())
    assert facts["cpu"]
    assert facts["system"]


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({"proc/cpuinfo": "processor : 0\nmodel name\t: Xeon: 8\n"}, "Xeon: 8"),
        ({"proc/cpuinfo": "processor : 0\nHardware : BCM2711\n"}, "BCM2711"),
        ({"proc/cpuinfo": "processor : 0\n", "proc/device-tree/model": "Raspberry Pi 5\0"}, "Raspberry Pi 5"),
    ],
)
def test_the_processor_is_named_on_every_kind_of_board(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: Mapping[str, str], name: str
) -> None:
    for file, text in files.items():
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(hardware, "Path", lambda path: tmp_path / path.lstrip("/"))
    assert hardware_facts()["cpu"] == name


@pytest.mark.parametrize(
    ("machine", "cpuinfo", "saturates"),
    [
        ("x86_64", "processor : 0\nflags\t: fpu avx2 fma\n", True),
        ("AMD64", "flags\t: fpu avx512f avx512bw\n", True),
        ("x86_64", "flags\t: fpu avx2 avx_vnni\n", False),
        ("x86_64", "flags\t: fpu avx512f avx512_vnni\n", False),
        ("x86_64", "processor : 0\n", False),
        ("x86_64", None, False),
        ("aarch64", "Features\t: fp asimd\n", False),
    ],
)
def test_a_processor_without_vnni_overflows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: str, cpuinfo: str | None, saturates: bool
) -> None:
    if cpuinfo is not None:
        (tmp_path / "cpuinfo").write_text(cpuinfo)
    monkeypatch.setattr(hardware, "Path", lambda path: tmp_path / Path(path).name)
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert saturates_int8() is saturates


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Mapping[str, str]], None]:
    """Another machine's files in place of this one's."""

    def make(files: Mapping[str, str]) -> None:
        for file, text in files.items():
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file).write_text(text)

    def inside(path: str | Path) -> Path:
        return Path(path) if Path(path).is_relative_to(tmp_path) else tmp_path / str(path).lstrip("/")

    monkeypatch.setattr(hardware, "Path", inside)
    return make


@pytest.mark.parametrize(
    ("architecture", "cpuinfo", "there"),
    [
        ("x86_64", "flags\t: fpu avx2 avx512f avx512_vnni avx512_bf16 amx_int8\n", "AVX2 AVX-512 VNNI AMX bf16"),
        ("x86_64", "flags\t: fpu avx2 avx_vnni\n", "AVX2 VNNI"),
        ("aarch64", "processor : 0\nFeatures\t: fp asimd asimdhp asimddp\n", "NEON fp16 dotprod"),
        ("aarch64", "Features\t: asimd asimdhp asimddp sve i8mm bf16\n", "NEON fp16 dotprod i8mm bf16 SVE"),
    ],
)
def test_instruction_sets_are_named_as_people_do(
    machine: Callable[[Mapping[str, str]], None],
    monkeypatch: pytest.MonkeyPatch,
    architecture: str,
    cpuinfo: str,
    there: str,
) -> None:
    machine({"proc/cpuinfo": cpuinfo})
    monkeypatch.setattr("platform.machine", lambda: architecture)
    found = instruction_sets()
    assert found is not None
    assert [name for name, has in found.items() if has] == there.split()


@pytest.mark.parametrize(("architecture", "files"), [("riscv64", {"proc/cpuinfo": "isa : rv64"}), ("x86_64", {})])
def test_instruction_sets_of_a_system_that_does_not_tell(
    machine: Callable[[Mapping[str, str]], None],
    monkeypatch: pytest.MonkeyPatch,
    architecture: str,
    files: Mapping[str, str],
) -> None:
    machine(files)
    monkeypatch.setattr("platform.machine", lambda: architecture)
    assert instruction_sets() is None


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, None),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5),
        # The tightest of the groups that lie in each other.
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/cpu.max": "50000 100000\n",
                "sys/fs/cgroup/a/b/cpu.max": "200000 100000\n",
            },
            0.5,
        ),
        # A container of version 1, which sees its own group at the root.
        (
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/docker/1\n0::/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "300000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            3.0,
        ),
        (
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            None,
        ),
    ],
)
def test_the_quota_of_a_control_group(
    machine: Callable[[Mapping[str, str]], None], files: Mapping[str, str], quota: float | None
) -> None:
    machine(files)
    assert find_cores().quota == quota


def test_the_cores_of_this_process() -> None:
    found = find_cores()
    assert found.there == os.cpu_count()
    assert found.allowed == len(os.sched_getaffinity(0))
    assert Cores(there=8, allowed=4, quota=1.5).usable == 1.5
    assert Cores(there=8, allowed=4, quota=None).usable == 4


_MEMINFO = "MemTotal: 8000000 kB\nMemFree: 10 kB\nMemAvailable: 1000000 kB\n"


@pytest.mark.parametrize(
    ("files", "total"),
    [
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n"}, 8.192),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "2000000000\n"}, 2.0),
    ],
)
def test_memory_is_what_the_control_group_may_have(
    machine: Callable[[Mapping[str, str]], None], files: Mapping[str, str], total: float
) -> None:
    machine({"proc/meminfo": _MEMINFO, **files})
    found = find_memory()
    assert found is not None
    assert (found.total, found.free) == pytest.approx((total, 1.024))


def test_memory_of_a_system_that_does_not_tell(machine: Callable[[Mapping[str, str]], None]) -> None:
    machine({})
    assert find_memory() is None


@pytest.mark.parametrize(
    ("machine", "cpuinfo", "is_one", "dots"),
    [
        ("aarch64", "Features\t: fp asimd crc32\n", True, False),
        ("aarch64", "processor\t: 0\nFeatures\t: fp asimd asimddp\n\nFeatures\t: fp asimd asimddp\n", True, True),
        ("aarch64", "Features\t: fp asimddp\nFeatures\t: fp\n", True, False),
        ("aarch64", "processor\t: 0\n", True, False),
        ("arm64", None, True, False),
        ("armv7l", "Features\t: neon\n", True, False),
        ("x86_64", "flags\t: avx_vnni asimddp\n", False, False),
    ],
)
def test_arm_is_told_and_what_all_its_cores_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: str, cpuinfo: str | None, is_one: bool, dots: bool
) -> None:
    if cpuinfo is not None:
        (tmp_path / "cpuinfo").write_text(cpuinfo)
    monkeypatch.setattr(hardware, "Path", lambda path: tmp_path / Path(path).name)
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert (is_arm(), has_dot_products()) == (is_one, dots)
