"""metrics.csv and curves.png."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from s2tf_edge.training.curves import draw_curves
from s2tf_edge.training.metrics_file import Row, read_rows, write_rows


def _row(epoch: int, top1: float, **others: str) -> Row:
    means = {"train_loss": "1.5", "train_top1": "50", "val_loss": "1.7", "val_top1": f"{top1:g}"}
    return {"epoch": str(epoch), **means, **others, "lr": "0.002", "seconds": "1.0", "unreadable": "0"}


def test_rows_come_back_in_columns_that_fit_any_loss(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    rows = [_row(1, 40), _row(2, 60, train_mask_l1="3")]
    write_rows(path, rows)
    header = "epoch,train_loss,train_top1,train_mask_l1,val_loss,val_top1,lr,seconds,unreadable"
    assert path.read_text(encoding="utf-8").splitlines()[0] == header
    assert read_rows(path) == [rows[0] | {"train_mask_l1": ""}, rows[1]]


def test_a_row_that_was_cut_off_is_none(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,train_loss\n1,0.5\n,\n", encoding="utf-8")
    assert [row["epoch"] for row in read_rows(path)] == ["1"]
    assert read_rows(tmp_path / "none.csv") == []


def test_the_same_run_gives_the_same_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for name in ("a.png", "b.png"):
        draw_curves(tmp_path / name, [_row(1, 40), _row(2, 60), _row(3, 60)])
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_the_picture_has_both_sides_and_the_first_of_the_best_epochs() -> None:
    pytest.importorskip("matplotlib")
    from s2tf_edge.training.curves import make_figure

    loss, top1, rate = make_figure([_row(1, 40), _row(2, 60), _row(3, 60)]).axes
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["training", "validation"]
    assert [list(line.get_ydata()) for line in top1.get_lines()] == [[50, 50, 50], [40, 60, 60], [60]]
    assert top1.get_title(loc="right") == "best: 60.0 %, epoch 2"
    assert list(rate.get_lines()[0].get_ydata()) == [0.002] * 3


def test_without_validation_there_is_one_side(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from s2tf_edge.training.curves import make_figure

    row = {name: value for name, value in _row(1, 0).items() if not name.startswith("val_")}
    write_rows(tmp_path / "metrics.csv", [row])
    loss, top1, _ = make_figure(read_rows(tmp_path / "metrics.csv")).axes
    assert [len(axes.get_lines()) for axes in (loss, top1)] == [1, 1]


def test_no_run_depends_on_matplotlib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with caplog.at_level("DEBUG", logger="s2tf_edge"):
        draw_curves(tmp_path / "curves.png", [_row(1, 40)])
    assert caplog.messages[0].startswith("no curves.png: the picture of a run's curves needs the package 'matplotlib")
    assert list(tmp_path.iterdir()) == []
