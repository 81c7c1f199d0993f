"""What is decided for Arm processors, on any processor; ``tools/check_arm.sh`` has it run on emulated ones."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import openvino
import pytest
from openvino import opset13

from s2tf_edge.calibration.audit import audit_openvino
from s2tf_edge.runtime.backends import openvino_arm
from s2tf_edge.runtime.backends.openvino_arm import (
    GraphFacts,
    arm_config,
    arm_warning,
    computes_integers,
    read_facts,
)

Processor: TypeAlias = Callable[..., None]
IN_FLOATS = {"LP_TRANSFORMS_MODE": "NO", "INFERENCE_PRECISION_HINT": "f32"}
CLIP = GraphFacts(is_quantized=False, has_3d=True)
PICTURE = GraphFacts(is_quantized=False, has_3d=False)


def _quantized(facts: GraphFacts) -> GraphFacts:
    return dataclasses.replace(facts, is_quantized=True)


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch) -> Processor:
    """Makes this machine pass for another."""

    def become(*, arm: bool = True, dot_products: bool = False) -> None:
        monkeypatch.setattr(openvino_arm, "is_arm", lambda: arm)
        monkeypatch.setattr(openvino_arm, "has_dot_products", lambda: dot_products)

    return become


def _quantize(values: Any, low: float, high: float, *, levels: int) -> Any:
    ends = [np.float32(end) for end in (low, high, low, high)]
    return opset13.fake_quantize(values, *ends, levels)


def _network(dimensions: int, *, is_quantized: bool = True) -> Any:
    """A convolution of 4 channels over clips or pictures, with the ranges of 8 bits where it is quantized."""
    sizes = [5, 8, 8][3 - dimensions :]
    random = np.random.default_rng(0)
    values = given = opset13.parameter([1, 4, *sizes], np.float32, "clip")
    weights = opset13.constant(random.normal(size=(8, 4, *[3] * dimensions)).astype(np.float32))
    if is_quantized:
        values = _quantize(given, -3, 3 * 127 / 128, levels=256)
        # Ranges wide enough for integers so small that their sums overflow on no processor.
        weights = _quantize(weights, -12, 12, levels=255)
    ones = [1] * dimensions
    out = opset13.relu(opset13.convolution(values, weights, ones, ones, ones, ones))
    if is_quantized:
        out = _quantize(out, 0, 30, levels=256)
    return openvino.Model([out], [given])


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("is_quantized", [True, False])
def test_facts_are_those_of_the_network(dimensions: int, is_quantized: bool) -> None:
    facts = read_facts(_network(dimensions, is_quantized=is_quantized))
    assert facts == GraphFacts(is_quantized=is_quantized, has_3d=dimensions == 3)


@pytest.mark.parametrize(
    ("facts", "on_arm", "with_dot_products", "expected"),
    [
        (CLIP, False, False, True),
        (PICTURE, False, False, True),
        (CLIP, True, False, False),
        (CLIP, True, True, False),
        (PICTURE, True, False, False),
        (PICTURE, True, True, True),
    ],
)
def test_integers_are_computed_where_they_run(
    facts: GraphFacts, on_arm: bool, with_dot_products: bool, expected: bool
) -> None:
    assert computes_integers(facts, on_arm=on_arm, with_dot_products=with_dot_products) is expected


@pytest.mark.parametrize("device", ["GPU", "GPU.0", "NPU"])
def test_other_devices_are_left_alone(processor: Processor, device: str) -> None:
    processor()
    assert arm_config(_quantized(CLIP), device) == {}
    assert arm_warning(CLIP, device, path=Path("m.xml")) is None


def test_floats_need_no_other_mode(processor: Processor) -> None:
    processor()
    assert arm_config(CLIP, "CPU") == arm_config(PICTURE, "CPU") == {}
    assert arm_config(_quantized(CLIP), "CPU") == IN_FLOATS


@pytest.mark.parametrize(
    ("facts", "dot_products", "words"),
    [
        (CLIP, True, r"the 3-D convolutions of a/m.xml by reference kernels, .*; ONNX .* --target onnx$"),
        (
            _quantized(CLIP),
            True,
            r"kernels, which are slow, and its int8 in float32; .* --precision int8 --calib DATA$",
        ),
        (_quantized(PICTURE), False, r"computes the int8 of a/m.xml in float32; .* --precision int8 --calib DATA$"),
    ],
)
def test_a_line_says_what_is_slow_and_what_to_use(
    processor: Processor, facts: GraphFacts, dot_products: bool, words: str
) -> None:
    processor(dot_products=dot_products)
    warning = arm_warning(facts, "CPU", path=Path("a/m.xml"))
    assert warning is not None
    assert re.search(words, warning)
    assert "\n" not in warning


@pytest.mark.parametrize(
    ("arm", "dot_products", "facts"),
    [(False, False, _quantized(CLIP)), (True, False, PICTURE), (True, True, _quantized(PICTURE))],
)
def test_nothing_is_said_where_nothing_is_wrong(
    processor: Processor, arm: bool, dot_products: bool, facts: GraphFacts
) -> None:
    processor(arm=arm, dot_products=dot_products)
    assert arm_warning(facts, "CPU", path=Path("m.xml")) is None
    assert arm_config(facts, "CPU") == {}


@pytest.mark.parametrize("dimensions", [2, 3])
def test_openvino_leaves_fake_quantize_as_it_is(processor: Processor, dimensions: int) -> None:
    processor()
    network, core = _network(dimensions), openvino.Core()
    integers = core.compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    floats = core.compile_model(network, "CPU", dict(arm_config(read_facts(network), "CPU")))
    assert audit_openvino(integers).convolutions.integer == 1
    assert audit_openvino(floats).convolutions.integer == 0
    clip = np.random.default_rng(1).uniform(-2, 2, network.input(0).shape).astype(np.float32)
    # Sums of a few hundred products, rounded to 256 steps: a step at most lies between the two.
    assert np.abs(integers(clip)[0] - floats(clip)[0]).max() <= 30 / 255 * 1.01
