"""Trying, before a folder goes to its device, what the device is going to do with it.

The compiler may not be here, or may need a GPU that is not here. What can be found is found: TensorRT-RTX needs no GPU,
so that its engines are built as on the device and thrown away; and TensorRT has the same parser.
"""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Final

from s2tf_edge.errors import MissingExtraError
from s2tf_edge.export.targets.base import Target
from s2tf_edge.export.targets.tensorrt_engine import build_engine, read_graph
from s2tf_edge.export.targets.tensorrt_options import EngineOptions
from s2tf_edge.runtime.artifact import ENGINE_FILE
from s2tf_edge.runtime.backends.tensorrt_library import TensorRt, load_tensorrt

__all__ = ["try_build", "try_reading"]

logger = logging.getLogger(__name__)

_READS: Final = "trt-rtx"
"""The target whose library reads graphs without a GPU."""


def try_build(graph: Path, *, target: Target, options: EngineOptions) -> str:
    """Refuses a graph that the device would refuse, as far as that can be found here.

    Args:
        graph: the finished ONNX file.
        target: one of engines.
        options: as on the device.

    Returns:
        What was tried, for ``meta.json``: ``built``, ``parsed`` or, where nothing is here to try it with, ``nothing``.

    Raises:
        BuildError: the compiler fails.
        UnsupportedError: the compiler does not take an operator of the graph.
        UsageError: options do not fit the graph or the library.
    """
    if not target.builds_without_gpu:
        return try_reading(graph, target=target)
    if (library := _find_library()) is None:
        return "nothing"
    logger.info("trying the build with %s", library)
    with tempfile.TemporaryDirectory() as folder:
        build_engine(graph, Path(folder) / ENGINE_FILE, target=target, options=options)
    return "built"


def try_reading(graph: Path, *, target: Target) -> str:
    """Refuses a graph that the parser of ``target`` does not take; see ``try_build``."""
    if (library := _find_library()) is None:
        return "nothing"
    logger.info("reading the graph with %s, as %s does", library, target.rules.compiler.name)
    read_graph(library, graph)
    return "parsed"


def _find_library() -> TensorRt | None:
    try:
        return load_tensorrt(_READS, purpose="trying what the device will do")
    except MissingExtraError as error:
        logger.warning("the build is left to the device untried: %s", error)
        return None
