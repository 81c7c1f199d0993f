from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from s2tf_edge.export.graph.layer_maps import first_clip, repeat_clip
from s2tf_edge.export.sources.network import open_network
from s2tf_edge.export.verify.seeded_clips import seeded_clips
from s2tf_edge.preprocess import normalize


def test_a_plain_file_of_several_clips_is_searched_too(plain: Path, tmp_path: Path) -> None:
    model = onnx.load(plain)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    shape = onnx.numpy_helper.from_array(np.array([2, 8]), "shape")
    model.graph.initializer.append(shape)
    flatten = next(node for node in model.graph.node if node.op_type == "Flatten")
    flatten.op_type = "Reshape"
    flatten.input.append("shape")
    onnx.save(model, tmp_path / "two.onnx")
    source = open_network(tmp_path / "two.onnx", meta=plain.with_suffix(".json"))
    clip = normalize(seeded_clips(source.spec, count=1)[0], source.spec)[np.newaxis]
    layers = source.layers(clip)
    assert dict(layers.kinds) == {"c": "Conv", "r": "Relu", "p": "GlobalAveragePool", "f": "Reshape", "logits": "Gemm"}
    assert {name: each.shape for name, each in layers.maps(["c", "p"]).items()} == {
        "c": (1, 8, 4, 8, 8),
        "p": (1, 8, 1, 1, 1),
    }


@pytest.mark.parametrize(("batch", "rows"), [(3, 2), ("batch", 6), (None, 6), (12, 1)])
def test_the_first_clips_part_is_taken(batch: object, rows: int) -> None:
    """A layer may have turned the frames of a clip into rows of their own, or the rows of all clips into one."""
    output = np.arange(24, dtype=np.float16).reshape(6, 4)
    part = first_clip(output, batch)
    assert part.dtype == np.float32
    np.testing.assert_array_equal(part, output[:rows])


@pytest.mark.parametrize(("batch", "clips"), [(3, 3), ("batch", 1), (None, 1)])
def test_a_fixed_batch_is_filled_with_one_clip(batch: object, clips: int) -> None:
    clip = np.random.default_rng(0).random((1, 3, 2, 4, 4), np.float32)
    repeated = repeat_clip(clip, batch)
    assert len(repeated) == clips
    assert all(np.array_equal(each, clip[0]) for each in repeated)
