"""The client in a model's README: Triton's own client library sends what it says to a made endpoint.

The endpoint speaks the server's protocol and runs models as ``Served`` does; it is none of Triton's code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from s2tf_edge.export import ExportResult, plan_publication, publish
from s2tf_edge.runtime.open import open_session

Serve = Callable[[Path], Any]

_DTYPES = {"FP32": np.float32, "UINT8": np.uint8}


class _Endpoint(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    def __init__(self, models: dict[str, Any]) -> None:
        self._models = models

    def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802  # as the protocol calls it
        del context
        given = {
            tensor.name: np.frombuffer(raw, _DTYPES[tensor.datatype]).reshape(list(tensor.shape))
            for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True)
        }
        asked = request.parameters
        outputs = self._models[request.model_name].infer(
            given, sequence=asked["sequence_id"].int64_param, start=asked["sequence_start"].bool_param
        )
        response = service_pb2.ModelInferResponse(model_name=request.model_name)
        for name, values in outputs.items():
            response.outputs.add(name=name, datatype="FP32", shape=values.shape)
            response.raw_output_contents.append(values.tobytes())
        return response


@pytest.fixture
def endpoint(serve: Serve) -> Iterator[Callable[[Path], str]]:
    """Serves a published model; gives the address."""
    servers = []

    def start(folder: Path) -> str:
        server = grpc.server(ThreadPoolExecutor(1))
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(_Endpoint({folder.name: serve(folder)}), server)
        port = server.add_insecure_port("localhost:0")
        server.start()
        servers.append(server)
        return f"localhost:{port}"

    yield start
    for server in servers:
        server.stop(None).wait()


def _client(readme: str, address: str) -> str:
    code = readme.partition("```python\n")[2].partition("```")[0]
    assert "localhost:8001" in code
    return code.replace("localhost:8001", address)


@pytest.mark.parametrize("options", [{}, {"dynamic_batch": True}, {"batch": 4, "input": "u8"}], ids=str)
def test_a_client_of_clips(
    export_plain: Callable[..., ExportResult],
    endpoint: Callable[[Path], str],
    tmp_path: Path,
    options: dict[str, Any],
) -> None:
    result = export_plain("onnx", triton=tmp_path / "models", **options)
    folder = tmp_path / "models" / "a"
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert "no server has loaded it" in readme
    assert ("mean 0.4, 0.5, 0.6" in readme) == ("input" not in options)
    names: dict[str, Any] = {}
    exec(_client(readme, endpoint(folder)), names)
    names["client"].close()
    with open_session(result.folder) as session:
        expected = session.infer(names["clips"]).logits
    np.testing.assert_allclose(names["logits"], expected, atol=1e-5)
    assert len(expected) == options.get("batch", 1)


def test_a_client_of_steps(step_artifact: Callable[..., Path], endpoint: Callable[[Path], str], tmp_path: Path) -> None:
    artifact = step_artifact()
    folder = publish(plan_publication(artifact, tmp_path / "models")).folder
    readme = (folder / "README.md").read_text(encoding="utf-8")
    for words in ("the next 1 frame; the axes are frames, RGB", "before frame 4 of a sequence", "`sequence_end`"):
        assert words in readme
    names: dict[str, Any] = {}
    exec(_client(readme, endpoint(folder)), names)
    frames = np.random.default_rng(0).normal(size=(6, 1, 3, 4, 4)).astype(np.float32)
    with open_session(artifact) as session:
        state = session.start()
        for index, frame in enumerate(frames):
            names["given"].set_data_from_numpy(frame)
            got = names["client"].infer(folder.name, [names["given"]], sequence_id=1, sequence_start=index == 0)
            expected = session.step(frame[:, :, np.newaxis], state).logits
            np.testing.assert_allclose(got.as_numpy("logits"), expected, atol=1e-5)
    names["client"].close()
