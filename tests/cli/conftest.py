"""A real artifact that is made and opened in no time, and commands in processes of their own that are interrupted."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from s2tf_edge.data.datasets import open_data
from s2tf_edge.runtime.artifact import ArtifactMeta, sha256, write_meta
from s2tf_edge.spec import ClipSpec


@pytest.fixture(autouse=True)
def _process_as_it_was() -> Iterator[None]:
    """Undoes what a command that runs in this process sets up for the whole of it: a log on stderr, and signals.

    Else later tests would log to this one's stderr, which is closed by then.
    """
    root, package = logging.getLogger(), logging.getLogger("s2tf_edge")
    ends = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    handlers, levels = root.handlers[:], (root.level, package.level)
    yield
    for added in [each for each in root.handlers if each not in handlers]:
        root.removeHandler(added)
    for logger, level in zip((root, package), levels, strict=True):
        logger.setLevel(level)
    for number, end in ends.items():
        signal.signal(number, end)
    logging.captureWarnings(False)


@pytest.fixture(scope="session")
def small_artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX artifact for the classes of the synthetic data, in a folder whose name has a space and an accent.

    It takes the mean color over the clip, then one linear layer.
    """
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    labels, spec = open_data("synthetic?clips=1").labels, ClipSpec(frames=4, size=16)
    weights = np.random.default_rng(0).standard_normal((3, len(labels))).astype(np.float32)
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["clip"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["color"]),
            helper.make_node("Gemm", ["color", "weights"], ["logits"]),
        ],
        "small",
        [helper.make_tensor_value_info("clip", float32, spec.input_shape())],
        [helper.make_tensor_value_info("logits", float32, (1, len(labels)))],
        [onnx.numpy_helper.from_array(weights, "weights")],
    )
    folder = tmp_path_factory.mktemp("artifacts") / "small é artifact"
    folder.mkdir()
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), folder / "model.onnx"
    )
    meta = ArtifactMeta(
        network="small",
        labels=labels,
        clip=spec,
        target="onnx",
        precision={"asked": "fp32", "inference": "f32", "obtained": {"Gemm": {"f32": 1}}},
        inputs={"clip": {"shape": list(spec.input_shape()), "dtype": "float32"}},
        outputs={"logits": {"shape": [1, len(labels)], "dtype": "float32"}},
        model="model.onnx",
        files={"model.onnx": sha256(folder / "model.onnx")},
    )
    write_meta(meta, folder)
    return folder


_PATIENCE_SECONDS: Final = 300.0
"""No test waits that long unless something hangs, however busy the machine is."""

_CHILD: Final = """
import importlib, logging, signal, sys, time

class Halt(logging.Handler):
    def emit(self, record):
        if halting_line and halting_line in record.getMessage():
            print(halting_line, file=sys.stderr, flush=True)
            while True:
                time.sleep(0.1)

# A test runner in the background ignores SIGINT, and so would all that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
command, halting_line, *arguments = sys.argv[1:]
logging.getLogger("s2tf_edge").addHandler(Halt())
sys.argv = [f"s2tf-{command}", *arguments]
importlib.import_module(f"s2tf_edge.cli.{command}").main()
"""


@pytest.fixture
def interrupt() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a command until a line of its log, then sends a signal to all its processes, as Ctrl-C does.

    The result's stderr begins after that line.
    """

    def run(
        command: str,
        *arguments: str | Path,
        at: str,
        cwd: Path,
        halts: bool = False,
        number: signal.Signals = signal.SIGINT,
    ) -> subprocess.CompletedProcess[str]:
        """Runs ``s2tf-<command>``; with ``halts`` it waits at the line for the signal, and else goes on meanwhile."""
        words = [sys.executable, "-c", _CHILD, command, at if halts else "", *map(str, arguments)]
        pipe = subprocess.PIPE
        with subprocess.Popen(
            words, cwd=cwd, stdout=pipe, stderr=pipe, encoding="utf-8", start_new_session=True
        ) as process:
            watchdog = threading.Timer(_PATIENCE_SECONDS, os.killpg, (process.pid, signal.SIGKILL))
            watchdog.start()
            try:
                lines = iter(process.stderr or ())
                assert any(at in line for line in lines), f"it ended before {at!r}"
                os.killpg(process.pid, number)
                # The end of stderr is the end of every process that inherited it: none is left behind.
                out, err = process.communicate()
            finally:
                watchdog.cancel()
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    return run
