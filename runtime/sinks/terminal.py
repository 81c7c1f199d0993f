"""What a stream looks like on a terminal while it runs.

● camera 0                                                 29.9 fps · 0:01:12
  wave1           ██████████████▌     72 %   wave2 11 % · bend 3 %
  label age 45 ms, p95 80 ms · 1 reconnect

● clips/walk.mp4                       0:12 of 0:28 · ×3.4 · 0:05 left
  ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╸━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━
  walk            ██████████████████  91 %   run 6 % · skip 1 %

197 waiting · 2 ended
p50   age 45 · decode 2.1 · scale 0.4 · infer 20 ms
event walk 0.91   0:03.20 to 0:08.92   clips/walk.mp4
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from time import perf_counter
from typing import Final

import numpy as np
from rich.bar import Bar
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from s2tf_edge.runtime.streaming.records import Event, Failure, Gap, Prediction, Record, SourceStatus, Start, Status
from s2tf_edge.words import counted, printable

__all__ = ["LiveView"]

_EVENTS: Final = 3
_RUNNERS_UP: Final = 2
_AGES: Final = 200
"""Labels over whose ages the percentiles are taken."""
_RATE_STATUSES: Final = 7
"""Status records over which frames a second and speed are taken."""
_REFRESH_SECONDS: Final = 0.1
_BEHIND: Final = ("waiting", "ended", "failed")
"""States of sources that are counted, not shown."""
_STYLES: Final = {"playing": "green", "lost": "yellow"}


class LiveView:
    """A sink that keeps a view of all active sources at the bottom of a terminal; it goes when the run ends.

    Lines that are logged to the same console, and those given to ``print_line``, appear above it.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._sources: list[_SourceView] = []
        self._threshold = 0.0
        self._status: Status | None = None
        self._events: deque[Event] = deque(maxlen=_EVENTS)
        self._refreshed_at = 0.0
        # Results on stdout may go to a file or pipe: they are none of the view's business.
        self._live = Live(
            console=console, auto_refresh=False, transient=True, redirect_stdout=False, get_renderable=self.__rich__
        )

    @staticmethod
    def fits(console: Console) -> bool:
        """Whether the console can show it: a terminal that moves its cursor and knows more than ASCII."""
        return console.is_terminal and not console.is_dumb_terminal and console.encoding.lower().startswith("utf")

    def write(self, record: Record) -> None:
        """Takes any record, and shows the new state if it is time."""
        if isinstance(record, Start):
            self._sources = [_SourceView(name, has_zones=bool(record.regions)) for name in record.sources]
            self._threshold = record.threshold
            self._live.start()
        elif isinstance(record, Status):
            self._status = record
            for view, status in zip(self._sources, record.sources, strict=True):
                view.take_status(status, seconds=record.seconds)
            self._refresh()
        elif isinstance(record, Prediction):
            self._sources[record.source].take_prediction(record)
            if perf_counter() - self._refreshed_at > _REFRESH_SECONDS:
                self._refresh()
        elif isinstance(record, Gap | Failure):
            self._sources[record.source].prediction = None
        elif isinstance(record, Event):
            self._events.append(record)

    def close(self) -> None:
        """Takes the view off the terminal."""
        self._live.stop()

    def print_line(self, text: str) -> None:
        """A line of results above the view, as it is."""
        self._console.print(printable(text), markup=False, highlight=False, emoji=False, soft_wrap=True)

    def __rich__(self) -> RenderableType:
        """The whole view, no higher than the terminal."""
        foot = list(self._foot())
        active = [view for view in self._sources if view.state not in _BEHIND]
        room = self._console.height - len(foot) - 2
        blocks = [[*view.full(self._threshold), Text()] for view in active]
        if sum(map(len, blocks)) > room:
            blocks = [[view.line(self._threshold)] for view in active[: max(1, room)]]
            hidden = len(active) - len(blocks)
            blocks.append([_line(f"… and {hidden} more", "dim")] if hidden else [])
        return Group(*(line for block in blocks for line in block), *foot)

    def _refresh(self) -> None:
        self._refreshed_at = perf_counter()
        self._live.refresh()

    def _foot(self) -> Iterator[Text]:
        counts = Counter(view.state for view in self._sources)
        behind = [f"{counts[state]} {state}" for state in _BEHIND if counts[state]]
        drops = self._status.drops if self._status else {}
        behind += [f"{count} {cause.replace('_', ' ')}" for cause, count in drops.items() if count]
        if behind:
            yield _line(" · ".join(behind), "dim")
        stages = self._status.stages_ms if self._status else {}
        if stages:
            # The label's age first: the others are its parts, and may be cut on a narrow terminal.
            names = sorted(stages, key=lambda stage: stage != "age")
            times = (f"{name} {_short(stages[name]['p50'])}" for name in names)
            yield _line(f"p50   {' · '.join(times)} ms", "dim")
        for event in self._events:
            times_shown = f"{_precise_clock(event.t_start)} to {_precise_clock(event.t_end)}"
            name = f"   {self._sources[event.source].name}" if len(self._sources) > 1 else ""
            line = Text.assemble(
                ("event ", "dim"), (printable(event.label), "bold"), f" {event.score:.2f}   {times_shown}", name
            )
            yield _cut(line)


class _SourceView:
    """What is known of one source."""

    def __init__(self, name: str, *, has_zones: bool) -> None:
        self.name = printable(name)
        self._has_zones = has_zones
        self.prediction: Prediction | None = None
        self._status: SourceStatus | None = None
        self._statuses: deque[tuple[float, SourceStatus]] = deque(maxlen=_RATE_STATUSES)
        self._ages_ms: deque[float] = deque(maxlen=_AGES)

    @property
    def state(self) -> str:
        return self._status.state if self._status else "waiting"

    def take_status(self, status: SourceStatus, *, seconds: float) -> None:
        self._status = status
        self._statuses.append((seconds, status))
        if status.state != "playing":
            self.prediction = None

    def take_prediction(self, prediction: Prediction) -> None:
        self.prediction = prediction
        self._ages_ms.append(prediction.age_ms)

    def full(self, threshold: float) -> list[RenderableType]:
        """Three or four lines."""
        lines: list[RenderableType] = [_row(self._title(), _cut(Text(self._figures(), "dim")))]
        if self._status and (duration_seconds := self._status.duration_seconds):
            done = self._status.done_seconds
            bar = ProgressBar(total=duration_seconds, completed=done, complete_style="cyan", finished_style="cyan")
            lines.append(Padding(bar, (0, 0, 0, 2)))
        lines.append(Padding(self._scores(threshold), (0, 0, 0, 2)))
        notes = self._notes()
        return [*lines, Padding(_line(notes, "dim"), (0, 0, 0, 2))] if notes else lines

    def line(self, threshold: float) -> RenderableType:
        """One line, for when there are many."""
        found = Text("…", "dim")
        if self.prediction is not None:
            found = _format_score(self._label(self.prediction), self.prediction.score, threshold)
        return _row(self._title(), _cut(found), _cut(Text(self._figures(), "dim")))

    def _title(self) -> Text:
        return _cut(Text.assemble(("● ", _STYLES.get(self.state, "dim")), (self.name, "bold")))

    def _scores(self, threshold: float) -> RenderableType:
        prediction = self.prediction
        if prediction is None:
            message = self._status.message if self._status else None
            return _line(message or ("no signal" if self.state == "lost" else "…"), _STYLES.get(self.state, "dim"))
        style = "cyan" if prediction.score >= threshold else "bright_black"
        others = " · ".join(
            f"{printable(label)} {100 * score:.0f} %" for label, score in prediction.best(1 + _RUNNERS_UP)[1:]
        )
        row = Table.grid(padding=(0, 2), expand=True)
        for ratio in (3, 4, None, 5):
            row.add_column(ratio=ratio, no_wrap=True, overflow="ellipsis")
        row.add_row(
            Text(self._label(prediction), "bold" if prediction.score >= threshold else "dim"),
            Bar(1.0, 0.0, prediction.score, color=style),
            f"{100 * prediction.score:3.0f} %",
            Text(others, "dim"),
        )
        return row

    def _label(self, prediction: Prediction) -> str:
        """With the name of a region that moves; a zone's is in the title."""
        moves = prediction.region is not None and not self._has_zones
        return printable(f"[{prediction.region}] {prediction.label}" if moves else prediction.label)

    def _figures(self) -> str:
        """How fast and how far."""
        if self._status is None or not self._status.frames or self.state != "playing":
            return self.state
        fps, speed = self._rates()
        done, duration_seconds = self._status.done_seconds, self._status.duration_seconds
        if duration_seconds is None:
            return f"{fps:.1f} fps · {_clock(self._status.position_seconds)}"
        left = f" · {_clock((duration_seconds - done) / speed)} left" if speed > 0 else ""
        return f"{_clock(done)} of {_clock(duration_seconds)} · ×{speed:.1f}{left}"

    def _notes(self) -> str:
        notes = []
        if self._ages_ms:
            median, high = np.percentile(self._ages_ms, (50, 95))
            notes.append(f"label age {median:.0f} ms, p95 {high:.0f} ms")
        for count, what in ((self._status.gaps, "gap"), (self._status.reconnects, "reconnect")) if self._status else ():
            if count:
                notes.append(counted(count, what))
        return " · ".join(notes)

    def _rates(self) -> tuple[float, float]:
        """Frames a second, and seconds of video a second, of late."""
        (before_seconds, before), (seconds, now) = self._statuses[0], self._statuses[-1]
        elapsed_seconds = seconds - before_seconds
        if elapsed_seconds <= 0:
            return 0.0, 0.0
        moved_seconds = max(0.0, now.done_seconds - before.done_seconds)
        return (now.frames - before.frames) / elapsed_seconds, moved_seconds / elapsed_seconds


def _row(*cells: Text) -> Table:
    """Cells side by side, the first as wide as there is room, the last at the right."""
    row = Table.grid(padding=(0, 2), expand=True)
    row.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    for _ in cells[1:]:
        row.add_column(justify="right", no_wrap=True, overflow="ellipsis")
    row.add_row(*cells)
    return row


def _format_score(label: str, score: float, threshold: float) -> Text:
    return Text(f"{label} {100 * score:.0f} %", "bold cyan" if score >= threshold else "dim")


def _line(text: str, style: str) -> Text:
    return _cut(Text(printable(text), style))


def _cut(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _short(milliseconds: float) -> str:
    return f"{milliseconds:.0f}" if milliseconds >= 10 else f"{milliseconds:.1f}"


def _clock(seconds: float) -> str:
    """``0:07``, ``12:34`` or ``1:02:03``."""
    whole = int(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


def _precise_clock(seconds: float) -> str:
    """``0:07.44``: to the hundredth, as lines of text have it, so that the same moment reads the same everywhere."""
    hundredths = round(100 * seconds)
    return f"{_clock(hundredths // 100)}.{hundredths % 100:02d}"
