"""What each runtime wants integers to look like.

    style         activations                        quantized besides inputs of layers
    tensorrt      int8, symmetric                    shortcuts of residual sums
    openvino      int8, symmetric; uint8 where no    shortcuts of residual sums
                  value is negative
    onnxruntime   uint8 with a zero point            results of layers, both inputs and result of sums, biases

TensorRT takes nothing but the first. ONNX Runtime's kernels on CPUs take the last: with int8 activations it fuses no
convolution of five axes. OpenVINO takes all three, and the second is what its own quantizer calls the performance
preset: it has the steps of uint8 behind a ReLU, and none of the zero points with which convolutions that feed depthwise
ones do not compile for bfloat16.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from s2tf_edge.calibration.ranges.ranges import Range
from s2tf_edge.errors import UsageError

__all__ = ["STYLES", "Style", "find_style"]


@dataclass(frozen=True, kw_only=True)
class Style:
    """One row of the table above."""

    name: str
    int8: str
    """Which activations are int8, symmetric about zero: ``all``, ``negative`` (those that have negative values) or
    ``none``; the others are uint8 with a zero point."""
    integer_kernels: bool
    """Whether kernels give integers as well: results and biases are quantized too."""

    def is_signed(self, values: Range) -> bool:
        """Whether an activation with these values is int8."""
        return self.int8 == "all" or (self.int8 == "negative" and values.low < 0)


STYLES: Final = {
    style.name: style
    for style in (
        Style(name="tensorrt", int8="all", integer_kernels=False),
        Style(name="openvino", int8="negative", integer_kernels=False),
        Style(name="onnxruntime", int8="none", integer_kernels=True),
    )
}


def find_style(name: str) -> Style:
    """The style of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in STYLES:
        msg = f"no style of integer graph is called {name!r}; there are {', '.join(STYLES)}"
        raise UsageError(msg)
    return STYLES[name]
