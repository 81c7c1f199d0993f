"""A kernel of one's own in place of a node's body: here in Python, through onnxruntime-extensions."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from s2tf_edge.errors import InputFileError
from s2tf_edge.export import ExportOptions, export
from s2tf_edge.runtime.open import open_session
from s2tf_edge.runtime.session import Outputs, SessionOptions

extensions: Any = pytest.importorskip("onnxruntime_extensions")
_FLOAT = extensions.PyCustomOpDef.dt_float


class _Kernel:
    """What the kernel below was called with, and a factor that a body does not have."""

    factor = 1.0
    shapes: list[tuple[int, ...]]


_kernel = _Kernel()


# Once a process: ONNX Runtime takes a second kernel of one name for a conflict.
@extensions.onnx_op(op_type="ai.s2tf::TemporalFusion", inputs=[_FLOAT] * 3, outputs=[_FLOAT])  # type: ignore[untyped-decorator]
def _fused(
    saliency: NDArray[np.float32], reduce: NDArray[np.float32], project: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Both 1×1×1 convolutions over time at once."""
    _kernel.shapes.append(saliency.shape)
    hidden = np.maximum(np.einsum("nthw,kt->nkhw", saliency[:, 0], reduce[:, :, 0, 0, 0]), 0)
    mask = np.einsum("nkhw,k->nhw", hidden, project[0, :, 0, 0, 0])
    fused: NDArray[np.float32] = np.float32(_kernel.factor) * mask[:, np.newaxis, np.newaxis]
    return fused


@pytest.fixture(autouse=True)
def kernel() -> Iterator[_Kernel]:
    _kernel.factor, _kernel.shapes = 1.0, []
    yield _kernel
    _kernel.factor = 1.0


@pytest.fixture(scope="module")
def kept(model_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("kept") / "a"
    options = ExportOptions(target="onnx", custom_ops="keep", mask=True, dynamic_batch=True, out=out, verify=False)
    return export(model_file, options).folder


def _with_kernels() -> SessionOptions:
    return SessionOptions(device="CPU", threads=1, custom_ops=(Path(extensions.get_library_path()),))


def _clips(count: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(count, 3, 8, 32, 32)).astype(np.float32)


def _infer(folder: Path, options: SessionOptions, clips: NDArray[np.float32]) -> Outputs:
    with open_session(folder, options) as session:
        return session.infer(clips)


def _mask(outputs: Outputs) -> NDArray[np.float32]:
    assert outputs.mask is not None
    return outputs.mask


def test_a_registered_kernel_runs_in_place_of_the_body(kept: Path, kernel: _Kernel) -> None:
    body = _infer(kept, SessionOptions(device="CPU", threads=1), _clips(2))
    assert not kernel.shapes
    fused = _infer(kept, _with_kernels(), _clips(2))
    assert len(kernel.shapes) == 1
    assert kernel.shapes[0][:2] == (2, 1)
    np.testing.assert_allclose(_mask(fused), _mask(body), rtol=0, atol=1e-5 * float(np.ptp(_mask(body))))
    np.testing.assert_allclose(fused.logits, body.logits, rtol=0, atol=1e-5 * float(np.ptp(body.logits)))


def test_the_mask_is_the_kernels_own(kept: Path, kernel: _Kernel) -> None:
    once = _mask(_infer(kept, _with_kernels(), _clips(2)))
    kernel.factor = 2.0
    assert np.abs(once).max() > 0
    np.testing.assert_array_equal(_mask(_infer(kept, _with_kernels(), _clips(2))), 2 * once)


def test_an_inlined_graph_has_no_node_for_a_kernel(model_file: Path, kernel: _Kernel, tmp_path: Path) -> None:
    options = ExportOptions(target="onnx", custom_ops="inline", mask=True, out=tmp_path / "a", verify=False)
    _infer(export(model_file, options).folder, _with_kernels(), _clips(1))
    assert not kernel.shapes


def test_sessions_in_threads_share_a_kernel(kept: Path, kernel: _Kernel) -> None:
    clips = _clips(4)
    expected = [_infer(kept, _with_kernels(), clips[i : i + 1]).logits for i in range(4)]
    kernel.shapes.clear()
    found: dict[int, list[NDArray[np.float32]]] = {}

    def work(index: int) -> None:
        with open_session(kept, _with_kernels()) as session:
            found[index] = [session.infer(clips[index : index + 1]).logits for _ in range(5)]

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(kernel.shapes) == 4 * 5
    for index, runs in found.items():
        for logits in runs:
            np.testing.assert_array_equal(logits, expected[index])


def test_a_library_that_is_none_is_told(kept: Path, tmp_path: Path) -> None:
    (tmp_path / "kernels.so").write_bytes(b"no library")
    options = SessionOptions(device="CPU", custom_ops=(tmp_path / "kernels.so",))
    with pytest.raises(InputFileError, match=r"cannot load the kernels of .*kernels\.so"):
        _infer(kept, options, _clips(1))


def test_the_documented_kernel_runs(kept: Path, tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "docs/custom-ops.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(from pathlib.*?)```", text, flags=re.DOTALL)
    (tmp_path / "model_onnx_fp32").symlink_to(kept)
    # In a process of its own: this one has a kernel of that name already.
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    kernel_line, logits_line = done.stdout.splitlines()
    assert kernel_line.startswith("kernel: (1, 1, ")
    assert logits_line == "(1, 10)"
