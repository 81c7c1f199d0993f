"""Prometheus' own parser reads what is written for it."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

from prometheus_client.parser import text_string_to_metric_families

from s2tf_edge.runtime.streaming.records import Record
from s2tf_edge.runtime.web.metrics import Metrics

HOSTILE = 'a "door"\\ \n{}'


def _text(*records: Record) -> str:
    metrics = Metrics(missed=lambda: 3)
    for record in records:
        metrics.write(record)
    return metrics.text().decode()


def _samples(text: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def test_an_empty_stream_has_metrics_too() -> None:
    assert _samples(_text())["s2tf_web_missed_total"] == [({}, 3.0)]


def test_what_the_stream_counts_is_there(make: SimpleNamespace) -> None:
    lost = make.source_status("yard", "lost", frames=9)
    samples = _samples(_text(make.start("front door", "yard"), make.status(make.source_status(), lost)))
    assert samples["s2tf_up"] == [
        ({"source": "front door", "index": "0"}, 1.0),
        ({"source": "yard", "index": "1"}, 0.0),
    ]
    assert [value for _, value in samples["s2tf_frames_total"]] == [50.0, 9.0]
    assert [value for _, value in samples["s2tf_reconnects_total"]] == [2.0, 2.0]
    assert samples["s2tf_drops_total"] == [({"cause": "windows_superseded"}, 7.0)]
    assert ({"stage": "age", "quantile": "0.95"}, 0.18) in samples["s2tf_stage_latency_seconds"]
    assert samples["s2tf_stream_info"][0][0]["network"] == "x3d_s"


def test_predictions_and_events_are_counted(make: SimpleNamespace) -> None:
    records = [make.start(), make.prediction(), make.prediction(), make.event("waving"), make.event("sitting")]
    samples = _samples(_text(*records))
    assert samples["s2tf_label_age_seconds_count"] == [({"source": "front door", "index": "0"}, 2.0)]
    below = {labels["le"]: value for labels, value in samples["s2tf_label_age_seconds_bucket"]}
    assert (below["0.1"], below["0.2"], below["+Inf"]) == (0.0, 2.0, 2.0)
    assert {labels["label"] for labels, _ in samples["s2tf_events_total"]} == {"waving", "sitting"}


def test_names_are_escaped_and_need_not_be_unique(make: SimpleNamespace) -> None:
    samples = _samples(_text(make.start(HOSTILE, HOSTILE), make.event(HOSTILE), make.event(HOSTILE, source=1)))
    labels = [labels for labels, _ in samples["s2tf_events_total"]]
    assert labels == [{"source": HOSTILE, "index": str(index), "label": HOSTILE} for index in (0, 1)]


def test_each_metric_is_described_once(make: SimpleNamespace) -> None:
    lines = _text(make.start(), make.prediction(), make.event(), make.status()).splitlines()
    helped = [line.split()[2] for line in lines if line.startswith("# HELP")]
    assert helped == [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(set(helped)) == len(helped)
    assert not [name for name in helped if name.endswith("_created") or not name.startswith("s2tf_")]


def test_each_metric_is_documented(make: SimpleNamespace) -> None:
    names = _samples(_text(make.start(), make.prediction(), make.event(), make.status()))
    documented = (Path(__file__).parents[3] / "docs/web.md").read_text(encoding="utf-8")
    metrics = {re.sub("_(bucket|count|sum)$", "", name) for name in names}
    assert metrics == set(re.findall(r"`(s2tf_\w+)`", documented))
