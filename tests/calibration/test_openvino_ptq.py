from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s2tf_edge.calibration.clips import CalibrationClips
from s2tf_edge.calibration.openvino_ptq import RUNGS, Rung, matching_nodes, quantize
from s2tf_edge.data.datasets import open_data
from s2tf_edge.errors import BuildError, UsageError
from s2tf_edge.runtime.backends.telemetry import require_without_telemetry
from s2tf_edge.spec import ClipSpec

openvino: Any = require_without_telemetry("openvino", extra="export", purpose="these tests")
ops: Any = openvino.opset13
SPEC = ClipSpec(frames=4, size=16)


def _convolution(value: Any, channels: int, name: str) -> Any:
    random = np.random.default_rng(channels)
    kernel = random.standard_normal((channels, value.shape[1], 3, 3, 3)).astype(np.float32)
    ones = [1, 1, 1]
    return ops.relu(ops.convolution(value, kernel, ones, ones, ones, ones, name=name))


def _network() -> Any:
    clip = ops.parameter(SPEC.input_shape(), np.float32, name="clip")
    first = _convolution(clip, 8, "stem/Conv")
    second = _convolution(first, 8, "head/Conv")
    features = ops.reduce_mean(second, np.array([2, 3, 4]))
    weight = np.random.default_rng(1).standard_normal((8, 5)).astype(np.float32)
    logits = ops.matmul(features, weight, transpose_a=False, transpose_b=False, name="fc/Gemm")
    return openvino.Model([logits], [clip])


def _compile(network: Any) -> Any:
    return openvino.Core().compile_model(network, "CPU")


def _quantized(network: Any) -> set[str]:
    """Names of the layers with quantised activations."""
    layers = [op for op in network.get_ordered_ops() if op.get_type_name() in {"Convolution", "MatMul"}]
    inputs = {op.get_friendly_name(): op.input_value(0).get_node().get_type_name() for op in layers}
    return {name for name, kind in inputs.items() if kind == "FakeQuantize"}


@pytest.fixture
def clips() -> CalibrationClips:
    return CalibrationClips(open_data("synthetic?clips=10"), SPEC)


def test_the_first_rung_that_compiles_is_taken(clips: CalibrationClips, capfd: pytest.CaptureFixture[str]) -> None:
    result = quantize(_network, clips=clips, compile_network=_compile)
    assert result.rung == RUNGS[0]
    assert [attempt["result"] for attempt in result.attempts] == ["ok"]
    assert _quantized(result.network) == {"stem/Conv", "head/Conv", "fc/Gemm"}
    assert capfd.readouterr().out == ""


def test_a_rung_that_does_not_compile_is_recorded_and_left(clips: CalibrationClips) -> None:
    compiled = []

    def reject_asymmetric(network: Any) -> None:
        compiled.append(network)
        if len(compiled) == 1:
            msg = "Exception from src/plugin.cpp:1:\n\nNo suitable implementations\n"
            raise RuntimeError(msg)

    result = quantize(_network, clips=clips, compile_network=reject_asymmetric)
    assert result.rung == RUNGS[1]
    assert list(result.attempts) == [
        {"rung": "mixed", "result": "No suitable implementations"},
        {"rung": "performance", "result": "ok"},
    ]
    assert result.network is compiled[1]


def test_a_ladder_without_a_rung_left_is_a_build_error(clips: CalibrationClips) -> None:
    def reject(network: Any) -> None:
        msg = "No suitable implementations"
        raise RuntimeError(msg)

    with pytest.raises(
        BuildError, match=r"no int8 form .* compiles here: No suitable implementations; export it as fp16"
    ):
        quantize(_network, clips=clips, compile_network=reject, rungs=RUNGS[:1])


def test_operators_that_a_rung_leaves_out_stay_in_floating_point(clips: CalibrationClips) -> None:
    rung = Rung(preset="performance", leave_out=("Convolution",))
    result = quantize(_network, clips=clips, compile_network=_compile, rungs=[rung])
    assert _quantized(result.network) == {"fc/Gemm"}


def test_excluded_nodes_stay_in_floating_point(clips: CalibrationClips) -> None:
    result = quantize(_network, clips=clips, compile_network=_compile, exclude=["^stem"])
    assert result.excluded == ("stem/Conv",)
    assert _quantized(result.network) == {"head/Conv", "fc/Gemm"}


def test_expressions_are_searched_in_names() -> None:
    assert matching_nodes(_network(), ["Conv"]) == ("stem/Conv", "head/Conv")
    assert matching_nodes(_network(), ["head", "^head"]) == ("head/Conv",)
    with pytest.raises(
        UsageError, match="--exclude 'neck' matches none of the 3 layers, such as stem/Conv, head/Conv, fc/Gemm"
    ):
        matching_nodes(_network(), ["head", "neck"])


def test_importing_the_quantiser_leaves_the_home_and_the_environment_alone(tmp_path: Path) -> None:
    code = (
        "import os; before = dict(os.environ)\n"
        "from s2tf_edge.runtime.backends.telemetry import require_without_telemetry as require\n"
        "for name in ('openvino', 'nncf'): require(name, extra='export', purpose='a test')\n"
        "import openvino_telemetry\n"
        "assert openvino_telemetry.Telemetry().consent is False\n"
        "assert {key: os.environ[key] for key in before} == before\n"
        "assert not {'CI', 'NNCF_CI'} & (set(os.environ) - set(before))\n"
    )
    environment = {key: value for key, value in os.environ.items() if key not in {"CI", "NNCF_CI"}}
    environment["HOME"] = str(tmp_path)
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    assert not (tmp_path / "intel").exists()


def test_ranges_reach_the_extremes_of_all_clips() -> None:
    """One bright clip among dark ones must not be cut off, as an average of extremes would do."""
    clip = ops.parameter(SPEC.input_shape(), np.float32, name="clip")
    network = openvino.Model([_convolution(clip, 4, "stem/Conv")], [clip])
    clips = CalibrationClips(open_data("synthetic?clips=10"), SPEC)
    brightest = max(float(each.max()) for each in clips)
    result = quantize(lambda: network, clips=clips, compile_network=_compile)
    (quantizer,) = [
        op
        for op in result.network.get_ordered_ops()
        if op.get_type_name() == "FakeQuantize" and op.input_value(0).get_node().get_type_name() == "Parameter"
    ]
    assert float(quantizer.input_value(2).get_node().data.max()) == pytest.approx(brightest, rel=0.02)
    low, high = result.ranges["clip/fq_output_0"]
    assert low < 0 < high == pytest.approx(brightest, rel=0.02)
    assert all("fq_weights" not in name for name in result.ranges)
