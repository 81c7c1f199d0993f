"""Exports every network to every target and writes what came out as a Markdown table.

    python benchmarks/export_matrix.py --out docs/export-matrix.md

The networks have random weights and their published sizes: the table shows that each combination builds and agrees, how
long that takes and how large it is. Seconds depend on the machine; read them beside each other.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch

from s2tf_edge.errors import S2TFError
from s2tf_edge.export import ExportOptions, ExportResult, export
from s2tf_edge.export.graph.macs import count_macs
from s2tf_edge.export.sources.torch_to_onnx import to_onnx
from s2tf_edge.models import create_model, network_cost
from s2tf_edge.models.model_file import load_model, save_model
from s2tf_edge.runtime.hardware import hardware_facts

NETWORKS = ("nl_i3d_r50", "r3d_18", "p3d_63", "x3d_s")
FORMS = ("", "s2tf_")


@dataclass(frozen=True, kw_only=True)
class Column:
    """One way to export."""

    title: str
    target: str
    precision: str
    custom_ops: str = "auto"

    def options(self, out: Path) -> ExportOptions:
        return ExportOptions(target=self.target, precision=self.precision, custom_ops=self.custom_ops, out=out)


COLUMNS = (
    Column(title="onnx keep", target="onnx", precision="fp32", custom_ops="keep"),
    Column(title="onnx inline", target="onnx", precision="fp32", custom_ops="inline"),
    Column(title="openvino fp32", target="openvino", precision="fp32"),
    Column(title="openvino fp16", target="openvino", precision="fp16"),
    Column(title="trt-rtx fp32", target="trt-rtx", precision="fp32"),
    Column(title="trt-rtx fp16", target="trt-rtx", precision="fp16"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="where the table goes")
    parser.add_argument("--networks", nargs="*", default=[form + name for name in NETWORKS for form in FORMS])
    arguments = parser.parse_args()
    rows = []
    for name in arguments.networks:
        with tempfile.TemporaryDirectory() as folder:
            model = make_model(name, Path(folder))
            cells = [work(model)]
            for column in COLUMNS:
                cells.append(cell(model, column))
                print(name, column.title, cells[-1], flush=True)
        rows.append(f"| `{name}` | {' | '.join(cells)} |")
    arguments.out.write_text(document(rows), encoding="utf-8")


def make_model(name: str, folder: Path) -> Path:
    """A network of the published size with random weights."""
    torch.manual_seed(0)
    network = create_model(name, num_classes=400)
    path = folder / "model.pt"
    save_model(path, network)
    return path


def work(model: Path) -> str:
    """GMAC of the exported graph, counted over its nodes, and of the published network."""
    network = load_model(model)
    return f"{sum(count_macs(to_onnx(network)).values()) / 1e9:.1f} of {network_cost(network).published_macs / 1e9:.1f}"


def cell(model: Path, column: Column) -> str:
    """Seconds, size and largest error of one export; or why there is none."""
    out = model.with_name(column.title.replace(" ", "_"))
    try:
        result = export(model, column.options(out))
    except S2TFError as error:
        return f"exit {error.exit_code}: {error}"
    assert result.verification is not None
    largest = result.verification.relative_error
    return f"{result.meta.build['seconds']:.1f} s, {model_bytes(result) / 1e6:.0f} MB, {largest:.0e}"


def model_bytes(result: ExportResult) -> int:
    """Size of what a runtime opens; OpenVINO keeps weights beside it."""
    files = {result.meta.model, "model.bin"} & set(result.meta.files)
    return sum((result.folder / name).stat().st_size for name in files)


def document(rows: list[str]) -> str:
    """The whole page."""
    machine = hardware_facts()
    lines = [
        "# Every network on every target",
        "",
        "Seconds to trace and build; size of the model or engine; largest error of a logit against PyTorch, as a",
        "fraction of the logits' range (allowed: 1e-04 in fp32, 5e-02 in fp16), on 8 seeded clips.",
        "GMAC: multiply-accumulates for one clip of the exported graph, of those of the network as published.",
        "Written by `benchmarks/export_matrix.py`.",
        "",
        "TensorRT-RTX engines are built by NVIDIA's compiler; where no GPU is present, the error is that of the graph",
        "that the engine is built from, run by ONNX Runtime.",
        "",
        f"Machine: {machine['cpu']}, {machine['cores']} cores; PyTorch {torch.__version__}.",
        "",
        f"| network | GMAC | {' | '.join(column.title for column in COLUMNS)} |",
        f"|---|---|{'---|' * len(COLUMNS)}",
        *rows,
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
