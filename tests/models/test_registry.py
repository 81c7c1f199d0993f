import pytest
import torch

from s2tf_edge.errors import UsageError
from s2tf_edge.models import create_model, default_spec, list_models
from s2tf_edge.models.blocks import BackboneOptions
from s2tf_edge.models.registry import register
from s2tf_edge.spec import ClipSpec

TINY = "r3d_10?width=0.0625"


def test_lists_each_backbone_in_three_forms() -> None:
    names = list_models()
    assert len(names) == len(set(names))
    plain = [name for name in names if not name.startswith(("ssf_", "s2tf_"))]
    assert {"r3d_10", "r3d_200", "i3d_r50", "nl_i3d_r101", "slow_r50", "p3d_199", "x3d_l", "s3d", "r2plus1d_18"} <= set(
        plain
    )
    assert set(names) == {form + name for form in ("", "ssf_", "s2tf_") for name in plain}
    assert list_models("s2tf_nl_*") == ["s2tf_nl_i3d_r50", "s2tf_nl_i3d_r101"]


@pytest.mark.parametrize("name", list_models("s2tf_*"))
def test_every_network_learns_at_an_odd_size(name: str) -> None:
    frames, size = 16 if "p3d" in name else 13, 182
    model = create_model(name, num_classes=3, frames=frames, size=size, width=1 / 16)
    logits, saliency = model(torch.randn(2, 3, frames, size, size), return_saliency=True)
    assert logits.shape == (2, 3)
    torch.autograd.backward(logits.square().sum() + saliency.mask.square().sum())
    assert [key for key, value in model.named_parameters() if value.grad is None] == []


@pytest.mark.parametrize("form", ["", "ssf_", "s2tf_"])
def test_makes_logits_and_saliency(form: str) -> None:
    model = create_model(form + TINY, num_classes=7, frames=4, size=24)
    clip = torch.randn(2, 3, 4, 24, 24)
    logits, saliency = model(clip, return_saliency=True)
    assert logits.shape == (2, 7)
    assert (saliency is None) == (not form)
    assert model.eval()(clip).shape == (2, 7)
    if saliency is not None:
        assert len(saliency.pooled) == 2
        assert len(saliency.edges) == (2 if form == "s2tf_" else 0)


def test_the_mask_weighs_the_last_feature_map() -> None:
    model = create_model("s2tf_" + TINY, num_classes=3, frames=16, size=48).eval()
    with torch.no_grad():
        features, saliency = model.forward_features(torch.randn(2, 3, 16, 48, 48))
        assert saliency is not None
        expected = model.backbone.head.get_submodule("fc")((saliency.mask * features).mean((2, 3, 4)))
        torch.testing.assert_close(model.forward_head(features, saliency), expected)


def test_the_name_holds_the_options_that_are_not_the_default() -> None:
    model = create_model("s2tf_r3d_10?shortcut=A&width=0.25&frames=8", num_classes=2, size=32, dropout=0.5)
    assert model.name == "s2tf_r3d_10?width=0.25&shortcut=A"
    assert (model.spec.frames, model.spec.size, model.spec.resize_short_side) == (8, 32, 36)
    again = create_model(model.name, num_classes=2, frames=8, size=32)
    assert again.name == model.name
    assert {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in model.state_dict().items()}


def test_arguments_go_before_the_options_in_the_name() -> None:
    model = create_model("r3d_10?width=0.25&size=64", num_classes=2, size=32, width=0.125)
    assert (model.name, model.spec.size) == ("r3d_10?width=0.125", 32)


def test_labels_default_to_numbers() -> None:
    assert create_model(TINY, num_classes=2, size=16).labels == ("class 0", "class 1")
    assert create_model(TINY, num_classes=2, size=16, labels=["run", "walk"]).labels == ("run", "walk")


def test_recipes_are_the_published_ones() -> None:
    spec = default_spec("s2tf_nl_i3d_r50")
    assert (spec.frames, spec.size, spec.stride, spec.resize_short_side) == (8, 224, 8, 256)
    assert spec.mean == (0.45, 0.45, 0.45)
    assert default_spec("p3d_199").mean == (0.485, 0.456, 0.406)
    x3d = [default_spec(f"x3d_{variant}") for variant in ("xs", "s", "m", "l")]
    assert [(spec.frames, spec.stride, spec.size, spec.resize_short_side) for spec in x3d] == [
        (4, 12, 160, 182),
        (13, 6, 160, 182),
        (16, 5, 224, 256),
        (16, 5, 312, 356),
    ]
    small = default_spec("r3d_18", size=64)
    assert (small.frames, small.size, small.stride, small.resize_short_side) == (16, 64, 1, 73)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet", "no network is named 'resnet'; there are .*r3d_18"),
        ("s2tf_ssf_r3d_18", "no network is named 's2tf_ssf_r3d_18'"),
        (
            "r3d_18?color=red",
            "r3d_18 has no option color; it has width, dropout, motion, shortcut, conv1_t_size, frames, size",
        ),
        ("r3d_18?width", "options must read key=value"),
        ("r3d_18?width=wide", "option width must be of type float, got 'wide'"),
        ("r3d_18?width=nan", "width must lie in"),
        ("r3d_18?size=many", "option size must be of type int, got 'many'"),
        ("r3d_18?frames=0", "frames must be a whole number from 1"),
        ("r3d_18?frames=-3", "frames must be a whole number from 1"),
    ],
)
def test_explains_names_it_does_not_know(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        create_model(name, num_classes=2)


def test_refuses_wrong_numbers_of_classes() -> None:
    with pytest.raises(UsageError, match=r"num_classes must lie in \[1, 100000\], got 0"):
        create_model(TINY, num_classes=0)
    with pytest.raises(UsageError, match="labels must name 3 classes, got 2"):
        create_model(TINY, num_classes=3, labels=["run", "walk"])


@pytest.mark.parametrize("shape", [(1, 3, 5, 24, 24), (3, 4, 24, 24), (1, 1, 4, 24, 24)])
def test_refuses_clips_of_another_shape(shape: tuple[int, ...]) -> None:
    model = create_model("s2tf_" + TINY, num_classes=2, frames=4, size=24)
    with pytest.raises(UsageError, match=r"takes clips of shape \[N, 3, 4, H, W\], got"):
        model(torch.zeros(shape))


def test_height_and_width_are_free() -> None:
    model = create_model("s2tf_" + TINY, num_classes=2, frames=4, size=24).eval()
    assert model(torch.zeros(1, 3, 4, 37, 50)).shape == (1, 2)


def test_a_name_is_taken_once() -> None:
    with pytest.raises(UsageError, match="a network named r3d_18 is registered already"):
        register("r3d", recipes={"18": ClipSpec(frames=1, size=1)}, options=BackboneOptions)(
            lambda variant, *, options, frames, size, num_classes: create_model(TINY, num_classes=1).backbone
        )


def test_a_network_that_sees_motion_sees_no_still_background() -> None:
    model = create_model("s2tf_r3d_10?width=0.0625&motion=true", num_classes=3, frames=8, size=32).eval()
    assert model.name == "s2tf_r3d_10?width=0.0625&motion=true"
    clip, background = torch.randn(2, 3, 8, 32, 32), torch.randn(2, 3, 1, 32, 32)
    for network in (model, model.to_inference()):
        torch.testing.assert_close(network(clip + background), network(clip), rtol=1e-4, atol=1e-5)
    plain = create_model("s2tf_r3d_10?width=0.0625", num_classes=3, frames=8, size=32).eval()
    plain.load_state_dict(model.state_dict())
    assert not torch.allclose(plain(clip + background), plain(clip), rtol=1e-2)


def test_a_switch_is_true_or_false() -> None:
    assert create_model("r3d_10?width=0.0625&motion=false", num_classes=2).name == "r3d_10?width=0.0625"
    with pytest.raises(UsageError, match="option motion must be true or false, got 'maybe'"):
        create_model("r3d_10?width=0.0625&motion=maybe", num_classes=2)
