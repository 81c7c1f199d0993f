import json
import subprocess
import sys

import pytest

from s2tf_edge.cli import models
from s2tf_edge.models import list_models


def run(*args: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["s2tf-models", *args])
    with pytest.raises(SystemExit, match=r"\d*") as caught:
        models.main()
    return int(caught.value.code or 0)


def test_prints_a_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("*nl_i3d_r50", monkeypatch=monkeypatch) == 0
    heading, *rows = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in rows[:3]] == ["nl_i3d_r50", "ssf_nl_i3d_r50", "s2tf_nl_i3d_r50"]
    assert [row.split()[4:6] for row in rows[:3]] == [["35.4", "36.54"], ["46.4", "56.27"], ["46.5", "57.40"]]
    assert rows[2].endswith(
        "Kinetics-400 74.8 (Liu et al. 2025); UCF101 95.1 (Liu et al. 2025); HMDB51 80.9 (Liu et al. 2025)"
    )
    assert heading.index("published top-1") == rows[2].index("Kinetics-400")
    assert "400 classes" in rows[-1]


def test_prints_one_json_object(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("s2tf_r3d_1[08]", "r3d_10?width=0.5&frames=8&size=64", "s2tf_r3d_10")
    assert run(*names, "--classes", "7", "--json", monkeypatch=monkeypatch) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["classes"] == 7
    rows = {row["name"]: row for row in found["networks"]}
    assert list(rows) == ["s2tf_r3d_10", "s2tf_r3d_18", "r3d_10?width=0.5&frames=8&size=64"]
    small, whole = rows["r3d_10?width=0.5&frames=8&size=64"], rows["s2tf_r3d_10"]
    assert (small["frames"], small["size"]) == (8, 64)
    assert small["parameters"] < whole["parameters"] / 3
    assert whole["inference_macs"] < whole["training_macs"] < whole["published_macs"]
    assert whole["saved"] == pytest.approx(1 - whole["inference_macs"] / whole["published_macs"], abs=1e-4)


def test_an_unknown_name_is_wrong_usage(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("resnext*", monkeypatch=monkeypatch) == 2
    told = capsys.readouterr().err
    assert "no network is named 'resnext*'; there are " in told
    assert ", nl_i3d_r50, " in told


def test_lists_every_network(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--json", monkeypatch=monkeypatch) == 0
    rows = json.loads(capsys.readouterr().out)["networks"]
    assert [row["name"] for row in rows] == list_models()
    assert all(0 < row["inference_macs"] <= row["training_macs"] <= row["published_macs"] for row in rows)


def without_torch(*words: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; sys.modules['torch'] = None; from s2tf_edge.cli.models import main; main()"
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)


def test_listing_needs_no_torch() -> None:
    done = without_torch("s2tf_x3d_*")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\ns2tf_x3d_") == 4


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["x3d_xs?width=0.5"], 7, "pip install 's2tf-edge[train]'"),
        (["x3d_xs", "--classes", "5"], 7, "pip install 's2tf-edge[train]'"),
        (["x4d"], 2, "no network is named 'x4d'; there are "),
        (["x4d?width=2"], 2, "no network is named 'x4d'; there are "),
    ],
)
def test_what_takes_torch_says_so(words: list[str], code: int, said: str) -> None:
    done = without_torch(*words)
    assert done.returncode == code
    assert said in done.stderr


def test_help_needs_no_torch() -> None:
    done = without_torch("--help")
    assert done.returncode == 0, done.stderr
    assert "s2tf-models" in done.stdout
