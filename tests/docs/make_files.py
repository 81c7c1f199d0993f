"""Makes a file of every name that the commands on the pages take for given: ``python tests/docs/make_files.py FOLDER``.

Videos of four classes by two people, and of others for testing; networks with drawn weights; artifacts and a report of
one of them; graphs with their clip files; published checkpoints.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from s2tf_edge.data.scenes import LABELS
from s2tf_edge.data.synthetic import write_video
from s2tf_edge.models import create_model, save_model
from s2tf_edge.runtime import read_meta

CLASSES = LABELS[:4]
FILES = ("anna_0", "anna_1", "ben_0", "ben_1")
COPIES = {
    "videos": ("clips/train", "weizmann", "mine", "UCF101/videos", "k400/train"),
    "test": ("test-videos", "clips/test", "k400/val"),
    "more": (),
}
"""Folders of videos, and the other names that pages have for such."""
COMMANDS = (
    "s2tf-export model.pt --target onnx",
    "s2tf-export model.pt --target openvino",
    "s2tf-export model.pt --target openvino --precision int8 --calib videos/",
    "s2tf-export model.pt --target onnx --precision int8 --calib videos/",
    "s2tf-report model.pt model_onnx_fp32 --data test/ --duration 0.2",
)


def make_videos(folder: Path) -> None:
    """``videos`` and ``test``, and the same under other names."""
    for name, files in {"videos": FILES, "test": ("eve_0",), "more": ("finn_0",)}.items():
        for label in CLASSES:
            (folder / name / label).mkdir(parents=True)
            for file in files:
                path = folder / name / label / f"{file}.mp4"
                write_video(path, clips=[(label, 1.2)], size=(48, 64), seed=sum(file.encode()))
        for copy in COPIES[name]:
            shutil.copytree(folder / name, folder / copy)
    for name, count in {"three": 3, "camera": 16}.items():
        (folder / name).mkdir()
        for index, path in enumerate(sorted(folder.glob("videos/*/*.mp4"))[:count]):
            shutil.copy(path, folder / name / f"{index}.mp4")
    write_video(folder / "clip.mp4", clips=[(label, 1.2) for label in CLASSES], size=(48, 64))


def make_lists(folder: Path) -> None:
    """Names of classes, videos of some people, and UCF101's lists of a split."""
    _write(folder / "kinetics.txt", [f"class {index}" for index in range(400)])
    _write(folder / "two-people.txt", [f"weizmann/{label}/ben_0.mp4,{label}" for label in CLASSES])
    _write(folder / "UCF101/classInd.txt", [f"{index} {label}" for index, label in enumerate(CLASSES, start=1)])
    for side, person in {"train": "anna", "test": "ben"}.items():
        rows = [f"{label}/{person}_0.mp4 {index}" for index, label in enumerate(CLASSES, start=1)]
        _write(folder / f"UCF101/{side}list01.txt", rows)


def make_networks(folder: Path) -> None:
    """A network, its artifacts, graphs of them as from elsewhere, a report, and networks to start from."""
    torch.manual_seed(0)
    small = create_model("s2tf_r3d_10?width=0.0625", num_classes=len(CLASSES), frames=8, size=32, labels=CLASSES)
    save_model(folder / "model.pt", small)
    path = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for command in COMMANDS:
        subprocess.run(command, shell=True, cwd=folder, env=os.environ | path, check=True)
    for graph, artifact in {"i3d": "model_onnx_fp32", "net": "model_onnx_fp32", "qdq": "model_onnx_int8"}.items():
        shutil.copy(folder / artifact / "model.onnx", folder / f"{graph}.onnx")
        (folder / f"{graph}.json").write_text(json.dumps(_clip_file(folder / artifact)), encoding="utf-8")
    shutil.copytree(folder / "model_openvino_int8", folder / "i3d_openvino_int8")
    for copy in ("report-of-last-week", "jetson", "nuc"):
        shutil.copytree(folder / "report", folder / copy)
    (folder / "runs/a").mkdir(parents=True)
    for copy in ("runs/a/model.pt", "big.pt"):
        shutil.copy(folder / "model.pt", folder / copy)
    for name, network in {"kinetics": "s2tf_x3d_s", "k400": "s2tf_x3d_s", "causal": "x3d_xs?causal=true"}.items():
        made = create_model(network, num_classes=len(CLASSES), frames=8, size=32, labels=CLASSES)
        save_model(folder / f"{name}.pt", made)


def make_checkpoints(folder: Path) -> None:
    """Whole networks with drawn weights, named as those that are published."""
    torch.manual_seed(0)
    torch.save({"epoch": 300, "model_state": _weights("x3d_s", slowfast_name)}, folder / "x3d_s.pyth")
    torch.save(_weights("r2plus1d_18", torchvision_name), folder / "r2plus1d_18-91a641e6.pth")
    (folder / "run").mkdir()
    weights = _weights("mc3_18", torchvision_name)
    torch.save({"state_dict": weights, "state_dict_ema": weights}, folder / "run/checkpoint.pth.tar")


def slowfast_name(key: str) -> str:
    """SlowFast's name of a weight of X3D."""
    *path, kind, leaf = key.removeprefix("backbone.").split(".")
    bn = "_bn" * (kind == "norm")
    if path[:1] == ["stem"]:
        return f"s1.pathway0_stem.{'bn' if bn else 'conv' if kind == 'conv' else 'conv_xy'}.{leaf}"
    if path[:1] == ["head"]:
        part = f"conv_5{bn}" if "conv5" in path else {"lin5": "lin_5", "fc": "projection"}[kind]
        return f"head.{part}.{leaf}"
    block = f"s{int(path[1]) + 2}.pathway0_{path[2]}"
    if "shortcut" in path:
        return f"{block}.branch1{bn}.{leaf}"
    return (
        f"{block}.branch2.se.{kind}.{leaf}"
        if "squeeze" in path
        else f"{block}.branch2.{'abc'[int(path[4])]}{bn}.{leaf}"
    )


def torchvision_name(key: str) -> str:
    """torchvision's name of a weight of MC3 or R(2+1)D."""
    *path, kind, leaf = key.removeprefix("backbone.").split(".")
    norm = int(kind == "norm")
    if path[0] == "head":
        return f"fc.{leaf}"
    if path[0] == "stem":
        return f"stem.{norm + 3 * ('temporal' in path)}.{leaf}"
    block = f"layer{int(path[1]) + 1}.{path[2]}"
    if "shortcut" in path:
        return f"{block}.downsample.{norm}.{leaf}"
    inside = f"0.{norm}" if "spatial" in path else "1" if norm and "temporal" in path else "0.3"
    place = inside if {"spatial", "temporal"} & set(path) else str(norm)
    return f"{block}.conv{int(path[4]) + 1}.{place}.{leaf}"


def _weights(network: str, name: Any) -> dict[str, Tensor]:
    return {name(key): value for key, value in create_model(network, num_classes=400).state_dict().items()}


def _clip_file(artifact: Path) -> dict[str, Any]:
    """What the owner of the graph would write of its clips."""
    meta = read_meta(artifact)
    spec = meta.clip
    values = {name: getattr(spec, name) for name in ("frames", "stride", "fps", "resize_short_side", "mean", "std")}
    return values | {"crop": spec.size, "labels": meta.labels}


def _write(path: Path, rows: list[str]) -> None:
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    target = Path(sys.argv[1])
    for make in (make_videos, make_lists, make_networks, make_checkpoints):
        make(target)
