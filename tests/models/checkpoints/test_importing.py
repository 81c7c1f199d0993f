from pathlib import Path

import pytest
import torch
from torch import Tensor

from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.models import VideoNetwork, create_model
from s2tf_edge.models.checkpoints import import_checkpoint
from s2tf_edge.models.checkpoints.formats import detect_format, rename

SMALL_I3D = "nl_i3d_r50?width=0.03125&size=32"
SMALL_R3D = "r3d_18?width=0.03125&size=32"

R3D_KEYS = {
    "stem.0.conv": "conv1",
    "stem.0.norm": "bn1",
    "branch.0.conv": "conv1",
    "branch.0.norm": "bn1",
    "branch.1.conv": "conv2",
    "branch.1.norm": "bn2",
    "shortcut.conv": "downsample.0",
    "shortcut.norm": "downsample.1",
}


def fresh(name: str, *, classes: int = 4) -> VideoNetwork:
    torch.manual_seed(3)
    model = create_model(name, num_classes=classes).eval()
    for value in model.state_dict().values():
        if value.is_floating_point():
            value.add_(torch.rand_like(value), alpha=0.1)
    return model


def as_resnet3d(model: VideoNetwork) -> dict[str, Tensor]:
    """The network's weights named as 3D-ResNets-PyTorch names them, written apart from the rules under test."""
    state = {}
    for key, value in model.state_dict().items():
        path = key.removeprefix("backbone.").replace("head.fc", "fc")
        parts = path.split(".")
        if parts[0] == "stages":
            path = f"layer{int(parts[1]) + 1}.{'.'.join(parts[2:])}"
        for ours, theirs in R3D_KEYS.items():
            path = path.replace(f"{ours}.", f"{theirs}.")
        state[f"module.{path}"] = value
    return state


def as_slowfast(model: VideoNetwork, *, head: str = "head.projection") -> dict[str, Tensor]:
    """The same for SlowFast's I3D."""
    state = {}
    for key, value in model.state_dict().items():
        parts = key.removeprefix("backbone.").split(".")
        kind, leaf = parts[-2], parts[-1]
        bn = "_bn" if kind == "norm" else ""
        if parts[0] == "stem":
            name = f"s1.pathway0_stem.{'bn' if bn else 'conv'}"
        elif parts[0] == "head":
            name = head
        elif "shortcut" in parts:
            name = f"s{int(parts[1]) + 2}.pathway0_{parts[2]}.branch1{bn}"
        elif "branch" in parts:
            name = f"s{int(parts[1]) + 2}.pathway0_{parts[2]}.branch2.{'abc'[int(parts[4])]}{bn}"
        else:
            last = {"conv": "conv_out", "norm": "bn"}.get(kind, f"conv_{kind}")
            name = f"s{int(parts[1]) + 2}.pathway0_{parts[2]}.{last}"
        state[f"{name}.{leaf}"] = value
    return state


def agree(first: VideoNetwork, second: VideoNetwork) -> bool:
    clip = torch.randn(first.spec.input_shape(), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        return torch.equal(first.eval()(clip), second.eval()(clip))


def test_reads_3d_resnets_pytorch(tmp_path: Path) -> None:
    model = fresh(SMALL_R3D)
    torch.save({"epoch": 3, "arch": "resnet-18", "state_dict": as_resnet3d(model), "optimizer": {}}, tmp_path / "r.pth")
    found, report = import_checkpoint(tmp_path / "r.pth", model=SMALL_R3D, labels=["a", "b", "c", "d"])
    assert (report.format, report.loaded, report.fresh) == ("resnet3d", len(model.state_dict()), ())
    assert found.labels == ("a", "b", "c", "d")
    assert not found.training
    assert agree(found, model)


def test_reads_weights_from_before_norms_counted_batches(tmp_path: Path) -> None:
    model = fresh(SMALL_R3D)
    state = {key: value for key, value in as_resnet3d(model).items() if not key.endswith("num_batches_tracked")}
    torch.save({"state_dict": state}, tmp_path / "r.pth")
    assert agree(import_checkpoint(tmp_path / "r.pth", model=SMALL_R3D)[0], model)


@pytest.mark.parametrize(("head", "format"), [("head.projection", "slowfast"), ("fc", "s2tfnet")])
def test_reads_slowfast_and_the_authors_release(head: str, format: str, tmp_path: Path) -> None:
    model = fresh(SMALL_I3D)
    torch.save({"epoch": 3, "model_state": as_slowfast(model, head=head), "cfg": "MODEL: {}"}, tmp_path / "i.pyth")
    found, report = import_checkpoint(tmp_path / "i.pyth", model=SMALL_I3D)
    assert report.format == format
    assert agree(found, model)


def test_saliency_modules_start_fresh_over_a_plain_backbone(tmp_path: Path) -> None:
    model = fresh(SMALL_I3D)
    torch.save({"model_state": as_slowfast(model)}, tmp_path / "i.pyth")
    found, report = import_checkpoint(tmp_path / "i.pyth", model=f"s2tf_{SMALL_I3D}")
    assert set(report.fresh) == {key for key in found.state_dict() if key.startswith("saliency.")}
    clip = torch.randn(found.spec.input_shape())
    assert torch.equal(found.backbone.forward_stages(clip)[3], model.backbone.forward_stages(clip)[3])


def test_a_new_head_replaces_the_classifier(tmp_path: Path) -> None:
    model = fresh(SMALL_R3D)
    torch.save({"state_dict": as_resnet3d(model)}, tmp_path / "r.pth")
    found, report = import_checkpoint(tmp_path / "r.pth", model=SMALL_R3D, new_head=9)
    assert found.num_classes == 9
    assert report.fresh == ("backbone.head.fc.weight", "backbone.head.fc.bias")


def test_a_headless_checkpoint_asks_for_a_new_head(tmp_path: Path) -> None:
    state = {key: value for key, value in as_resnet3d(fresh(SMALL_R3D)).items() if ".fc." not in key}
    torch.save({"state_dict": state}, tmp_path / "r.pth")
    with pytest.raises(InputFileError, match=r"has no classifier; .*with `new_head=N`"):
        import_checkpoint(tmp_path / "r.pth", model=SMALL_R3D)
    assert import_checkpoint(tmp_path / "r.pth", model=SMALL_R3D, new_head=2)[0].num_classes == 2


@pytest.mark.parametrize(
    ("saved", "named", "message"),
    [
        (SMALL_R3D.replace("18", "10"), SMALL_R3D, "missing: backbone.stages.0.1.branch.0.conv.weight"),
        pytest.param(
            SMALL_R3D,
            SMALL_R3D.replace("18", "10"),
            "unexpected: backbone.stages.0.1.branch.0.conv.weight",
            marks=pytest.mark.slow,
        ),
        (SMALL_R3D, "r3d_18?width=0.0625", r"of another shape: .*\[2, 3, 7, 7, 7\] where the network has \[4, 3, 7"),
        (SMALL_R3D + "&shortcut=A", SMALL_R3D, "add the option shortcut=A"),
        pytest.param(
            SMALL_R3D,
            SMALL_R3D.replace("18", "34"),
            "and [0-9]+ more; its stages have 2, 2, 2, 2 blocks where the",
            marks=pytest.mark.slow,
        ),
        (SMALL_R3D, SMALL_R3D.replace("18", "50"), "2, 2, 2, 2 blocks where the network has 3, 4, 6, 3: name the"),
        pytest.param(
            "r3d_50?width=0.0625",
            "r3d_34?width=0.0625",
            "; name the network that it was trained as",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_reports_what_does_not_fit(saved: str, named: str, message: str, tmp_path: Path) -> None:
    torch.save({"state_dict": as_resnet3d(fresh(saved))}, tmp_path / "r.pth")
    with pytest.raises(InputFileError, match=message) as caught:
        import_checkpoint(tmp_path / "r.pth", model=named)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputFileError, match=message):
        import_checkpoint(tmp_path / "r.pth", model=named, new_head=4)


def test_tells_i3d_with_and_without_non_local_blocks_apart(tmp_path: Path) -> None:
    torch.save({"model_state": as_slowfast(fresh(SMALL_I3D))}, tmp_path / "i.pyth")
    with pytest.raises(InputFileError, match="nl_i3d has non-local blocks and i3d has none"):
        import_checkpoint(tmp_path / "i.pyth", model=SMALL_I3D.removeprefix("nl_"))


def test_saliency_of_the_authors_release_has_a_place_for_every_weight() -> None:
    names = ["conv1", "conv_S_1", "conv_T_1", "conv2", "conv3", "conv_S_2", "conv_T_2", "conv4", "conv5"]
    keys = [f"sidelayer{k}.side_layer_3x3x3_{name}.weight" for k in (1, 2, 3) for name in names]
    keys += [f"TSPF_layer_{k}.x_edge_layer{j}.weight" for k in (1, 2) for j in range(1, 8)]
    keys += [f"fusion_temp_mask.fusion_1x1x1_{k}.weight" for k in (1, 2)]
    keys += [f"bn_one.{name}" for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")]
    state = dict.fromkeys(keys, torch.zeros(1))
    assert detect_format(state) == "s2tfnet"
    model = create_model(f"s2tf_{SMALL_I3D}", num_classes=2)
    ours = {key for key in model.state_dict() if key.startswith("saliency.")}
    assert set(rename(state, format="s2tfnet")) == ours


def test_explains_a_caffe2_pickle(tmp_path: Path) -> None:
    import pickle

    import numpy as np

    (tmp_path / "c2.pkl").write_bytes(pickle.dumps({"blobs": {"conv1_w": np.zeros(3)}}, protocol=2))
    with pytest.raises(InputFileError, match="is a Caffe2 pickle"):
        import_checkpoint(tmp_path / "c2.pkl", model=SMALL_I3D)


def test_explains_other_files(tmp_path: Path) -> None:
    torch.save({"model_state": {"encoder.conv.weight": torch.zeros(1)}}, tmp_path / "x3d.pyth")
    with pytest.raises(
        InputFileError,
        match=r"has keys of no known format .*; known are s2tfnet, slowfast, pytorchvideo, mmaction2, torchvision, p3d",
    ):
        import_checkpoint(tmp_path / "x3d.pyth", model=SMALL_I3D)
    torch.save([1, 2], tmp_path / "list.pyth")
    with pytest.raises(InputFileError, match="holds a list and no weights by name; save a network's"):
        import_checkpoint(tmp_path / "list.pyth", model=SMALL_I3D)
    with pytest.raises(UsageError, match=r"format must be one of auto, s2tfnet, slowfast, .*, resnet3d, got 'caffe'"):
        import_checkpoint(tmp_path / "x3d.pyth", model=SMALL_I3D, format="caffe")
