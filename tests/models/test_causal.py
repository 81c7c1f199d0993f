"""A causal network gives the same for a clip and frame by frame, and forgets what it should."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from s2tf_edge.errors import UsageError
from s2tf_edge.models import VideoNetwork, create_model, load_model, save_model
from s2tf_edge.models.causal import CausalConv3d, SlidingMean, beginning_at, find_pasts, remembering

pytestmark = pytest.mark.usefixtures("tiny_x3d")

NAMES = (
    "x3d_tiny?width=0.25&causal=true",
    "ssf_x3d_tiny?width=0.25&causal=true",
    "s2tf_x3d_tiny?width=0.25&causal=true",
    "s2tf_x3d_tiny?width=0.25&causal=true&motion=true",
)
EXACT: dict[str, Any] = {"atol": 1e-10, "rtol": 0}


def _scrambled(name: str, *, frames: int = 5, size: int = 32) -> VideoNetwork:
    """In float64, with norms as training leaves them, and residual branches that are not zero."""
    torch.manual_seed(0)
    network = create_model(name, num_classes=5, frames=frames, size=size).double().eval()
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm3d):
            for values, low, high in ((norm.weight, 0.5, 1.5), (norm.bias, -0.3, 0.3)):
                nn.init.uniform_(values, low, high)
            assert norm.running_mean is not None
            assert norm.running_var is not None
            norm.running_mean.uniform_(-0.2, 0.2)
            norm.running_var.uniform_(0.5, 1.5)
    return network


def _frames(count: int, *, batch: int = 1, seed: int = 0) -> Tensor:
    return torch.randn(batch, 3, count, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("kernel", "stride", "groups"),
    [((3, 1, 1), 1, 1), ((5, 1, 1), 1, 6), ((3, 3, 3), 2, 6), ((3, 3, 3), 1, 1), ((1, 3, 3), 1, 1)],
)
@torch.no_grad()
def test_a_layer_steps_as_it_sees_a_padded_clip(kernel: tuple[int, int, int], stride: int, groups: int) -> None:
    padding = (0, kernel[1] // 2, kernel[2] // 2)
    layer = CausalConv3d(6, 12, kernel, (1, stride, stride), padding, groups=groups).double()
    x = torch.randn(2, 6, 9, 7, 7, dtype=torch.float64)
    padded = functional.pad(x, (0, 0, 0, 0, kernel[0] - 1, 0))
    expected = functional.conv3d(padded, layer.weight, layer.bias, (1, stride, stride), padding, groups=groups)
    torch.testing.assert_close(layer(x), expected, **EXACT)
    pasts = list(find_pasts(layer).values())
    state = {past: torch.zeros(2, 6, past.taps - 1, 7, 7, dtype=torch.float64) for past in pasts}
    for start, count in ((0, 1), (1, 1), (2, 3), (5, 4)):
        with remembering(state) as state:
            got = layer(x[:, :, start : start + count])
        torch.testing.assert_close(got, expected[:, :, start : start + count], **EXACT)


@torch.no_grad()
def test_a_sliding_mean_is_of_the_last_frames() -> None:
    x = torch.randn(1, 2, 7, 3, 3)
    expected = torch.stack([x[:, :, max(0, t - 2) : t + 1].mean(2) for t in range(7)], dim=2)
    torch.testing.assert_close(SlidingMean(3)(x), expected)
    with beginning_at(torch.tensor([4])):
        late = SlidingMean(3)(x)
    torch.testing.assert_close(late[:, :, 4:], SlidingMean(3)(x[:, :, 4:]))
    assert not late[:, :, :4].any()


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_a_step_says_what_a_clip_says_that_ends_there(name: str) -> None:
    network = _scrambled(name)
    clip = _frames(network.receptive_field + 2 * network.spec.frames, batch=2)
    state = network.start_state(2)
    said = []
    for t in range(clip.shape[2]):
        logits, state = network.step(clip[:, :, t : t + 1], state)
        if t + 1 >= network.warm_up:
            torch.testing.assert_close(logits, network(clip[:, :, : t + 1]), **EXACT)
            said.append(logits)
    assert torch.stack(said).std(dim=0).min() > 1e-4


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_what_was_before_the_receptive_field_is_forgotten_and_not_sooner(name: str) -> None:
    network = _scrambled(name)
    clip = _frames(network.receptive_field + 1)
    # Whatever depends on what is no number is none itself.
    state = {layer: torch.full_like(past, torch.nan) for layer, past in network.start_state().items()}
    fresh = network.start_state()
    for t in range(clip.shape[2]):
        logits, state = network.step(clip[:, :, t : t + 1], state)
        known, fresh = network.step(clip[:, :, t : t + 1], fresh)
        assert bool(logits.isfinite().all()) == (t + 1 >= network.receptive_field)
    torch.testing.assert_close(logits, known, **EXACT)


@torch.no_grad()
def test_several_frames_a_step_streams_side_by_side_and_a_state_that_is_gone_back_to() -> None:
    network = _scrambled(NAMES[2])
    clip = _frames(12, batch=3)
    one, state = network.step(clip[:, :, :9], network.start_state(3))
    torch.testing.assert_close(one, network(clip[:, :, :9]), **EXACT)
    kept = {layer: past.clone() for layer, past in state.items()}
    later, _ = network.step(clip[:, :, 9:], state)
    torch.testing.assert_close(later, network(clip), **EXACT)
    assert all(torch.equal(state[layer], kept[layer]) for layer in kept)
    alone = {layer: past[1:2] for layer, past in kept.items()}
    torch.testing.assert_close(network.step(clip[1:2, :, 9:], alone)[0], later[1:2], **EXACT)


@torch.no_grad()
def test_the_inference_form_steps_alike(tmp_path: Any) -> None:
    network = _scrambled(NAMES[2])
    inference = network.to_inference()
    clip = _frames(8)
    assert find_pasts(inference).keys() == find_pasts(network).keys()
    torch.testing.assert_close(inference.step(clip, inference.start_state())[0], network(clip), **EXACT)
    save_model(tmp_path / "model.pt", network.float())
    loaded = load_model(tmp_path / "model.pt")
    assert (loaded.name, loaded.is_causal) == (network.name, True)
    torch.testing.assert_close(loaded(clip.float()), network(clip.float()))


def test_the_published_weights_fit_and_say_how_far_back_they_look() -> None:
    with torch.device("meta"):
        clip, causal = (create_model(name, num_classes=400) for name in ("s2tf_x3d_s", "s2tf_x3d_s?causal=true"))
    shapes = [{key: value.shape for key, value in each.state_dict().items()} for each in (clip, causal)]
    assert shapes[0] == shapes[1]
    assert (causal.receptive_field, causal.warm_up) == (69, 13)


def test_what_cannot_step_says_so() -> None:
    clip = create_model("x3d_xs?width=0.125", num_classes=2, frames=4, size=32)
    with pytest.raises(UsageError, match=r"x3d_xs.* sees whole clips and cannot step; build it with causal=true"):
        clip.start_state()
    with pytest.raises(
        UsageError, match=r"r3d_18 cannot look back only: it strides in time .* option of x3d_xs, x3d_s"
    ):
        create_model("s2tf_r3d_18?causal=true", num_classes=2)
    causal = create_model("x3d_tiny?width=0.25&causal=true", num_classes=2, frames=4, size=32)
    with pytest.raises(UsageError, match=r"takes clips of shape \[N, 3, 4 or more, H, W\], got \[1, 3, 3, 32, 32\]"):
        causal(torch.zeros(1, 3, 3, 32, 32))
    with pytest.raises(UsageError, match=r"steps by frames of shape \[N, 3, h, H, W\], got \[1, 3, 32, 32\]"):
        causal.step(torch.zeros(1, 3, 32, 32), causal.start_state())
    for state in (causal.start_state(2), causal.start_state(size=(64, 32)), {}):
        with pytest.raises(UsageError, match=r"the state is not one of x3d_tiny.*; begin with start_state"):
            causal.step(torch.zeros(1, 3, 1, 32, 32), state)
