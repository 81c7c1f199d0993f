from __future__ import annotations

import math
from html.parser import HTMLParser
from pathlib import Path

import pytest

from s2tf_edge.calibration.sensitivity import LayerNoise
from s2tf_edge.errors import InputFileError
from s2tf_edge.export.sensitivity_page import check_page, sensitivity_page, write_sensitivity

_VOID = {"meta", "col"}
NOISES = [
    LayerNoise(layer="stem/Conv", snr_db=41.26),
    LayerNoise(layer='<b>"bold" & fat</b>/Conv', snr_db=12.0),
    LayerNoise(layer="alone/Conv", snr_db=math.nan),
    LayerNoise(layer="same/Conv", snr_db=math.inf),
    LayerNoise(layer="zero/Conv", snr_db=-math.inf),
    LayerNoise(layer="negative/Conv", snr_db=-3.04),
    *(LayerNoise(layer=f"block{index}/Conv", snr_db=30.0 + index) for index in range(20)),
]


class _Page(HTMLParser):
    """Collects the rows of the tables; every element but those without an end must be closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.bars: list[tuple[float, bool]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in {"td", "th"}:
            self.tables[-1][-1].append("")
        values = dict(attrs)
        if tag == "div":
            width = str(values["style"]).removeprefix("width: ").removesuffix("%")
            self.bars.append((float(width), values.get("class") == "low"))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in {"td", "th"}:
            self.tables[-1][-1][-1] += data


def test_every_layer_is_in_the_page_in_the_order_in_which_it_runs() -> None:
    page = _Page(sensitivity_page(NOISES))
    assert page.open == []
    worst, all_layers = ([row[0] for row in table[1:]] for table in page.tables)
    assert all_layers == [noise.layer for noise in NOISES]
    assert worst[:5] == ["alone/Conv", "zero/Conv", "negative/Conv", '<b>"bold" & fat</b>/Conv', "block0/Conv"]
    assert len(worst) == 10


def test_numbers_that_are_none_are_words() -> None:
    rows = {row[0]: row[1] for row in _Page(sensitivity_page(NOISES)).tables[1][1:]}
    assert rows["stem/Conv"] == "41.3"
    assert rows["negative/Conv"] == "−3.0"
    assert rows["alone/Conv"] == "does not run alone"
    assert rows["same/Conv"] == "no difference"
    assert rows["zero/Conv"] == "nothing but noise"
    assert not {"nan", "inf", "-inf"} & set(sensitivity_page(NOISES).lower().split())


def test_long_bars_are_harm_and_red_where_it_is_great() -> None:
    bars = dict(zip([noise.layer for noise in NOISES], _Page(sensitivity_page(NOISES)).bars[10:], strict=True))
    assert bars["stem/Conv"] == (48.4, False)
    assert bars["same/Conv"] == (0.0, False)
    assert bars["alone/Conv"] == (100.0, False)  # hatched: nothing is known
    assert bars["zero/Conv"] == bars["negative/Conv"] == (100.0, True)
    assert bars['<b>"bold" & fat</b>/Conv'] == (85.0, True)
    assert bars["block0/Conv"] == (62.5, False)
    assert bars["block0/Conv"][0] > bars["block1/Conv"][0]
    assert all(0 <= width <= 100 for width, _ in bars.values())


def test_few_layers_are_told_once() -> None:
    page = _Page(sensitivity_page(NOISES[:3]))
    assert [len(table) for table in page.tables] == [1 + 3]


def test_names_are_no_markup() -> None:
    text = sensitivity_page(NOISES)
    assert "<b>" not in text
    assert "&lt;b&gt;&quot;bold&quot; &amp; fat&lt;/b&gt;" in text


def test_the_page_needs_nothing_from_elsewhere() -> None:
    text = sensitivity_page(NOISES)
    assert "http" not in text
    assert "<script" not in text
    assert text.startswith("<!doctype html>")


def test_it_is_written_where_it_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "é page.html"
    check_page(path)
    write_sensitivity(path, NOISES)
    assert path.read_text(encoding="utf-8") == sensitivity_page(NOISES)
    check_page(path)


@pytest.mark.parametrize("name", ["nowhere/page.html", "file/page.html", "."])
def test_what_cannot_be_written_is_told_before_and_after(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputFileError, match=r"cannot write .*give another `sensitivity`"):
        check_page(tmp_path / name)
    with pytest.raises(InputFileError, match=r"cannot write .*give another `sensitivity`"):
        write_sensitivity(tmp_path / name, NOISES)
