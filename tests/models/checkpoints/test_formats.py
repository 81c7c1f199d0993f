"""Round trips through the published names, which are written here apart from the rules under test."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from s2tf_edge.errors import InputFileError
from s2tf_edge.models import VideoNetwork, create_model
from s2tf_edge.models.checkpoints import import_checkpoint
from s2tf_edge.models.checkpoints.formats import detect_format

X3D = "x3d_s?width=0.125&frames=4&size=32"
I3D = "i3d_r50?width=0.03125&size=32"
SLOW = "slow_r50?width=0.03125&size=32"
P3D = "p3d_63?width=0.03125&size=32"
R3D = "r3d_18?width=0.03125&size=32"
MM_I3D = "mm_i3d_r50?width=0.03125&frames=8&size=32"
MM_R2PLUS1D = "mm_r2plus1d_34?width=0.03125&frames=4&size=32"
IR_CSN = "ir_csn_50?width=0.03125&frames=4&size=32"
IP_CSN = "ip_csn_152?width=0.015625&frames=4&size=32"
TV_R3D = "tv_r3d_18?width=0.03125&frames=4&size=32"
R2PLUS1D = "r2plus1d_18?width=0.03125&frames=4&size=32"
S3D = "s3d?width=0.0625&frames=8&size=32"
State = dict[str, Tensor]


def fresh(name: str) -> VideoNetwork:
    torch.manual_seed(3)
    model = create_model(name, num_classes=4).eval()
    for value in model.state_dict().values():
        if value.is_floating_point():
            value.add_(torch.rand_like(value), alpha=0.1)
    return model


def parts_of(key: str) -> tuple[list[str], str, str]:
    """Path, "conv" or "norm", and the name of the tensor."""
    *path, leaf = key.removeprefix("backbone.").split(".")
    return path, path[-1], leaf


def slowfast_x3d(key: str) -> str:
    path, kind, leaf = parts_of(key)
    bn = "_bn" if kind == "norm" else ""
    if path[0] == "stem":
        return f"s1.pathway0_stem.{'conv_xy' if path[1] == 'spatial' else 'bn' if bn else 'conv'}.{leaf}"
    if path[0] == "head":
        return f"head.{ {'conv5': f'conv_5{bn}', 'lin5': 'lin_5', 'fc': 'projection'}[path[1]] }.{leaf}"
    block = f"s{int(path[1]) + 2}.pathway0_{path[2]}"
    if path[3] == "shortcut":
        return f"{block}.branch1{bn}.{leaf}"
    if "squeeze" in path:
        return f"{block}.branch2.se.{kind}.{leaf}"
    return f"{block}.branch2.{'abc'[int(path[4])]}{bn}.{leaf}"


def pytorchvideo(key: str, *, blocks: tuple[int, ...] = (0, 1, 2, 3, 4, 5)) -> str:
    path, kind, leaf = parts_of(key)
    if path[0] == "stem":
        inside = {"spatial": "conv.conv_t", "temporal": "norm" if kind == "norm" else "conv.conv_xy"}
        return f"blocks.{blocks[0]}.{inside.get(path[1], kind)}.{leaf}"
    if path[0] == "head":
        conv5 = f"pool.pre_{kind}"
        return f"blocks.{blocks[5]}.{ {'conv5': conv5, 'lin5': 'pool.post_conv', 'fc': 'proj'}[path[1]] }.{leaf}"
    block = f"blocks.{blocks[int(path[1]) + 1]}.res_blocks.{path[2].removeprefix('res')}"
    if path[3] == "shortcut":
        return f"{block}.branch1_{kind}.{leaf}"
    if "squeeze" in path:
        return f"{block}.branch2.norm_b.1.block.{ {'fc1': 0, 'fc2': 2}[kind] }.{leaf}"
    return f"{block}.branch2.{kind}_{'abc'[int(path[4])]}.{leaf}"


def as_pytorchvideo_x3d(model: VideoNetwork) -> State:
    """Its norm of ``b`` stands in a pair with the squeeze, and its first shortcut has none."""
    bare = "stages.0.res0.shortcut.norm"
    state = {pytorchvideo(key): value for key, value in model.state_dict().items() if bare not in key}
    return {key.replace("norm_b.", "norm_b.0.") if "block" not in key.split("norm_b")[-1] else key: value
            for key, value in state.items()}  # fmt: skip


def p3d(key: str) -> str:
    path, kind, leaf = parts_of(key)
    bn = "bn" if kind == "norm" else "conv"
    if path[0] == "stem":
        return f"{'bn1' if kind == 'norm' else 'conv1_custom'}.{leaf}"
    if path[0] == "head":
        return f"fc.{leaf}"
    block = f"layer{int(path[1]) + 1}.{path[2]}"
    if path[3] == "shortcut":
        return f"{block}.downsample.{int(kind == 'norm')}.{leaf}"
    middle = {"spatial": "2", "temporal": "3"}.get(path[5], "_normal")
    return f"{block}.{bn}{ {'0': '1', '1': middle, '2': '4'}[path[4]] }.{leaf}"


def as_p3d(model: VideoNetwork) -> State:
    """Its last stage is 2D."""
    state = {p3d(key): value for key, value in model.state_dict().items()}
    return {key: value.squeeze(2) if key.startswith("layer4") and value.ndim == 5 else value
            for key, value in state.items()}  # fmt: skip


def mmaction2(key: str) -> str:
    path, kind, leaf = parts_of(key)
    bn = "bn" if kind == "norm" else "conv"
    if path[0] == "head":
        name = {"conv5": f"backbone.conv5.{bn}", "lin5": "cls_head.fc1", "fc": "cls_head.fc_cls"}[path[1]]
        return f"{name}.{leaf}"
    side = f"conv.{bn}_s" if "spatial" in path else bn if bn == "bn" or "temporal" not in path else "conv.conv_t"
    if path[0] == "stem":
        return f"backbone.conv1.{side}.{leaf}"
    block = f"backbone.layer{int(path[1]) + 1}.{path[2].removeprefix('res')}"
    if path[3] == "shortcut":
        return f"{block}.downsample.{side}.{leaf}"
    if "squeeze" in path:
        return f"{block}.se_module.{kind}.{leaf}"
    inner = f".{path[5]}" if len(path) > 5 and path[5].isdigit() else ""
    return f"{block}.conv{int(path[4]) + 1}{inner}.{side}.{leaf}"


def as_mmaction2_x3d(model: VideoNetwork) -> State:
    """Its stem's convolutions have names of their own, and its hidden layer is linear."""
    stem = {"stem.spatial.weight": "conv1_s.conv.weight", "stem.temporal.conv.weight": "conv1_t.conv.weight"}
    names = {f"backbone.{ours}": f"backbone.{theirs}" for ours, theirs in stem.items()}
    state = {}
    for key, value in model.state_dict().items():
        name = names.get(key) or mmaction2(key).replace("backbone.conv1.bn", "backbone.conv1_t.bn")
        name = name.replace("cls_head.fc_cls", "cls_head.fc2")
        state[name] = value.flatten(1) if name == "cls_head.fc1.weight" else value
    return state


def torchvision(key: str) -> str:
    path, kind, leaf = parts_of(key)
    if path[0] == "head":
        return f"fc.{leaf}"
    bn = str(int(kind == "norm"))
    inside = {"spatial": f".0.{bn}", "temporal": ".1" if kind == "norm" else ".0.3"}
    if path[0] == "stem":
        place = {"spatial": bn, "temporal": str(3 + int(kind == "norm"))}.get(path[2], bn)
        return f"stem.{place}.{leaf}"
    block = f"layer{int(path[1]) + 1}.{path[2]}"
    if path[3] == "shortcut":
        return f"{block}.downsample.{bn}.{leaf}"
    return f"{block}.conv{int(path[4]) + 1}{inside.get(path[5], f'.{bn}')}.{leaf}"


S3D_FEATURES = {(0, 0): 2, (0, 1): 3, (1, 1): 5, (1, 2): 6, (3, 1): 14, (3, 2): 15} | {
    (2, n): 7 + n for n in range(1, 6)
}


def as_torchvision_s3d(model: VideoNetwork) -> State:
    """Its classifier is a convolution."""
    state = {}
    for key, value in model.state_dict().items():
        path, kind, leaf = parts_of(key)
        bn = int(kind == "norm")
        side = {"spatial": "0.", "temporal": "1."}
        if path[0] == "head":
            state[f"classifier.1.{leaf}"] = value[:, :, None, None, None] if leaf == "weight" else value
        elif path[0] == "stem":
            state[f"features.0.{side[path[2]]}{bn}.{leaf}"] = value
        else:
            branch = {"single": "branch0.", "second": "branch1.", "third": "branch2.", "pooled": "branch3."}
            inside = "".join(branch.get(part) or side.get(part) or f"{part}." for part in path[3:-1] if part != kind)
            state[f"features.{S3D_FEATURES[int(path[1]), int(path[2])]}.{inside}{bn}.{leaf}"] = value
    return state


def by_key(name: Callable[[str], str]) -> Callable[[VideoNetwork], State]:
    return lambda model: {name(key): value for key, value in model.state_dict().items()}


CASES = {
    "slowfast x3d": ("slowfast", X3D, by_key(slowfast_x3d)),
    "pytorchvideo x3d": ("pytorchvideo", X3D, as_pytorchvideo_x3d),
    "pytorchvideo slow": ("pytorchvideo", SLOW, by_key(pytorchvideo)),
    # The pooling behind its first stage is a block without weights.
    "pytorchvideo i3d": ("pytorchvideo", I3D, by_key(lambda key: pytorchvideo(key, blocks=(0, 1, 3, 4, 5, 6)))),
    "p3d": ("p3d", P3D, as_p3d),
    "mmaction2 i3d": ("mmaction2", MM_I3D, by_key(mmaction2)),
    "mmaction2 slowonly": ("mmaction2", SLOW, by_key(mmaction2)),
    "mmaction2 x3d": ("mmaction2", X3D, as_mmaction2_x3d),
    "mmaction2 r(2+1)d": ("mmaction2", MM_R2PLUS1D, by_key(mmaction2)),
    "mmaction2 ir-csn": ("mmaction2", IR_CSN, by_key(mmaction2)),
    "mmaction2 ip-csn": ("mmaction2", IP_CSN, by_key(mmaction2)),
    "torchvision r3d": ("torchvision", TV_R3D, by_key(torchvision)),
    "torchvision r(2+1)d": ("torchvision", R2PLUS1D, by_key(torchvision)),
    "torchvision s3d": ("torchvision", S3D, as_torchvision_s3d),
}


def neutral_first_shortcut(model: VideoNetwork) -> None:
    """Makes the norm of X3D's first shortcut one that changes nothing."""
    values = {"weight": (1 + 1e-5) ** 0.5, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}
    for name, value in values.items():
        model.state_dict()[f"backbone.stages.0.res0.shortcut.norm.{name}"].fill_(value)


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("case", CASES)
def test_reads_what_was_published(case: str, prefix: str, tmp_path: Path) -> None:
    format, name, published = CASES[case]
    model = fresh(name)
    if case == "pytorchvideo x3d":
        neutral_first_shortcut(model)
    state = published(model)
    assert detect_format(state) == format
    torch.save({"state_dict": {prefix + key: value for key, value in state.items()}}, tmp_path / "c.pth")
    found, report = import_checkpoint(tmp_path / "c.pth", model=name)
    assert (report.format, report.fresh, report.loaded) == (format, (), len(state))
    clip = torch.randn(model.spec.input_shape())
    with torch.inference_mode():
        torch.testing.assert_close(found(clip), model(clip))
        torch.testing.assert_close(found.to_inference()(clip), model(clip), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_saliency_starts_fresh_over_each(case: str, tmp_path: Path) -> None:
    format, name, published = CASES[case]
    torch.save(published(fresh(name)), tmp_path / "c.pth")
    found, report = import_checkpoint(tmp_path / "c.pth", model=f"s2tf_{name}", new_head=7)
    assert (found.num_classes, report.format) == (7, format)
    kinds = {"saliency" if key.startswith("saliency.") else key for key in report.fresh}
    assert kinds == {"saliency", "backbone.head.fc.weight", "backbone.head.fc.bias"}


def test_only_x3d_may_leave_a_norm_out(tmp_path: Path) -> None:
    state = CASES["pytorchvideo slow"][2](fresh(SLOW))
    kept = {key: value for key, value in state.items() if "blocks.1.res_blocks.0.branch1_norm" not in key}
    torch.save(kept, tmp_path / "c.pth")
    with pytest.raises(
        InputFileError, match=r"4 missing: backbone\.stages\.0\.res0\.shortcut\.norm\.weight.*; name the"
    ):
        import_checkpoint(tmp_path / "c.pth", model=SLOW)


def test_a_resnet_of_pictures_is_of_no_known_format() -> None:
    keys = {"conv1.weight": torch.zeros(2, 3, 7, 7), "layer1.0.conv1.weight": torch.zeros(2, 2, 3, 3)}
    assert detect_format(keys) is None
    assert detect_format({key: value.unsqueeze(2) for key, value in keys.items()}) == "resnet3d"


@pytest.mark.parametrize("case", CASES)
def test_half_a_file_is_refused(case: str, tmp_path: Path) -> None:
    _, name, published = CASES[case]
    state = published(fresh(name))
    torch.save(dict(list(state.items())[: len(state) // 2]), tmp_path / "c.pth")
    with pytest.raises(InputFileError, match="has no classifier"):
        import_checkpoint(tmp_path / "c.pth", model=name)
    with pytest.raises(InputFileError, match=r"missing: .*; its stages have [0-9, ]+ blocks where the network has "):
        import_checkpoint(tmp_path / "c.pth", model=name, new_head=4)


OTHERS = [
    (case, named)
    for index, case in enumerate(CASES)
    for named in ((X3D, I3D, SLOW, P3D, R3D) if index < 5 else (R3D,))
    if named != CASES[case][1]
]


@pytest.mark.parametrize(("case", "named"), OTHERS)
def test_another_family_is_refused(case: str, named: str, tmp_path: Path) -> None:
    format, name, published = CASES[case]
    torch.save(published(fresh(name)), tmp_path / "c.pth")
    with pytest.raises(InputFileError, match=rf"\({format}\) does not fit {named.split('?')[0]}.*; .*name the"):
        import_checkpoint(tmp_path / "c.pth", model=named)
