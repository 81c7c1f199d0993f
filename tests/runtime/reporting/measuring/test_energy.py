"""Meters in made trees of the kernel's files, beside GPUs that a made driver shows, and those of a real one."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from s2tf_edge.runtime.backends.nvml import Nvml
from s2tf_edge.runtime.reporting.facts import machine_facts
from s2tf_edge.runtime.reporting.measuring.energy import find_meter

CALLS = (
    *("nvmlInit", "nvmlDeviceGetCount", "nvmlDeviceGetHandleByIndex", "nvmlDeviceGetName"),
    *("nvmlSystemGetDriverVersion", "nvmlDeviceGetTotalEnergyConsumption"),
)


class _DriverError(Exception):
    pass


def driver(*millijoules: int | None) -> SimpleNamespace:
    """NVML as its package shows it, over one GPU for each counter; None is a GPU that does not count."""
    counters = list(millijoules)

    def count(index: int) -> int:
        value = counters[index]
        if value is None:
            raise _DriverError
        return value

    functions = {"Init": lambda: None, "DeviceGetCount": lambda: len(counters), "DeviceGetName": lambda _: "H200"}
    functions |= {"DeviceGetHandleByIndex": lambda index: index, "SystemGetDriverVersion": lambda: "580.1"}
    functions |= {"DeviceGetTotalEnergyConsumption": count}
    made = {f"nvml{name}": function for name, function in functions.items()}
    assert set(made) == set(CALLS)
    return SimpleNamespace(NVMLError=_DriverError, counters=counters, **made)


@pytest.fixture(autouse=True)
def _no_gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not request.node.get_closest_marker("needs_gpu"):
        monkeypatch.setitem(sys.modules, "pynvml", None)


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


def test_gpus_are_counted_beside_processors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = driver(5_000_000, 1_000)
    monkeypatch.setitem(sys.modules, "pynvml", made)
    meter = find_meter(make(tmp_path, rapl("0", name="package-0", energy=1_000_000)))
    assert meter is not None
    assert meter.name == "RAPL, 1 processor package; NVML, H200, H200"
    with meter.measure() as energy:
        made.counters[:] = [5_000_500, 2_000]
        make(tmp_path, rapl("0", name="package-0", energy=3_000_000))
    assert energy.joules == pytest.approx(2.0 + 0.5 + 1.0)
    facts = machine_facts()
    assert (facts["gpu"], facts["driver"]) == ("H200, H200", "580.1")
    assert find_meter(tmp_path / "none") is not None


@pytest.mark.parametrize("counters", [(), (1_000, None)])
def test_gpus_that_do_not_count_are_no_meter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counters: tuple[int | None, ...]
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", driver(*counters))
    assert find_meter(tmp_path) is None


def test_the_package_has_what_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pynvml")
    module = pytest.importorskip("pynvml")
    assert all(callable(getattr(module, name)) for name in CALLS)
    assert issubclass(module.NVMLError, Exception)
    # Without a driver it is no error.
    Nvml.find()


@pytest.mark.needs_gpu
def test_a_gpu_that_computes_takes_energy(tmp_path: Path) -> None:
    """At least what an idle one takes, and no more than the largest card could."""
    nvml, meter = Nvml.find(), find_meter(tmp_path)
    assert nvml is not None
    assert meter is not None
    assert meter.name == f"NVML, {', '.join(nvml.names)}"
    began = time.monotonic()
    with meter.measure() as energy:
        time.sleep(1.0)
    seconds = time.monotonic() - began
    assert 1 <= energy.joules / seconds / len(nvml.names) <= 2000
    assert nvml.names[0] in machine_facts()["gpu"]
