"""Meters in made trees of the kernel's files."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from s2tf_edge.runtime.reporting.measuring.energy import find_meter


def make(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n", encoding="ascii")
    return root


def rapl(number: str, *, name: str, energy: int, limit: int = 2**32 - 1) -> dict[str, str]:
    folder = f"class/powercap/intel-rapl:{number}"
    return {f"{folder}/name": name, f"{folder}/energy_uj": str(energy), f"{folder}/max_energy_range_uj": str(limit)}


def test_packages_are_summed_and_their_parts_are_not(tmp_path: Path) -> None:
    parts = (
        rapl("0:0", name="core", energy=5) | rapl("1", name="package-1", energy=100) | rapl("2", name="psys", energy=1)
    )
    meter = find_meter(make(tmp_path, rapl("0", name="package-0", energy=1000) | parts))
    assert meter is not None
    assert meter.name == "RAPL, 2 processor packages"
    with meter.measure() as energy:
        make(tmp_path, rapl("0", name="package-0", energy=2_501_000) | rapl("1", name="package-1", energy=500_100))
        make(tmp_path, rapl("0:0", name="core", energy=9_000_000) | rapl("2", name="psys", energy=9_000_000))
    assert energy.joules == pytest.approx(3.0)


def test_a_counter_that_began_anew(tmp_path: Path) -> None:
    meter = find_meter(make(tmp_path, rapl("0", name="package-0", energy=9_500_000, limit=9_999_999)))
    assert meter is not None
    with meter.measure() as energy:
        make(tmp_path, rapl("0", name="package-0", energy=500_000, limit=9_999_999))
    assert energy.joules == pytest.approx(1.0)


def test_an_ina_sensor_of_the_whole_board(tmp_path: Path) -> None:
    chip = "class/hwmon/hwmon3"
    rails = {"name": "ina3221", "in1_label": "VDD_IN", "in1_input": "5000", "curr1_input": "2000"}
    rails |= {"in2_label": "VDD_CPU_GPU_CV", "in2_input": "5000", "curr2_input": "1000"}
    # One that has no current, as the sum of shunts.
    rails |= {"in7_label": "sum of shunt voltages", "in7_input": "3"}
    meter = find_meter(make(tmp_path, {f"{chip}/{name}": text for name, text in rails.items()}))
    assert meter is not None
    assert meter.name == "INA sensor, VDD_IN"
    began = time.monotonic()
    with meter.measure() as energy:
        inside = time.monotonic()
        time.sleep(0.1)
        shortest = time.monotonic() - inside
    # 10 watts, for as long as it was inside at least, and outside at most.
    assert 0.8 * 10 * shortest <= energy.joules <= 10 * (time.monotonic() - began)


def test_a_sensor_that_tells_power(tmp_path: Path) -> None:
    files = {"class/hwmon/hwmon0/name": "ina226", "class/hwmon/hwmon0/power1_input": "2500000"}
    meter = find_meter(make(tmp_path, files))
    assert meter is not None
    with meter.measure() as energy:
        time.sleep(0.05)
    assert energy.joules > 0


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"class/hwmon/hwmon0/name": "coretemp", "class/hwmon/hwmon0/power1_input": "1"},
        {"class/powercap/intel-rapl:0/name": "package-0", "class/powercap/intel-rapl:0/max_energy_range_uj": "10"},
        {"class/powercap/intel-rapl:0/name": "package-0", "class/powercap/intel-rapl:0/energy_uj": "broken"},
    ],
)
def test_a_machine_that_tells_none(tmp_path: Path, files: dict[str, str]) -> None:
    assert find_meter(make(tmp_path, files)) is None
