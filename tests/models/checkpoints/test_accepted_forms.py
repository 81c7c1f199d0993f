"""Forms in which training loops and tools leave a network's weights, each of which imports to the same logits."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from s2tf_edge.errors import InputFileError
from s2tf_edge.models import VideoNetwork
from s2tf_edge.models.checkpoints import import_checkpoint

NAME = "mc3_18?width=0.0625&frames=4&size=32"
State = dict[str, Tensor]


def prefixed(prefix: str, state: State) -> State:
    return {prefix + key: value for key, value in state.items()}


def scaled(state: State) -> State:
    """Other weights of the same names, so that a mix-up shows."""
    return {key: value * 2 if value.is_floating_point() else value for key, value in state.items()}


def cast(state: State, dtype: torch.dtype) -> State:
    return {key: value.to(dtype) if value.is_floating_point() else value for key, value in state.items()}


OPTIMIZER = {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}

FORMS: dict[str, Callable[[State], Any]] = {
    "bare": lambda state: state,
    "DataParallel": lambda state: prefixed("module.", state),
    "twice wrapped": lambda state: {"state_dict": prefixed("module.module.", state)},
    "compiled": lambda state: prefixed("_orig_mod.", state),
    "compiled, then wrapped": lambda state: {"model": prefixed("module._orig_mod.", state)},
    "wrapped, then compiled": lambda state: {"model": prefixed("_orig_mod.module.", state)},
    "Lightning": lambda state: {
        "epoch": 3,
        "global_step": 900,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": prefixed("model.", state),
        "optimizer_states": [OPTIMIZER],
        "hyper_parameters": {"lr": 0.1, "classes": ["a", "b"]},
        "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.5)}},
    },
    "Lightning, compiled inside": lambda state: {"state_dict": prefixed("model._orig_mod.", state)},
    "two attributes deep": lambda state: {"state_dict": prefixed("model.net.", state)},
    "backbone": lambda state: prefixed("backbone.", state),
    "encoder": lambda state: {"state_dict": prefixed("module.encoder.", state)},
    "any attribute": lambda state: {"state_dict": prefixed("my_cnn.", state)},
    "first of a Sequential": lambda state: prefixed("0.", state),
    "FSDP": lambda state: {
        "model": {
            re.sub(r"^(layer\d)\.", r"\1._fsdp_wrapped_module.", key): value
            for key, value in prefixed("_fsdp_wrapped_module.", state).items()
        }
    },
    "activation checkpoints": lambda state: {
        re.sub(r"^(layer\d\.\d)\.", r"\1._checkpoint_wrapped_module.", key): value for key, value in state.items()
    },
    "backbone with a head beside it": lambda state: {
        key if key.startswith("fc.") else f"backbone.{key}": value for key, value in state.items()
    },
    "model": lambda state: {"model": state, "epoch": 1},
    "model_state": lambda state: {"model_state": state, "cfg": "MODEL: {}"},
    "model_state_dict": lambda state: {"model_state_dict": state, "optimizer_state_dict": OPTIMIZER, "loss": 0.1},
    "weights": lambda state: {"weights": state},
    "net": lambda state: {"net": state, "acc": 71.2, "epoch": 9},
    "a name of one's own": lambda state: {"r3d": state, "epoch": 9},
    "two deep": lambda state: {"checkpoint": {"model": state, "step": 3}, "config": {"lr": 1.0}},
    "DeepSpeed": lambda state: {"module": prefixed("module.", state), "ds_version": "0.16", "optimizer": None},
    "a tensor beside": lambda state: {"state_dict": state, "best_acc1": torch.tensor(70.5)},
    "a NumPy number beside": lambda state: {"state_dict": state, "best_acc1": np.float64(70.5), "n": np.int64(3)},
    "parameters": lambda state: {
        key: nn.Parameter(value, requires_grad=value.is_floating_point()) for key, value in state.items()
    },
    "no counters": lambda state: {
        key: value for key, value in state.items() if not key.endswith("num_batches_tracked")
    },
    "numbers among the weights": lambda state: {**state, "epoch": 3, "steps": torch.tensor(7)},
    "optimizer beside": lambda state: {"model": state, "optimizer": OPTIMIZER, "lr_scheduler": {"last_epoch": 4}},
    "classifier behind a dropout": lambda state: {key.replace("fc.", "fc.1."): value for key, value in state.items()},
    "double": lambda state: cast(state, torch.float64),
    "sparse": lambda state: {**state, "fc.weight": state["fc.weight"].to_sparse()},
}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_gives_the_same_logits(
    form: str, published: State, same_logits: Callable[..., bool], tmp_path: Path
) -> None:
    torch.save(FORMS[form](published), tmp_path / "c.pth")
    found, report = import_checkpoint(tmp_path / "c.pth", model=NAME)
    assert report.format == "torchvision"
    assert same_logits(found)
    assert not [note for note in report.notes if "EMA" in note]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 0.01), (torch.bfloat16, 0.1)])
def test_half_precision_becomes_float32(
    dtype: torch.dtype, tolerance: float, published: State, same_logits: Callable[..., bool], tmp_path: Path
) -> None:
    torch.save(cast(published, dtype), tmp_path / "c.pth")
    found, report = import_checkpoint(tmp_path / "c.pth", model=NAME)
    assert {value.dtype for value in found.parameters()} == {torch.float32}
    assert report.notes == (f"weights in {str(dtype).removeprefix('torch.')} became float32",)
    assert same_logits(found, tolerance=tolerance)


def test_reads_files_from_before_pytorch_1_6(
    published: State, same_logits: Callable[..., bool], tmp_path: Path
) -> None:
    torch.save({"state_dict": published}, tmp_path / "c.pth.tar", _use_new_zipfile_serialization=False)
    assert same_logits(import_checkpoint(tmp_path / "c.pth.tar", model=NAME)[0])


@pytest.mark.parametrize("file", ["c.safetensors", "c.pth"])
@pytest.mark.parametrize("prefix", ["", "model."])
def test_reads_safetensors_by_what_they_are(
    file: str, prefix: str, published: State, same_logits: Callable[..., bool], tmp_path: Path
) -> None:
    save_file(prefixed(prefix, published), tmp_path / file, metadata={"format": "pt"})
    assert same_logits(import_checkpoint(tmp_path / file, model=NAME)[0])


AVERAGED: dict[str, Callable[[State], Any]] = {
    "timm": lambda state: {"arch": "mc3", "state_dict": scaled(state), "state_dict_ema": state},
    "ema_state_dict": lambda state: {"state_dict": scaled(state), "ema_state_dict": {**prefixed("module.", state)}},
    "model_ema": lambda state: {"model": scaled(state), "model_ema": state},
    "ema, an AveragedModel": lambda state: {
        "model": scaled(state),
        "ema": {"n_averaged": torch.tensor(9), **prefixed("module.", state)},
    },
    "ema, nested": lambda state: {"model": scaled(state), "ema": {"module": state, "decay": 0.999}},
    "ema_model": lambda state: {"model": scaled(state), "ema_model": {"state_dict": state}},
    "in one set": lambda state: {
        "state_dict": prefixed("model.", scaled(state)) | prefixed("ema_model.module.", state)
    },
    "MMCV's hook": lambda state: {
        "state_dict": scaled(state) | {"ema_" + key.replace(".", "_"): value for key, value in state.items()}
    },
}


@pytest.mark.parametrize("form", AVERAGED)
def test_averages_are_taken_where_asked_for(
    form: str, published: State, same_logits: Callable[..., bool], tmp_path: Path
) -> None:
    torch.save(AVERAGED[form](published), tmp_path / "c.pth")
    found, report = import_checkpoint(tmp_path / "c.pth", model=NAME, ema=True)
    assert same_logits(found)
    assert report.notes == ("averaged weights (EMA) taken",)


@pytest.mark.parametrize("form", AVERAGED)
def test_averages_are_said_and_left_where_not_asked_for(
    form: str, network: VideoNetwork, published: State, same_logits: Callable[..., bool], tmp_path: Path
) -> None:
    torch.save(AVERAGED[form](published), tmp_path / "c.pth")
    found, report = import_checkpoint(tmp_path / "c.pth", model=NAME)
    assert not same_logits(found)
    doubled = found.state_dict()["backbone.head.fc.weight"]
    assert torch.equal(doubled, network.state_dict()["backbone.head.fc.weight"] * 2)
    assert "averaged weights (EMA) too, which were not taken; to take them give `ema=True`" in report.notes[0]


def test_averages_alone_are_taken(published: State, same_logits: Callable[..., bool], tmp_path: Path) -> None:
    torch.save({"ema_state_dict": published}, tmp_path / "c.pth")
    found, report = import_checkpoint(tmp_path / "c.pth", model=NAME)
    assert same_logits(found)
    assert report.notes == ("it holds averaged weights (EMA) alone, which are taken",)


def test_tensors_of_the_loss_are_left_out_and_said(
    published: State, same_logits: Callable[..., bool], tmp_path: Path
) -> None:
    state = prefixed("model.", published) | {"criterion.weight": torch.ones(5), "train_acc.tp": torch.ones(5)}
    torch.save({"state_dict": state}, tmp_path / "c.pth")
    found, report = import_checkpoint(tmp_path / "c.pth", model=NAME)
    assert same_logits(found)
    assert report.notes == ("left out, as no part of the network: criterion.weight, train_acc.tp",)


@pytest.mark.parametrize("head", ["fc", "classifier", "head"])
def test_a_classifier_of_two_layers_goes_with_a_new_head(head: str, published: State, tmp_path: Path) -> None:
    state = {key: value for key, value in published.items() if not key.startswith("fc.")}
    state |= {f"{head}.{layer}.weight": torch.ones(5, 5) for layer in (0, 2)} | {f"{head}.2.bias": torch.ones(5)}
    torch.save(state, tmp_path / "c.pth")
    with pytest.raises(InputFileError, match=r"has no classifier; .*`new_head=N`"):
        import_checkpoint(tmp_path / "c.pth", model=NAME)
    found, report = import_checkpoint(tmp_path / "c.pth", model=NAME, new_head=7)
    assert found.num_classes == 7
    assert report.fresh == ("backbone.head.fc.weight", "backbone.head.fc.bias")
