"""Agreement with the published implementations: what they computed with weights that are functions of their keys."""

import importlib.util
import json
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from s2tf_edge.models import VideoNetwork, list_models, load_model, save_model
from s2tf_edge.models.checkpoints import import_checkpoint
from s2tf_edge.models.checkpoints.formats import rename
from s2tf_edge.models.saliency import Saliency
from s2tf_edge.training.losses import S2TFLoss

PARITY = Path(__file__).parents[2] / "../shared/parity"
TOLERANCE = 1e-5


def case_paths() -> list[Path]:
    paths = sorted((PARITY / "cases").glob("*.json"))
    return [path for path in paths if json.loads(path.read_text())["network"]["backbone"] in list_models()]


@cache
def seeded() -> ModuleType:
    spec = importlib.util.spec_from_file_location("seeded", PARITY / "seeded.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def name_of(case: dict[str, Any]) -> str:
    network = case["network"]
    form = "s2tf_" if network.get("tsfp") else "ssf_" if network.get("ssf") else ""
    _, _, frames, size, _ = case["clip"]["shape"]
    options = {"frames": frames, "size": size} | {key: network[key] for key in ("shortcut",) if key in network}
    return f"{form}{network['backbone']}?" + "&".join(f"{key}={value}" for key, value in options.items())


def imported(case: dict[str, Any], folder: Path) -> tuple[VideoNetwork, str]:
    """The network as a user gets it: from the published file to a ``model.pt`` and back; and the format it was in."""
    state = seeded().checkpoint(case)
    torch.save({case["container"]: state} if case["container"] else state, folder / "published.pth")
    network, report = import_checkpoint(folder / "published.pth", model=name_of(case))
    save_model(folder / "model.pt", network)
    return load_model(folder / "model.pt"), report.format


def close(actual: Tensor, expected: dict[str, Any]) -> bool:
    first = torch.tensor(expected["first"])
    figures = torch.stack([actual.mean(), actual.std(unbiased=False), actual.norm()])
    wanted = torch.tensor([expected["mean"], expected["std"], expected["l2"]])
    tolerance = TOLERANCE * float(first.abs().max())
    return (
        list(actual.shape) == expected["shape"]
        and torch.allclose(figures, wanted, rtol=TOLERANCE, atol=tolerance)
        and torch.allclose(actual.flatten()[: len(first)], first, rtol=TOLERANCE, atol=tolerance)
    )


def check_saliency(saliency: Saliency, expected: dict[str, Any]) -> None:
    assert close(saliency.mask.detach(), expected["mask"])
    for index, edge in enumerate(saliency.edges):
        branch = expected[f"tsfp{index + 1}"]
        assert close(saliency.pooled[index].detach(), branch["pooled"])
        assert close(edge.detach(), branch["edge"])


def check_loss(model: VideoNetwork, logits: Tensor, saliency: Saliency, case: dict[str, Any], *, format: str) -> None:
    expected = case["expected"]["loss"]
    loss = S2TFLoss(lambda_=expected["lambda"], gamma=expected["gamma"], theta=expected["theta"])
    total, parts = loss(logits, saliency, torch.tensor(expected["target"]))
    for name, part in parts.items():
        assert part.item() == pytest.approx(expected[name], rel=TOLERANCE)
    assert total.item() == pytest.approx(expected["total"], rel=TOLERANCE)
    torch.autograd.backward(total)
    parameters = dict(model.named_parameters())
    norms = case["expected"].get("grad_l2", {})
    # What flows back has the rounding of the largest, which differs from processor to processor.
    rounding = 1e-7 * max(norms.values(), default=0.0)
    for key, norm in norms.items():
        (ours,) = rename({key: torch.zeros(())}, format=format)
        gradient = parameters[ours].grad
        assert gradient is not None
        assert gradient.norm().item() == pytest.approx(norm, rel=1e-4, abs=rounding)


@pytest.mark.needs_shared
@pytest.mark.parametrize("path", case_paths(), ids=lambda path: path.stem)
def test_agrees_with_the_published_implementation(path: Path, tmp_path: Path) -> None:
    case = json.loads(path.read_text())
    model, format = imported(case, tmp_path)
    logits, saliency = model(seeded().clip(case), return_saliency=True)
    expected = torch.tensor(case["expected"]["logits"])
    tolerance = TOLERANCE * float(expected.max() - expected.min())
    torch.testing.assert_close(logits, expected, rtol=0, atol=tolerance)
    with torch.inference_mode():
        torch.testing.assert_close(model.to_inference()(seeded().clip(case)), expected, rtol=0, atol=tolerance)
    if saliency is not None:
        check_saliency(saliency, case["expected"])
    if saliency is not None and "loss" in case["expected"]:
        check_loss(model, logits, saliency, case, format=format)
