"""Makes what ``tools/arm/compare.py`` compares: small networks, their artifacts, frames to show them, and a video.

    python -m arm.make FOLDER

What is there already is kept. Networks have random weights; their norms are drawn too, as logits are so alike else
that integers change much of their range.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from s2tf_edge.data.datasets import open_data
from s2tf_edge.data.scenes import LABELS
from s2tf_edge.data.synthetic import write_video
from s2tf_edge.export import ExportOptions, export
from s2tf_edge.models import create_model, register, save_model
from s2tf_edge.models.x3d import X3D, X3DOptions
from s2tf_edge.preprocess import crop_frames
from s2tf_edge.spec import ClipSpec

NETWORKS = {
    "r3d": "s2tf_r3d_10?width=0.125&conv1_t_size=3&frames=8&size=64",
    "x3d": "s2tf_tiny?width=0.5&frames=8&size=64",
    "step": "s2tf_tiny?width=0.5&causal=true&frames=8&size=64",
}
"""Clips of dense convolutions; of depthwise ones and swish; and the same as a step, in 2-D convolutions."""
CALIBRATION = "synthetic?clips=100"
FORMS: dict[str, dict[str, Any]] = {
    "onnx_fp32": {"target": "onnx", "precision": "fp32"},
    "onnx_fp16": {"target": "onnx", "precision": "fp16"},
    "onnx_int8": {"target": "onnx", "precision": "int8", "calib": CALIBRATION, "calib_clips": 100},
    "openvino_fp32": {"target": "openvino", "precision": "fp32"},
    "openvino_fp16": {"target": "openvino", "precision": "fp16"},
    "openvino_int8": {"target": "openvino", "precision": "int8", "calib": CALIBRATION, "calib_clips": 100},
}
CLIPS = 3
"""What machines are shown, whole or a frame at a time."""


@register("tiny", recipes={"": ClipSpec(frames=8, size=64)}, options=X3DOptions)
def _tiny(variant: str, *, options: X3DOptions, frames: int, size: int, num_classes: int) -> X3D:
    """X3D of 5 blocks in place of 26, which take long to trace."""
    del variant
    return X3D((1, 1, 2, 1), options=options, frames=frames, size=size, num_classes=num_classes)


def main(folder: Path) -> None:
    """Fills the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, network in NETWORKS.items():
        path = folder / f"{name}.pt"
        if not path.exists():
            _make_network(path, network)
        for form, options in FORMS.items():
            out = folder / f"{name}_{form}"
            if not out.exists():
                print(f"{out.name}: {export(path, ExportOptions(**options, out=out)).verification}", flush=True)
    # Each label once, in another order than that of the classes.
    order = np.random.default_rng(0).permutation(len(LABELS))
    write_video(folder / "actions.mp4", clips=[(LABELS[index], 1.0) for index in order], fps=25, seed=1)


def _make_network(path: Path, name: str) -> None:
    torch.manual_seed(0)
    network = create_model(name, num_classes=len(LABELS))
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm3d):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            assert norm.running_mean is not None
            assert norm.running_var is not None
            norm.running_mean.uniform_(-0.2, 0.2)
            norm.running_var.uniform_(0.5, 1.5)
    videos = open_data(f"synthetic?split=test&clips={CLIPS}").videos
    frames = [crop_frames(video.read(network.spec, at=0.0), network.spec) for video in videos]
    np.savez(path.with_suffix(".npz"), frames=np.concatenate(frames))
    save_model(path, network)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    main(parser.parse_args().folder)
