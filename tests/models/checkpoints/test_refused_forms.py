"""Files that are no network's weights, or not those of a network here: refused with what each is and what to do."""

from __future__ import annotations

import argparse
import io
import json
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from s2tf_edge.errors import InputFileError
from s2tf_edge.models import VideoNetwork, save_model
from s2tf_edge.models.checkpoints import import_checkpoint

NAME = "mc3_18?width=0.0625&frames=4&size=32"
State = dict[str, Tensor]


def with_value(state: State, key: str, value: float) -> State:
    changed = state[key].clone()
    changed.view(-1)[0] = value
    return state | {key: changed}


def without(state: State, *parts: str) -> State:
    return {key: value for key, value in state.items() if not any(part in key for part in parts)}


WEIGHT = "layer1.0.conv1.0.weight"

CONTENTS: dict[str, tuple[Callable[[State], Any], str]] = {
    "NaN": (
        lambda state: with_value(state, WEIGHT, float("nan")),
        rf"NaN or infinite \({WEIGHT}\), .*give an earlier checkpoint",
    ),
    "infinite": (
        lambda state: with_value(state, "stem.1.running_var", float("inf")),
        r"NaN or infinite \(stem\.1\.run",
    ),
    "8-bit": (
        lambda state: state | {WEIGHT: torch.ones(4, 4, 3, 3, 3, dtype=torch.int8)},
        rf"quantized weights \({WEIGHT}: int8\), .*import the float checkpoint",
    ),
    "packed": (
        lambda state: state | {"fc._packed_params.dtype": torch.zeros(1)},
        r"quantized weights \(fc\._packed_params",
    ),
    "fake quantization": (
        lambda state: state | {"stem.0.weight_fake_quant.scale": torch.ones(1)},
        r"quantized weights \(stem\.0\.weight_fake_quant",
    ),
    "float8": (
        lambda state: state | {WEIGHT: state[WEIGHT].to(torch.float8_e4m3fn)},
        rf"quantized weights \({WEIGHT}: float8_e4m3fn\)",
    ),
    "weight norm": (
        lambda state: without(state, "stem.0") | {"stem.0.weight_g": torch.ones(4), "stem.0.weight_v": torch.ones(4)},
        r"parametrization, such as weight norm \(stem\.0\.weight_g, .*remove_parametrizations",
    ),
    "pruned": (
        lambda state: state | {"stem.0.weight_orig": torch.ones(4), "stem.0.weight_mask": torch.ones(4)},
        r"mask of pruning .*torch\.nn\.utils\.prune\.remove",
    ),
    "LoRA": (
        lambda state: {
            "base_model.layer1.lora_A.weight": torch.ones(2, 4),
            "base_model.layer1.lora_B.weight": torch.ones(4, 2),
        },
        r"adapters \(LoRA\), .*merge_and_unload",
    ),
    "no values": (
        lambda state: {key: torch.zeros(0) for key in state},
        r"names without values \(stem\.0\.weight, .*zero_to_fp32\.py",
    ),
    "complex": (
        lambda state: state | {"fc.bias": torch.zeros(5, dtype=torch.complex64)},
        r"complex numbers \(fc\.bias",
    ),
    "a part of ZeRO": (
        lambda state: {"optimizer_state_dict": {"zero_stage": 2, "partition_count": [2]}, "ds_version": "0.16"},
        r"one part of a sharded checkpoint; .*zero_to_fp32\.py",
    ),
    "a part of FSDP": (lambda state: {"model": state, "shard_metadata": {}}, "one part of a sharded checkpoint"),
    "optimizer alone": (
        lambda state: {"optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": []}, "epoch": 3},
        r"the state of a training run \(optimizer, epoch\) without the network's weights",
    ),
    "optimizer's state_dict": (
        lambda state: {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]},
        "the state of a training run",
    ),
    "two networks": (
        lambda state: {"student": state, "critic": state},
        r"2 sets of weights \(student, critic\), of which none is known",
    ),
    "a tensor": (lambda state: state["fc.bias"], "holds one tensor and no weights by name"),
    "a list": (lambda state: [1, 2], "holds a list and no weights by name"),
    "a dict of numbers": (lambda state: {"acc": 0.5}, r"no weights at its top nor under model_state, .*\(acc\)"),
    "nothing": (lambda state: {}, r"no weights .*\(it is empty\)"),
    "a classifier alone": (
        lambda state: {key: value for key, value in state.items() if key.startswith("fc.")},
        "holds a classifier alone .*give the file that has the whole network",
    ),
    "no classifier": (lambda state: without(state, "fc."), "has no classifier; .*`new_head=N`"),
    "no fourth stage": (
        lambda state: without(state, "layer4."),
        r"does not fit mc3_18.*missing: .*; it lacks stage 4 of 4$",
    ),
    "no stem": (lambda state: without(state, "stem.1."), r"missing: backbone\.stem\.0\.norm\.weight"),
    "no statistics": (
        lambda state: without(state, "running_mean", "running_var", "num_batches"),
        r"it lacks the statistics of 20 batch norms|save them too, as model\.state_dict\(\) does.*20 batch norms$",
    ),
    "another network": (
        lambda state: {
            key: value.expand(-1, -1, 3, -1, -1).clone() if value.ndim == 5 and value.shape[2:] == (1, 3, 3) else value
            for key, value in state.items()
        },
        r"of another shape: .*name the network that it was trained as, tv_r3d_18\?width=0\.0625&frames=4&size=32$",
    ),
    "a network of pictures": (
        lambda state: {"conv1.weight": torch.ones(4, 3, 7, 7), "layer1.0.conv1.weight": torch.ones(4, 4, 3, 3)},
        r"a network of pictures \(2D: .*s2tf-export NET\.onnx",
    ),
    "a transformer": (
        lambda state: {"blocks.0.attn.qkv.weight": torch.ones(6, 2), "blocks.0.attn.proj.weight": torch.ones(2, 2)},
        r"the weights of a transformer \(blocks\.0\.attn.*export it to ONNX .*s2tf-export NET\.onnx",
    ),
    "SlowFast": (
        lambda state: {
            "s1.pathway0_stem.conv.weight": torch.ones(4, 3, 1, 7, 7),
            "s1.pathway1_stem.conv.weight": torch.ones(4, 3, 5, 7, 7),
            "head.projection.weight": torch.ones(5, 4),
        },
        "it holds the weights of SlowFast with two pathways; there is no such network here",
    ),
    "MMAction2's non-local": (
        lambda state: {
            "backbone.conv1.conv.weight": torch.ones(4, 3, 5, 7, 7),
            "backbone.layer1.0.conv1.conv.weight": torch.ones(4, 4, 3, 1, 1),
            "backbone.layer2.1.non_local_block.g.0.conv.weight": torch.ones(4, 4, 1, 1, 1),
            "cls_head.fc_cls.weight": torch.ones(5, 4),
        },
        "non-local blocks, of which three kinds have the same weights",
    ),
    "Inception I3D": (
        lambda state: {"Conv3d_1a_7x7.conv3d.weight": torch.ones(4, 3, 7, 7, 7), "Mixed_3b.b0.bn.bias": torch.ones(4)},
        "the weights of an Inception I3D",
    ),
    "this package's own names": (
        lambda state: {
            "backbone.stem.0.conv.weight": torch.ones(4, 3, 3, 3, 3),
            "backbone.stages.0.0.x": torch.ones(4),
        },
        "has this package's own names, .*needs no import; give the model.pt beside it",
    ),
    "a training run of this package": (
        lambda state: {
            "state_dict": {
                "model.backbone.stem.0.conv.weight": torch.ones(4, 3, 3, 3, 3),
                "model.backbone.stages.0.0.x": torch.ones(4),
            }
        },
        "has this package's own names, .*needs no import; give the model.pt beside it",
    ),
    "an unknown network": (
        lambda state: {"a.weight": torch.ones(4, 3, 3, 3, 3), "b.weight": torch.ones(4)},
        r"has keys of no known format \(a\.weight, b\.weight\); known are s2tfnet, ",
    ),
    "a namespace": (
        lambda state: {"state_dict": state, "args": argparse.Namespace(lr=0.1)},
        r"holds Python objects beside tensors, .*\(argparse\.Namespace\); .*torch\.save\(c\['state_dict'\]",
    ),
    "a path": (lambda state: {"state_dict": state, "data": Path("x")}, r"Python objects beside tensors.*\(pathlib\."),
    "an array": (lambda state: {"weights": np.zeros(3)}, r"Python objects beside tensors.*\(numpy\..*\._reconstruct"),
    "a whole network": (lambda state: nn.Sequential(nn.Conv3d(1, 1, 1)), r"is a whole network, .*m\.state_dict\(\)"),
}


@pytest.mark.parametrize("content", CONTENTS)
def test_what_is_no_network_s_weights_is_refused(content: str, published: State, tmp_path: Path) -> None:
    make, message = CONTENTS[content]
    torch.save(make(published), tmp_path / "c.pth")
    with pytest.raises(InputFileError, match=message) as caught:
        import_checkpoint(tmp_path / "c.pth", model=NAME)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path))


@pytest.mark.parametrize("content", ["a whole network", "a namespace"])
def test_objects_are_named_in_files_from_before_pytorch_1_6(content: str, published: State, tmp_path: Path) -> None:
    make, message = CONTENTS[content]
    torch.save(make(published), tmp_path / "c.pth", _use_new_zipfile_serialization=False)
    with pytest.raises(InputFileError, match=message):
        import_checkpoint(tmp_path / "c.pth", model=NAME)


def zipped(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in members.items():
            archive.writestr(name.replace("__", "/").replace("_DOT_", "."), data)
    return stream.getvalue()


def tarred(*names: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(name))
    return stream.getvalue()


def npz() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, conv=np.zeros(3))
    return stream.getvalue()


SHARDS = {"a": "m-00001-of-00002.safetensors", "b": "m-00002-of-00002.safetensors"}
LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n"
ONNX_MODEL = b"\x08\x08\x12\x07pytorch\x1a\x03"

EXPORT = r"s2tf-export NETWORK\.onnx"
CHECKPOINT = r"give a published checkpoint of torch\.save or safetensors$"

FILES: dict[str, tuple[str, bytes, str]] = {
    "empty": ("c.pth", b"", "is an empty file, .*copy or download the file again"),
    "Git LFS": ("c.pth", LFS_POINTER, "is a Git LFS pointer, .*git lfs pull"),
    "HTML": (
        "c.pth",
        b"\n<!DOCTYPE html><html><title>404</title></html>",
        r"is a web page, .*copy or download the file again",
    ),
    "an error of S3": (
        "c.pth",
        b"<?xml version='1.0'?><Error><Code>Denied</Code></Error>",
        "is a web page, such",
    ),
    "XML": ("c.pth", b"<?xml version='1.0'?><annotation/>", "is a text file; " + CHECKPOINT),
    "OpenVINO": (
        "model.xml",
        b'<?xml version="1.0"?>\n<net name="a" version="11">',
        r"is a graph of OpenVINO, .*" + EXPORT,
    ),
    "JSON": (
        "c.pth",
        b'{"error": "not found"}',
        "is a JSON file; " + CHECKPOINT,
    ),
    "index of shards": (
        "m.safetensors.index.json",
        json.dumps({"metadata": {}, "weight_map": SHARDS}).encode(),
        r"is the index of a checkpoint in 2 parts \(m-00001",
    ),
    "text": ("c.pth", b"epoch,loss\n1,2.5\n", "is a text file; " + CHECKPOINT),
    "bytes": ("c.pth", b"\xfe\xed\0\xff" * 16, r"is not a PyTorch file, or it is damaged \("),
    "HDF5": (
        "c.h5",
        b"\x89HDF\r\n\x1a\n" + bytes(64),
        r"is a Keras model, or another HDF5 file, .*" + EXPORT,
    ),
    "Keras": ("c.keras", zipped(config_DOT_json=b"{}", model_DOT_weights_DOT_h5=b""), "is a Keras model"),
    "NumPy": ("c.npz", npz(), "is a file of NumPy arrays; " + CHECKPOINT),
    "NumPy array": ("c.npy", b"\x93NUMPY\x01\x00", "is a file of NumPy arrays; " + CHECKPOINT),
    "PaddlePaddle": (
        "c.pdparams",
        pickle.dumps({"a": np.zeros(3)}, protocol=2),
        r"holds weights of PaddlePaddle; .*" + EXPORT,
    ),
    "JAX": ("c.msgpack", b"\x81\xa6params\x80", r"holds weights of JAX; .*" + EXPORT),
    "TensorFlow Lite": ("c.tflite", b"\x1c\x00\x00\x00TFL3" + bytes(64), r"is a LiteRT \(TensorFlow Lite\) model"),
    "ExecuTorch": ("c.pte", b"\x1c\x00\x00\x00ET12" + bytes(64), r"is an ExecuTorch program, .*torch\.onnx\.export"),
    "GGUF": ("c.gguf", b"GGUF\x03" + bytes(64), "is a GGUF file, which holds a quantized language model; give"),
    "PDF": ("c.pth", b"%PDF-1.7\n", "is a PDF; " + CHECKPOINT),
    "ONNX": ("c.onnx", ONNX_MODEL, r"is an ONNX graph, .*needs no import; export it: s2tf-export \S+c\.onnx"),
    "ONNX by content": ("c.pth", ONNX_MODEL, "is an ONNX graph"),
    "TensorRT": ("c.engine", b"ptrt" + bytes(64), "is a TensorRT engine, .*--target trt$"),
    "torch.export": ("c.pt2", zipped(e__archive_format=b"pt2"), r"is a program of torch\.export"),
    "zip of several": (
        "c.zip",
        zipped(a_DOT_pth=b"1", b_DOT_pth=b"2"),
        r"is an archive, .*unpack it and give what is in it: a\.pth, b\.pth$",
    ),
    "another zip": ("c.zip", zipped(readme=b"1"), "is an archive, .*unpack it and give what is in it: readme$"),
    "tar": ("c.tar", tarred("a.pth"), r"is an archive, .*unpack it and give what is in it: a\.pth$"),
    "PyTorch 0.1": ("c.pth", tarred("sys_info", "pickle", "storages", "tensors"), r"was written by PyTorch 0\.1"),
    "gzip": ("c.tar.gz", b"\x1f\x8b\x08" + bytes(64), "is an archive, .*unpack it and give what is in it$"),
    "7z": ("c.7z", b"7z\xbc\xaf\x27\x1c" + bytes(64), "is an archive, .*unpack it and give what is in it$"),
    "a video": ("c.mp4", b"\x00\x00\x00\x18ftypmp42" + bytes(64), "is a video"),
    "a cut .safetensors": ("c.safetensors", (1000).to_bytes(8, "little") + b'{"a":', "cut short at 13 bytes"),
    "a damaged .safetensors": (
        "c.safetensors",
        (8).to_bytes(8, "little") + b'{"a": 1}',
        "is a .safetensors file that is damaged",
    ),
    "Caffe2": ("c.pkl", pickle.dumps({"blobs": {"conv1_w": np.zeros(3)}}, protocol=2), "is a Caffe2 pickle"),
}


@pytest.mark.parametrize("kind", FILES)
def test_files_of_another_kind_are_told(kind: str, tmp_path: Path) -> None:
    name, data, message = FILES[kind]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputFileError, match=message) as caught:
        import_checkpoint(tmp_path / name, model=NAME)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_torchscript_is_told(tmp_path: Path) -> None:
    traced = torch.jit.trace(nn.Conv3d(1, 1, 1), torch.zeros(1, 1, 1, 1, 1))  # type: ignore[no-untyped-call]
    torch.jit.save(traced, tmp_path / "c.pt")
    with pytest.raises(InputFileError, match=r"is a TorchScript program, .*torch\.jit\.load\('.*c\.pt'\)\.state_dict"):
        import_checkpoint(tmp_path / "c.pt", model=NAME)


@pytest.mark.parametrize("share", [0.3, 0.9])
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_a_download_that_was_cut_short_is_told(suffix: str, share: float, published: State, tmp_path: Path) -> None:
    path = tmp_path / f"c.{suffix}"
    torch.save(published, path) if suffix == "pth" else save_file(published, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(InputFileError, match=r"cut short|damaged"):
        import_checkpoint(path, model=NAME)


def test_a_model_file_needs_no_import(network: VideoNetwork, tmp_path: Path) -> None:
    save_model(tmp_path / "model.pt", network)
    with pytest.raises(InputFileError, match=r"is a model\.pt, .*needs no import; .*s2tf-export \S+model\.pt"):
        import_checkpoint(tmp_path / "model.pt", model=NAME)


@pytest.mark.parametrize(
    ("inside", "message"),
    [
        ("meta.json", "is an artifact folder, .*run it: s2tf-stream"),
        (".metadata", "is not a file but a distributed checkpoint; .*dcp_to_torch"),
        ("saved_model.pb", r"is a SavedModel of TensorFlow, .*" + EXPORT),
        ("model.safetensors", "is not a file but a folder; give the file inside, such as model.safetensors"),
        ("notes.txt", "is not a file but a folder; give the file inside$"),
    ],
)
def test_folders_are_told(inside: str, message: str, tmp_path: Path) -> None:
    (tmp_path / inside).touch()
    with pytest.raises(InputFileError, match=message):
        import_checkpoint(tmp_path, model=NAME)


def test_averages_that_are_not_there_are_told(published: State, tmp_path: Path) -> None:
    torch.save({"state_dict": published}, tmp_path / "c.pth")
    with pytest.raises(InputFileError, match=r"holds no averaged weights \(EMA\); leave out `ema=True`"):
        import_checkpoint(tmp_path / "c.pth", model=NAME, ema=True)


def test_another_format_than_named_is_told(published: State, tmp_path: Path) -> None:
    torch.save(published, tmp_path / "c.pth")
    with pytest.raises(InputFileError, match="keys of torchvision, not those of p3d; give `format=torchvision`"):
        import_checkpoint(tmp_path / "c.pth", model=NAME, format="p3d")
