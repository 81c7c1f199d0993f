"""The live view, as a terminal of a given size shows it."""

from __future__ import annotations

import io
import logging
import sys
from dataclasses import replace

import pytest
from rich.console import Console
from rich.logging import RichHandler

from s2tf_edge.runtime.sinks.terminal import LiveView
from s2tf_edge.runtime.streaming.records import Event, Failure, Gap, Prediction, Record, SourceStatus, Start, Status
from s2tf_edge.spec import ClipSpec


def _start(*sources: str) -> Start:
    return Start(
        artifact="a",
        network="n",
        target="onnx",
        precision="fp32",
        clip=ClipSpec(frames=4, size=32),
        labels=3,
        hop=1,
        policy="auto",
        smooth="none",
        threshold=0.5,
        sources=sources,
    )


def _prediction(
    label: str = "walk", score: float = 0.75, *, source: int = 0, at: float = 0.0, age_ms: float = 40.0
) -> Prediction:
    topk = ((label, score), ("run", 0.2), ("jump", 0.05), ("bend", 0.01))
    return Prediction(
        source=source,
        t_start=at,
        t_end=at + 1,
        label=label,
        score=score,
        topk=topk,
        age_ms=age_ms,
        infer_ms=1.0,
    )


def _source(
    name: str = "x",
    *,
    state: str = "playing",
    frames: int = 0,
    position: float = 0.0,
    first: float = 0.0,
    duration: float | None = None,
    reconnects: int = 0,
    message: str | None = None,
) -> SourceStatus:
    return SourceStatus(
        name=name,
        state=state,
        frames=frames,
        windows=0,
        gaps=0,
        reconnects=reconnects,
        position_seconds=position,
        duration_seconds=duration,
        message=message,
        first_seconds=first,
    )


def _status(seconds: float, *sources: SourceStatus, drops: dict[str, int] | None = None) -> Status:
    stages = {"infer": {"p50": 20.14}, "smooth": {"p50": 0.31}, "age": {"p50": 45.0}}
    return Status(seconds=seconds, drops=drops or {}, stages_ms=stages, sources=sources)


def _console(width: int = 100, height: int = 30) -> Console:
    return Console(
        file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None, legacy_windows=False
    )


def _shown(*records: Record, width: int = 100, height: int = 30) -> list[str]:
    view = LiveView(_console(width, height))
    try:
        for record in records:
            view.write(record)
    finally:
        view.close()
    plain = Console(file=io.StringIO(), width=width, height=height, color_system=None)
    with plain.capture() as capture:
        plain.print(view)
    return [line.rstrip() for line in capture.get().splitlines()]


def test_a_camera_shows_its_rate_its_label_and_the_label_s_age() -> None:
    lines = _shown(
        _start("camera 0"),
        _status(1.0, _source(frames=10, position=1.0)),
        _prediction(age_ms=40.0),
        _prediction(age_ms=80.0),
        _status(3.0, _source(frames=70, position=75.0, reconnects=1)),
    )
    assert lines[0].startswith("● camera 0 ")
    assert lines[0].endswith(" 30.0 fps · 1:15")
    assert lines[1].split() == ["walk", lines[1].split()[1], "75", "%", "run", "20", "%", "·", "jump", "5", "%"]
    assert lines[2].strip() == "label age 60 ms, p95 78 ms · 1 reconnect"
    assert lines[-1] == "p50   age 45 · infer 20 · smooth 0.3 ms"


def test_what_rounds_to_nothing_is_not_shown() -> None:
    topk = (("walk", 0.98), ("run", 0.016), ("jump", 0.004))
    lines = _shown(_start("x"), _status(1.0, _source(frames=1)), replace(_prediction(score=0.98), topk=topk))
    assert lines[1].endswith("98 %  run 2 %")


def test_a_higher_score_has_a_longer_bar() -> None:
    def bar(score: float) -> int:
        return _shown(_start("x"), _status(1.0, _source(frames=1)), _prediction(score=score))[1].count("█")

    assert bar(0.1) < bar(0.5) < bar(1.0)


def test_a_file_shows_how_far_it_is_and_how_long_it_takes() -> None:
    # Its times do not start at zero, and it is read from before the first window that was run.
    lines = _shown(
        _start("clip.mp4"),
        _status(1.0, _source(state="waiting", duration=60.0)),
        _prediction(at=104.0),
        _status(6.0, _source(frames=500, position=120.0, first=100.0, duration=60.0)),
    )
    assert lines[0].endswith(" 0:20 of 1:00 · ×4.0 · 0:10 left")
    assert lines[1].count("━") == pytest.approx(98 / 3, abs=1)
    assert lines[2].split()[0] == "walk"


def test_events_name_their_source_where_there_are_several() -> None:
    event = Event(source=1, label="wave", t_start=3.24, t_end=3659.996, score=0.83)
    assert _shown(_start("x", "y"), event)[-1] == "event wave 0.83   0:03.24 to 1:01:00.00   y"
    assert _shown(_start("x"), Event(source=0, label="wave", t_start=0, t_end=1, score=0.8))[-1].endswith("0:01.00")


def test_drops_are_told_by_cause() -> None:
    lines = _shown(_start("x"), _status(1.0, _source(frames=1), drops={"windows_superseded": 12, "windows_late": 0}))
    assert "12 windows superseded" in lines
    assert not any("late" in line for line in lines)


@pytest.mark.parametrize(
    "loss",
    [
        Gap(source=0, t_start=1.0, t_end=5.0),
        Failure(source=0, name="x", message="gone", exit_code=8),
        _status(2.0, _source(state="lost", frames=1)),
    ],
)
def test_the_label_goes_with_the_signal(loss: Record) -> None:
    lines = _shown(_start("x"), _status(1.0, _source(frames=1)), _prediction("walk"), loss)
    assert not any("walk" in line for line in lines)


def test_a_lost_source_says_so_and_why() -> None:
    lost = _source(state="lost", frames=5, message="connection refused")
    first, second, *_ = _shown(_start("x"), _status(1.0, lost))
    assert first.split() == ["●", "x", "lost"]
    assert second.strip() == "connection refused"
    assert _shown(_start("x"), _status(1.0, _source(state="lost", frames=5)))[1].strip() == "no signal"


def test_of_a_folder_the_file_that_plays_is_shown_and_the_others_are_counted() -> None:
    names = [f"{index}.mp4" for index in range(200)]
    states = ["ended"] * 2 + ["failed", "playing"] + ["waiting"] * 196
    sources = [_source(name, state=state, frames=1) for name, state in zip(names, states, strict=True)]
    lines = _shown(_start(*names), _status(1.0, *sources), _prediction(source=3))
    assert lines[0].startswith("● 3.mp4")
    assert "196 waiting · 2 ended · 1 failed" in lines
    assert len(lines) < 10


@pytest.mark.parametrize("height", [3, 12, 30])
def test_many_cameras_never_make_it_higher_than_the_terminal(height: int) -> None:
    names = [f"camera {index}" for index in range(20)]
    sources = [_source(name, frames=1) for name in names]
    predictions = [_prediction(source=index) for index in range(20)]
    lines = _shown(_start(*names), _status(1.0, *sources), *predictions, height=height)
    assert lines[0].startswith("● camera 0")
    assert "walk 75 %" in lines[0]
    if height > 3:
        assert len(lines) < height
    assert any("more" in line for line in lines) == (height < 25)


@pytest.mark.parametrize("width", [12, 30, 45])
def test_a_narrow_terminal_cuts_lines_and_wraps_none(width: int) -> None:
    records = (
        _start("a camera with a long name", "y.mp4"),
        _status(1.0, _source(frames=1), _source(frames=1, duration=9.0)),
        _prediction("playing squash or racquetball"),
        _prediction(source=1),
        Event(source=0, label="playing squash or racquetball", t_start=0, t_end=1, score=0.8),
        _status(2.0, _source(frames=30), _source(frames=30, position=1.0, duration=9.0)),
    )
    lines, wide = _shown(*records, width=width), _shown(*records, width=200)
    assert max(map(len, lines)) <= width
    assert len(lines) == len(wide)


def test_names_and_labels_are_no_markup() -> None:
    label = "[red]прыжок[/red] :smile: [/]"
    event = Event(source=0, label=label, t_start=0, t_end=1, score=0.8)
    records = _start("[bold]x[/bold]"), _status(1.0, _source(frames=1)), _prediction(label), event
    text = "\n".join(_shown(*records, width=160))
    assert text.count(label) == 2
    assert "[bold]x[/bold]" in text


def test_lines_of_results_and_of_the_log_stay_above_it() -> None:
    console = _console()
    view = LiveView(console)
    handler = RichHandler(console=console, show_path=False, show_time=False, show_level=False)
    view.write(_start("x"))
    view.print_line("a result [of] :smile: " + "x" * 200)
    handler.emit(logging.LogRecord("x", logging.WARNING, "", 0, "a line of the log", None, None))
    view.write(_status(1.0, _source(frames=1)))
    view.close()
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "a result [of] :smile: " + "x" * 200 + "\n" in text
    assert text.index("a line of the log") < text.rindex("●")


def test_stdout_stays_what_it_is() -> None:
    before = sys.stdout
    view = LiveView(_console())
    view.write(_start("x"))
    assert sys.stdout is before
    view.close()


def test_it_takes_itself_off_the_terminal() -> None:
    console = _console()
    view = LiveView(console)
    view.write(_start("x"))
    view.write(_status(1.0, _source(frames=1)))
    view.close()
    assert isinstance(console.file, io.StringIO)
    assert "\x1b[2K" in console.file.getvalue().rsplit("p50", maxsplit=1)[-1]


def test_it_is_for_terminals_only() -> None:
    assert LiveView.fits(Console(file=_Utf8(), force_terminal=True, _environ={}))
    assert not LiveView.fits(Console(file=_Utf8(), force_terminal=False, _environ={}))
    assert not LiveView.fits(Console(file=_Utf8(), force_terminal=True, _environ={"TERM": "dumb"}))
    assert not LiveView.fits(
        Console(file=io.TextIOWrapper(io.BytesIO(), encoding="ascii"), force_terminal=True, _environ={})
    )


class _Utf8(io.StringIO):
    encoding = "utf-8"
