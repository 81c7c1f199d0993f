import subprocess
import sys
from pathlib import Path

import pytest
import torch

from s2tf_edge.cli import import_checkpoint
from s2tf_edge.models import create_model, load_model

NAME = "r3d_10?width=0.03125&size=32"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A checkpoint as 3D-ResNets-PyTorch writes one, of a network without shortcuts that have weights."""
    state = create_model(NAME + "&shortcut=A", num_classes=3).state_dict()
    names = {"backbone.stem.0.conv": "conv1", "backbone.stem.0.norm": "bn1", "backbone.head.fc": "fc"}
    for stage in range(4):
        for step in range(2):
            ours, theirs = f"backbone.stages.{stage}.0.branch.{step}", f"layer{stage + 1}.0"
            names |= {f"{ours}.conv": f"{theirs}.conv{step + 1}", f"{ours}.norm": f"{theirs}.bn{step + 1}"}
    renamed = {f"{names[key.rpartition('.')[0]]}.{key.rpartition('.')[2]}": value for key, value in state.items()}
    path = tmp_path / "a chéckpoint.pth"
    torch.save({"state_dict": renamed}, path)
    return path


def run(*args: str | Path, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["s2tf-import", *map(str, args)])
    with pytest.raises(SystemExit, match=r"\d*") as caught:
        import_checkpoint.main()
    return int(caught.value.code or 0)


def test_writes_a_model_file(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "labels.txt").write_text("run\nwalk\njump\n")
    out = tmp_path / "out" / "model.pt"
    args = (checkpoint, "--model", f"s2tf_{NAME}&shortcut=A", "--labels", tmp_path / "labels.txt", "--out", out)
    assert run(*args, monkeypatch=monkeypatch) == 0
    said = capsys.readouterr().out
    assert "s2tf_r3d_10?width=0.03125&shortcut=A, 3 classes, clips of 16 × 32 × 32" in said
    assert "the saliency modules start fresh" in said
    assert "the classifier starts fresh" not in said
    assert load_model(out).labels == ("run", "walk", "jump")


def test_refuses_weights_that_do_not_fit_and_writes_nothing(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "model.pt"
    assert run(checkpoint, "--model", NAME, "--out", out, monkeypatch=monkeypatch) == 9
    assert "add the option shortcut=A" in capsys.readouterr().err
    assert not out.exists()


def test_a_new_head_is_said_to_start_fresh(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "model.pt"
    args = (checkpoint, "--model", f"{NAME}&shortcut=A", "--new-head", "5", "--out", out)
    assert run(*args, monkeypatch=monkeypatch) == 0
    assert "the classifier starts fresh" in capsys.readouterr().out
    assert load_model(out).num_classes == 5


@pytest.mark.parametrize(
    ("name", "model", "code", "message"),
    [
        ("none.pth", NAME, 9, "does not exist"),
        ("text.pth", NAME, 9, "is a text file; give a published checkpoint"),
        ("a chéckpoint.pth", "r4d", 2, "no network is named 'r4d'"),
    ],
)
def test_exit_codes(
    name: str,
    model: str,
    code: int,
    message: str,
    checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (checkpoint.parent / "text.pth").write_text("hello")
    assert run(checkpoint.parent / name, "--model", model, monkeypatch=monkeypatch) == code
    assert message in capsys.readouterr().err


@pytest.fixture
def full_checkpoint(tmp_path: Path) -> Path:
    """Weights of a network as it was published, and their running average, which is zero."""
    torch.manual_seed(0)
    state = create_model("mc3_18", num_classes=3).state_dict()
    names = {"backbone.stem.0.": "stem.", "backbone.head.fc.": "fc.", ".branch.0.": ".conv1.", ".branch.1.": ".conv2."}
    names |= {f"backbone.stages.{stage}.": f"layer{stage + 1}." for stage in range(4)}
    names |= {".shortcut.": ".downsample.", "conv.weight": "0.weight", "norm.": "1."}
    renamed = {}
    for key, value in state.items():
        for ours, theirs in names.items():
            key = key.replace(ours, theirs)
        renamed[key] = value
    averaged = {key: torch.zeros_like(value) for key, value in renamed.items()}
    path = tmp_path / "mc3.pth"
    torch.save({"model": renamed, "model_ema": averaged}, path)
    return path


def test_the_network_is_found_where_none_is_named(
    full_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "model.pt"
    assert run(full_checkpoint, "--out", out, monkeypatch=monkeypatch) == 0
    said = capsys.readouterr().out
    assert "mc3_18 is the one network that has such weights; --model names another form of it" in said
    assert "averaged weights (EMA) too, which were not taken; to take them give --ema" in said
    assert load_model(out).name == "mc3_18"


def test_averages_are_taken_on_request(
    full_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "model.pt"
    assert run(full_checkpoint, "--ema", "--model", "s2tf_mc3_18", "--out", out, monkeypatch=monkeypatch) == 0
    said = capsys.readouterr().out
    assert "averaged weights (EMA) taken" in said
    assert "the saliency modules start fresh" in said
    assert not load_model(out).get_parameter("backbone.head.fc.weight").any()


def test_averages_that_are_not_there_end_with_9(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(checkpoint, "--ema", "--model", NAME, monkeypatch=monkeypatch) == 9
    assert "holds no averaged weights (EMA); leave out --ema" in capsys.readouterr().err


def test_an_import_is_not_imported_again(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "model.pt"
    assert run(checkpoint, "--model", f"{NAME}&shortcut=A", "--out", out, monkeypatch=monkeypatch) == 0
    assert run(out, "--model", f"{NAME}&shortcut=A", "--out", tmp_path / "b.pt", monkeypatch=monkeypatch) == 9
    assert (
        "is a model.pt, not a published checkpoint of torch.save or safetensors; it needs no import"
        in capsys.readouterr().err
    )
    assert not (tmp_path / "b.pt").exists()


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("touched by a pickle"),))  # type: ignore[return-value]


def test_runs_no_code_of_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {"conv1.weight": torch.zeros(1)}, "hook": Evil()}, "evil.pth")
    assert run("evil.pth", "--model", NAME, monkeypatch=monkeypatch) == 9
    assert "holds Python objects beside tensors, which are refused" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["evil.pth"]


def test_another_depth_is_told_by_its_blocks(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    named = NAME.replace("10", "18") + "&shortcut=A"
    assert run(checkpoint, "--model", named, monkeypatch=monkeypatch) == 9
    assert "its stages have 1, 1, 1, 1 blocks where the network has 2, 2, 2, 2" in capsys.readouterr().err


def test_help_needs_no_torch() -> None:
    code = "import sys; sys.modules['torch'] = None; from s2tf_edge.cli.import_checkpoint import main; main()"
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "s2tf-import" in done.stdout
