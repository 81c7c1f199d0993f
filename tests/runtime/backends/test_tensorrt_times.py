"""That the library takes our profiler for one of its own, which needs no GPU."""

from __future__ import annotations

from typing import Any

import pytest

from s2tf_edge.runtime.backends.tensorrt_library import load_tensorrt
from s2tf_edge.runtime.backends.tensorrt_times import LayerClock


@pytest.mark.needs_rtx
def test_what_the_library_reports_is_averaged_over_predictions() -> None:
    module: Any = load_tensorrt("trt-rtx", purpose="a test").module
    clock = LayerClock(module)
    assert isinstance(clock.listener, module.IProfiler)
    for stem, head in ((1.0, 0.25), (3.0, 0.75)):
        # As a context calls it: through the library's class.
        for name, milliseconds in (("backbone.stem/Conv", stem), ("logits", head)):
            module.IProfiler.report_layer_time(clock.listener, name, milliseconds)
    assert {layer.name: layer.ms for layer in clock.means(2)} == {"backbone.stem/Conv": 2.0, "logits": 0.5}
