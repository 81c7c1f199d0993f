"""The page of ``--sensitivity``: what quantizing each layer alone does to the logits, as bars and as a table."""

from __future__ import annotations

import html
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from s2tf_edge.calibration.sensitivity import LayerNoise, worst_first
from s2tf_edge.errors import InputFileError
from s2tf_edge.text_file import write_text

__all__ = ["check_page", "sensitivity_page", "write_sensitivity"]

_NO_BAR_DB: Final = 80.0
"""Signal-to-noise ratio of a bar of no length: what is better does not matter any more. The longest is of 0 dB."""
_LOW_DB: Final = 20.0
"""Below this, noise is more than a tenth of the signal: such bars are red."""
_WORST: Final = 10
_STYLE: Final = """
:root { color-scheme: light dark }
body { font: 1rem/1.55 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem;
  background: light-dark(#fcfcfa, #15171a); color: light-dark(#1b1d1f, #e8e9ea) }
p { max-width: 46rem }
table { border-collapse: collapse; width: 100%; table-layout: fixed; font-size: .92rem }
td, th { padding: .15rem .6rem .15rem 0; text-align: left; vertical-align: middle }
th { color: light-dark(#5b6168, #9ea5ad); font-weight: 600 }
tr + tr { border-top: 1px solid light-dark(#dadbd6, #353a40) }
col.name { width: 45% } col.number { width: 8rem } td { overflow-wrap: anywhere }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums }
.bar div { height: .8rem; border-radius: 2px; background: light-dark(#0b5cad, #6cb0ff) }
.bar div.low { background: light-dark(#b3261e, #ff8a80) }
.bar div.unknown { background: repeating-linear-gradient(45deg, #888 0 2px, transparent 2px 8px) }
@media (max-width: 40rem) { col.name { width: 40% } col.number { width: 5.5rem } }
@media print { .bar div { print-color-adjust: exact } }
"""


def check_page(path: Path) -> None:
    """Whether the page can be written, before minutes of measuring.

    Raises:
        InputFileError: its folder is not there or may not be written, or the path is a folder itself.
    """
    folder = path.absolute().parent
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        msg = f"cannot write {path}: its folder must exist and be writable; give another `sensitivity`, such as a.html"
        raise InputFileError(msg)


def write_sensitivity(path: Path, noises: Sequence[LayerNoise]) -> None:
    """Writes the page.

    Raises:
        InputFileError: the file cannot be written.
    """
    try:
        write_text(path, sensitivity_page(noises))
    except OSError as error:
        msg = f"cannot write {path}: {error.strerror}; give another `sensitivity`"
        raise InputFileError(msg) from error


def sensitivity_page(noises: Sequence[LayerNoise]) -> str:
    """One self-contained page: all layers in the order in which they run, before them the ten worst of many."""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sensitivity to int8</title><style>{_STYLE}</style></head><body>
<h1>Sensitivity to int8</h1>
<p>Each layer was quantized alone, and the logits compared with those of the network in float on a few calibration
clips. A long bar is harm: the longest is noise as large as the signal (0 dB) or larger. At 20 dB noise is a tenth of
the signal, at 40 dB a hundredth; below 20 dB bars are red.
With <code>--max-drop</code> the most sensitive layers are the first to return to float, after the saliency path;
<code>--exclude</code> takes their names.</p>
{_worst(noises)}<h2>All {len(noises)} layers, in the order in which they run</h2>
{_table(noises)}
</body></html>
"""


def _worst(noises: Sequence[LayerNoise]) -> str:
    if len(noises) <= _WORST:
        return ""
    by_name = {noise.layer: noise for noise in noises}
    worst = [by_name[name] for name in worst_first(noises)[:_WORST]]
    return f"<h2>The {_WORST} most sensitive</h2>\n{_table(worst)}\n"


def _table(noises: Sequence[LayerNoise]) -> str:
    rows = "\n".join(_row(noise) for noise in noises)
    columns = '<colgroup><col class="name"><col class="number"><col></colgroup>'
    head = '<tr><th>layer</th><th class="number">SNR in dB</th><th></th></tr>'
    return f"<table>{columns}\n{head}\n{rows}\n</table>"


def _row(noise: LayerNoise) -> str:
    snr = noise.snr_db
    width = 100.0 if math.isnan(snr) else 100 * min(max(1 - snr / _NO_BAR_DB, 0.0), 1.0)
    kind = ' class="low"' if snr < _LOW_DB else ' class="unknown"' if math.isnan(snr) else ""
    bar = f'<div{kind} style="width: {width:.1f}%"></div>'
    name = html.escape(noise.layer)
    return f'<tr><td>{name}</td><td class="number">{_words(snr)}</td><td class="bar">{bar}</td></tr>'


def _words(snr_db: float) -> str:
    if math.isnan(snr_db):
        return "does not run alone"
    if math.isinf(snr_db):
        return "no difference" if snr_db > 0 else "nothing but noise"
    return f"{snr_db:.1f}".replace("-", "−")
