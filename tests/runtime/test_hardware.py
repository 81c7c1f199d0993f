from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from s2tf_edge.runtime import hardware
from s2tf_edge.runtime.hardware import hardware_facts, has_dot_products, is_arm, saturates_int8


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
