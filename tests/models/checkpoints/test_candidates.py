"""Which network a checkpoint is of: found where none is named, proposed where another is."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.models import VideoNetwork, create_model
from s2tf_edge.models.checkpoints import import_checkpoint


def mmaction2_i3d(key: str) -> str:
    key = re.sub(r"^backbone\.stages\.(\d)\.res", lambda match: f"backbone.layer{int(match[1]) + 1}.", key)
    key = re.sub(r"branch\.(\d)\.", lambda match: f"conv{int(match[1]) + 1}.", key)
    key = key.replace("backbone.stem.0.", "backbone.conv1.").replace("backbone.head.fc", "cls_head.fc_cls")
    return key.replace("shortcut.", "downsample.").replace(".norm.", ".bn.")


def resnet3d(key: str) -> str:
    key = key.removeprefix("backbone.").replace("head.fc", "fc").replace("stem.0.", "1.")
    key = re.sub(r"^stages\.(\d)\.", lambda match: f"layer{int(match[1]) + 1}.", key)
    key = key.replace("shortcut.conv", "downsample.0").replace("shortcut.norm", "downsample.1")
    key = re.sub(r"branch\.(\d)\.(conv|norm)", lambda match: f"{match[2]}{int(match[1]) + 1}", key)
    return re.sub(r"^1\.(conv|norm)", r"\g<1>1", key).replace("norm", "bn")


X3D_PLACES = {
    "stem.spatial": "0.conv.conv_t",
    "stem.temporal.norm": "0.norm",
    "stem.temporal.conv": "0.conv.conv_xy",
    "head.conv5.conv": "5.pool.pre_conv",
    "head.conv5.norm": "5.pool.pre_norm",
    "head.lin5": "5.pool.post_conv",
    "head.fc": "5.proj",
}


def pytorchvideo_x3d(key: str) -> str:
    key = re.sub(r"^backbone\.stages\.(\d)\.res(\d+)", lambda m: f"blocks.{int(m[1]) + 1}.res_blocks.{m[2]}", key)
    key = re.sub(r"\.branch\.1\.squeeze\.fc(\d)", lambda m: f".branch2.norm_b.1.block.{2 * int(m[1]) - 2}", key)
    key = re.sub(r"\.branch\.(\d)\.(conv|norm)", lambda m: f".branch2.{m[2]}_{'abc'[int(m[1])]}", key)
    key = re.sub(r"\.shortcut\.(conv|norm)", r".branch1_\1", key)
    for ours, theirs in X3D_PLACES.items():
        key = key.replace(f"backbone.{ours}", f"blocks.{theirs}")
    return key


def saved(name: str, rename: Callable[[str], str], path: Path) -> tuple[VideoNetwork, Path]:
    torch.manual_seed(0)
    model = create_model(name, num_classes=3).eval()
    torch.save({rename(key): value for key, value in model.state_dict().items()}, path)
    return model, path


def agree(first: VideoNetwork, second: VideoNetwork, *, frames: int = 8, size: int = 32) -> bool:
    clip = torch.randn(1, 3, frames, size, size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        return torch.equal(first(clip), second(clip))


def test_the_only_network_with_such_weights_is_found(tmp_path: Path) -> None:
    model, path = saved("mm_i3d_r50", mmaction2_i3d, tmp_path / "c.pth")
    found, report = import_checkpoint(path)
    assert (found.name, report.format, found.spec) == ("mm_i3d_r50", "mmaction2", model.spec)
    assert agree(found, model)


@pytest.mark.parametrize("name", ["r3d_10", "r3d_10?shortcut=A"])
def test_options_that_change_weights_are_found_too(name: str, tmp_path: Path) -> None:
    model, path = saved(name, resnet3d, tmp_path / "c.pth")
    found, _ = import_checkpoint(path)
    assert found.name == name
    assert agree(found, model)


def test_networks_that_share_their_weights_are_to_be_told_apart_by_the_user(tmp_path: Path) -> None:
    _, path = saved("x3d_s", pytorchvideo_x3d, tmp_path / "c.pth")
    with pytest.raises(UsageError, match=r"weights that x3d_xs, x3d_s, x3d_m have alike; say .* with `model=NAME`"):
        import_checkpoint(path)
    assert import_checkpoint(path, model="x3d_m")[0].spec.size == 224


def test_a_width_of_one_s_own_is_to_be_named(tmp_path: Path) -> None:
    _, path = saved("mm_i3d_r50?width=0.125", mmaction2_i3d, tmp_path / "c.pth")
    with pytest.raises(InputFileError, match=r"fits no network of mm_i3d, slow as it was published; name the one"):
        import_checkpoint(path)


def test_weights_that_fit_but_mean_another_network_are_refused(tmp_path: Path) -> None:
    """I3D has the same weights everywhere, but MMAction2's leaves three frames of four out in its stem."""
    options = "?width=0.0625&frames=8&size=32"
    model, path = saved(f"mm_i3d_r50{options}", mmaction2_i3d, tmp_path / "c.pth")
    with pytest.raises(InputFileError, match=r"have a place, but i3d computes .*: mm_i3d_r50\?width=0\.0625"):
        import_checkpoint(path, model=f"i3d_r50{options}")
    assert agree(import_checkpoint(path, model=f"mm_i3d_r50{options}")[0], model)


def test_slow_of_mmaction2_is_normalized_as_it_was_trained(tmp_path: Path) -> None:
    _, path = saved("slow_r50?width=0.0625&size=32", mmaction2_i3d, tmp_path / "c.pth")
    found, _ = import_checkpoint(path, model="slow_r50?width=0.0625&size=32")
    assert (found.spec.mean, found.spec.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_a_network_that_is_named_wrongly_is_proposed(published: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(published, tmp_path / "c.pth")
    options = "width=0.0625&frames=4&size=32"
    wanted = re.escape(f"name the network that it was trained as, mc3_18?{options}")
    for named in ("r3d_18", "tv_r3d_18", "r2plus1d_18", "i3d_r50"):
        with pytest.raises(InputFileError, match=wanted):
            import_checkpoint(tmp_path / "c.pth", model=f"{named}?{options}")


def test_a_wrong_name_is_said_before_the_file_is_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no network is named 'r4d_18'"):
        import_checkpoint(tmp_path / "not there.pth", model="r4d_18")
