import pytest
import torch
from torch import Tensor, nn

from s2tf_edge.errors import UsageError
from s2tf_edge.models import VideoNetwork, create_model, save_model

NAMES = [
    "s2tf_r3d_10?width=0.125&size=48",
    "ssf_r3d_18?width=0.0625&shortcut=A&frames=13&size=36",
    "r3d_50?width=0.0625&frames=4&size=17",
    "s2tf_nl_i3d_r50?width=0.0625&size=40",
    "i3d_r50?width=0.0625&frames=3&size=33",
    "s2tf_slow_r50?width=0.0625&frames=2&size=32",
    "s2tf_p3d_63?width=0.0625&size=40",
    "p3d_63?width=0.0625&frames=32&size=17",
    "s2tf_x3d_xs?width=0.125&size=40",
    "x3d_s?width=0.125&frames=2&size=17",
    "s2tf_tv_r3d_18?width=0.0625&size=40",
    "mc3_18?width=0.0625&frames=5&size=17",
    "s2tf_r2plus1d_18?width=0.0625&size=33",
    "mm_r2plus1d_34?width=0.0625&frames=3&size=36",
    "s2tf_s3d?width=0.0625&frames=16&size=64",
    "s2tf_ir_csn_50?width=0.0625&frames=4&size=32",
    "mm_i3d_r50?width=0.0625&frames=6&size=33",
]
"""Of every family, with odd sizes and with temporal kernels longer than the clip among them."""


def scrambled(name: str) -> VideoNetwork:
    """A network in float64 with batch norms far from the identity, as training leaves them."""
    torch.manual_seed(0)
    model = create_model(name, num_classes=5).double().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm3d):
            assert isinstance(module.running_mean, Tensor)
            assert isinstance(module.running_var, Tensor)
            for value, low in ((module.weight, 0.5), (module.bias, -0.2), (module.running_mean, -0.2)):
                nn.init.uniform_(value, low, low + 0.5)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model


def clip_for(model: VideoNetwork) -> Tensor:
    return torch.randn(model.spec.input_shape(2), generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_gives_the_same_logits(name: str) -> None:
    model = scrambled(name)
    clip = clip_for(model)
    logits, saliency = model(clip, return_saliency=True)
    got, found = model.to_inference()(clip, return_saliency=True)
    assert logits.std() > 1e-4
    torch.testing.assert_close(got, logits, rtol=0, atol=1e-9)
    if saliency is not None:
        torch.testing.assert_close(found, saliency, rtol=0, atol=1e-9)


def test_leaves_the_network_as_it_was() -> None:
    model = scrambled(NAMES[0]).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    inference = model.to_inference()
    assert model.training
    assert not inference.training
    assert list(model.state_dict()) == list(before)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("name", NAMES)
def test_keeps_no_norm_after_a_convolution(name: str) -> None:
    model = scrambled(name)
    left = [key for key, module in model.to_inference().named_modules() if isinstance(module, nn.BatchNorm3d)]
    assert left == ([] if model.saliency is None else ["saliency.norm"])


def test_r3d_18_at_16_frames_loses_the_taps_that_meet_padding() -> None:
    model = create_model("r3d_18", num_classes=101)
    sizes = [sum(value.numel() for value in net.parameters()) / 1e6 for net in (model, model.to_inference())]
    assert sizes == pytest.approx([33.2, 17.9], abs=0.06)


@pytest.mark.parametrize("name", ["s2tf_nl_i3d_r50?width=0.0625&size=32", *NAMES[6:10]])
def test_traces_to_operators_that_move_no_single_frame(name: str) -> None:
    model = create_model(name, num_classes=5).to_inference()
    program = torch.export.export(model, (torch.randn(model.spec.input_shape()),))
    names = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert not {name for name in names if any(word in name for word in ("split", "cat", "stack", "einsum", "select_s"))}
    assert any("matmul" in name or "bmm" in name for name in names) == ("nl_" in name)


@pytest.mark.slow
def test_x3d_becomes_onnx_operators_that_every_runtime_has() -> None:
    pytest.importorskip("onnxscript")
    from s2tf_edge.export.graph.custom_ops import InlineCustomOps
    from s2tf_edge.export.graph.onnx_file import count_operators
    from s2tf_edge.export.sources.torch_to_onnx import to_onnx

    graph = to_onnx(create_model("s2tf_x3d_xs?width=0.125&size=32", num_classes=5).eval())
    InlineCustomOps()(graph)
    operators = count_operators(graph)
    plain = "Conv Relu Sigmoid Mul Add Div ReduceMean AveragePool Reshape Transpose Squeeze Gemm"
    assert set(operators) <= set(plain.split())
    squeezes = 2 + 3 + 6 + 4
    # Each squeeze averages and has a gate; each block has a swish; the head averages once.
    assert operators["ReduceMean"] == squeezes + 1
    assert operators["Sigmoid"] == squeezes + (3 + 5 + 11 + 7) + len(("S1", "S2", "S3", "E1", "E2"))


def test_takes_no_clip_but_those_it_was_trimmed_for() -> None:
    inference = create_model("r3d_10?width=0.1&frames=4&size=32", num_classes=2).to_inference()
    with pytest.raises(UsageError, match=r"takes clips of shape \[N, 3, 4, 32, 32\], got \[1, 3, 4, 64, 64\]"):
        inference(torch.zeros(1, 3, 4, 64, 64))


def test_cannot_be_saved(tmp_path: object) -> None:
    with pytest.raises(UsageError, match="an inference form cannot be saved"):
        save_model(f"{tmp_path}/model.pt", create_model("r3d_10?width=0.1&size=32", num_classes=2).to_inference())
