import dataclasses
import pickle
from pathlib import Path

import pytest
import torch

import s2tf_edge
from s2tf_edge.errors import InputFileError
from s2tf_edge.models import VideoNetwork, create_model, save_model
from s2tf_edge.models.model_file import read_model_file, read_tensors


@pytest.fixture
def model() -> VideoNetwork:
    torch.manual_seed(0)
    return create_model("s2tf_r3d_10?width=0.0625", num_classes=2, frames=4, size=24, labels=["rün", "walk"])


def test_brings_back_the_network(model: VideoNetwork, tmp_path: Path) -> None:
    model.spec = dataclasses.replace(model.spec, stride=3, fps=12.5)
    path = tmp_path / "müdel one" / "model.pt"
    save_model(path, model, metrics={"top1": 87.5}, seed=7, extra={"epochs": 3})
    state = torch.get_rng_state()
    loaded = s2tf_edge.load_model(path)
    assert torch.equal(torch.get_rng_state(), state)
    assert not loaded.training
    assert (loaded.name, loaded.labels, loaded.spec, loaded.num_classes) == (model.name, model.labels, model.spec, 2)
    clip = torch.randn(1, 3, 4, 24, 24)
    assert torch.equal(loaded(clip), model.eval()(clip))
    assert all(value.requires_grad for value in loaded.parameters())
    file = read_model_file(path)
    assert (file.metrics, file.seed, file.extra) == ({"top1": 87.5}, 7, {"epochs": 3})
    assert file.versions["torch"] == torch.__version__


def test_leaves_nothing_beside_the_file(model: VideoNetwork, tmp_path: Path) -> None:
    save_model(tmp_path / "model.pt", model)
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]


def test_a_failed_write_keeps_the_old_file(model: VideoNetwork, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    save_model(path, model)
    before = path.read_bytes()
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        save_model(path, model, extra={"unpicklable": lambda: 0})
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["model.pt"]


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("touched by a pickle"),))  # type: ignore[return-value]


def test_runs_no_code_of_a_pickle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model_state": Evil()}, "evil.pt")
    with pytest.raises(InputFileError, match="holds Python objects beside tensors, which are refused"):
        read_tensors("evil.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["evil.pt"]


def test_explains_files_that_are_no_model_files(model: VideoNetwork, tmp_path: Path) -> None:
    save_model(tmp_path / "model.pt", model)
    whole = (tmp_path / "model.pt").read_bytes()
    (tmp_path / "truncated.pt").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.pt").write_bytes(b"")
    (tmp_path / "text.pt").write_text("epoch,loss\n1,2.5\n")
    torch.save({"model_state": {"conv1.weight": torch.zeros(1)}}, tmp_path / "other.pt")
    torch.save(torch.zeros(3), tmp_path / "tensor.pt")
    (tmp_path / "model.onnx").write_bytes(b"\x08\x08\x12\x07pytorch")
    for name, message in {
        "missing.pt": "does not exist",
        ".": r"is a folder with a model\.pt in it, not a model\.pt; give that: .*model\.pt",
        "truncated.pt": "is not a PyTorch file, or it is damaged",
        "empty.pt": "is an empty file, .*copy or download the file again",
        "text.pt": r"is a text file; give a model\.pt$",
        "other.pt": r"is a checkpoint of weights, not a model\.pt; import it first: s2tf-import \S+other\.pt",
        "tensor.pt": r"is a checkpoint of weights, not a model\.pt",
        "model.onnx": r"is an ONNX graph, not a model\.pt; export it first: s2tf-export \S+model\.onnx",
    }.items():
        with pytest.raises(InputFileError, match=message) as caught:
            s2tf_edge.load_model(tmp_path / name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99}, "has format 99, this version reads 1"),
        ({"clip": {"frames": 4}}, "clip spec is not valid"),
        ({"labels": None}, "is not a whole model file"),
        ({"network": "s2tf_r4d_10"}, "no network is named 's2tf_r4d_10'"),
        ({"num_classes": 3}, "labels must name 3 classes, got 2"),
        ({"state_dict": {}}, "Missing key"),
        ({"state_dict": {"weight": "heavy"}}, "something else than tensors"),
    ],
)
def test_explains_contents_that_do_not_fit(
    change: dict[str, object], message: str, model: VideoNetwork, tmp_path: Path
) -> None:
    path = tmp_path / "model.pt"
    save_model(path, model)
    torch.save(torch.load(path, weights_only=True) | change, path)
    with pytest.raises(InputFileError, match=message) as caught:
        s2tf_edge.load_model(path)
    assert "\n" not in str(caught.value)
