"""The backbone of the documentation: it is run as it stands there."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from s2tf_edge.errors import UsageError
from s2tf_edge.models import VideoNetwork, create_model, list_models, load_model, registry, save_model
from s2tf_edge.models.blocks import StageShape

PAGE = Path(__file__).parents[2] / "docs" / "backbones.md"


@pytest.fixture
def documented(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the page's example defines, registered until the test ends."""
    monkeypatch.setattr(registry, "_ARCHITECTURES", dict(registry._ARCHITECTURES))
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(example, str(PAGE), "exec"), names)
    return names


def test_the_example_has_the_three_forms(documented: dict[str, Any]) -> None:
    assert list_models("*tiny*") == ["tiny_a", "ssf_tiny_a", "s2tf_tiny_a"]
    assert (documented["model"].name, documented["model"].spec.frames) == ("s2tf_tiny_a", 8)


def test_the_example_learns_and_has_an_inference_form(documented: dict[str, Any], tmp_path: Path) -> None:
    model = documented["model"]
    assert isinstance(model, VideoNetwork)
    logits, saliency = model(torch.randn(2, 3, 8, 64, 64), return_saliency=True)
    assert logits.shape == (2, 5)
    assert saliency is not None
    torch.autograd.backward(logits.square().sum() + saliency.mask.sum())
    assert [name for name, value in model.named_parameters() if value.grad is None] == []
    save_model(tmp_path / "model.pt", model)
    loaded, clip = load_model(tmp_path / "model.pt"), torch.randn(1, 3, 8, 64, 64)
    torch.testing.assert_close(loaded.to_inference()(clip), loaded(clip), rtol=1e-4, atol=1e-6)


def test_shapes_that_are_not_so_are_told_apart(documented: dict[str, Any]) -> None:
    model = create_model("ssf_tiny_a", num_classes=2, frames=8)
    first, *rest = model.backbone.shapes
    model.backbone.shapes = (StageShape(first.channels, 5, first.size), *rest)  # type: ignore[assignment]
    with pytest.raises(
        UsageError, match=r"declares stages of \(channels, frames\) \[\(16, 5\), .* gives \[\(16, 4\), "
    ):
        model(torch.zeros(1, 3, 8, 64, 64))
