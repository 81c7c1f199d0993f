from __future__ import annotations

import pytest
from google.protobuf import text_format as protobuf_text  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import model_config_pb2

from s2tf_edge.export.triton.text_format import Constant, text_format


def _parse(text: str) -> model_config_pb2.ModelConfig:
    return protobuf_text.Parse(text, model_config_pb2.ModelConfig())


@given(st.text())
def test_any_string_is_read_back(text: str) -> None:
    expected = text.encode("utf-8", "replace").decode()
    assert _parse(text_format({"name": text})).name == expected


def test_all_kinds_of_fields() -> None:
    message = {
        "max_batch_size": 4,
        "input": [{"name": "a", "data_type": Constant("TYPE_FP32"), "dims": [-1, 3], "optional": True}, {"name": "b"}],
        "dynamic_batching": {},
        "sequence_batching": {"oldest": {"max_candidate_sequences": 2}},
    }
    config = _parse(text_format({name: message[name] for name in ("max_batch_size", "input", "dynamic_batching")}))
    assert (config.max_batch_size, config.HasField("dynamic_batching")) == (4, True)
    first, second = config.input
    assert (first.name, list(first.dims), first.optional, second.name) == ("a", [-1, 3], True, "b")
    assert _parse(text_format({"sequence_batching": message["sequence_batching"]})).sequence_batching.oldest
    with pytest.raises(protobuf_text.ParseError, match="no field named"):
        _parse(text_format({"sequences": {}}))
