from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from s2tf_edge.calibration import search
from s2tf_edge.calibration.base import Drop, Quantizer
from s2tf_edge.calibration.search import Attempt, rank, table, time_sessions, try_recipes
from s2tf_edge.errors import BuildError, UnsupportedError, UsageError, VerificationError
from s2tf_edge.runtime.session import Clips, ModelInfo, Outputs, Session, SessionOptions
from s2tf_edge.spec import ClipSpec

INFO = ModelInfo(
    name="n",
    network="n",
    target="onnx",
    precision="int8",
    spec=ClipSpec(frames=2, size=4),
    labels=("a", "b"),
)


class _Clock:
    """Stands in for the module ``time``: no time passes but what sessions take."""

    seconds = 0.0

    def perf_counter(self) -> float:
        return self.seconds

    def pass_milliseconds(self, milliseconds: float) -> None:
        self.seconds += milliseconds / 1e3


_clock = _Clock()


@pytest.fixture(autouse=True)
def _stopped_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is fastest must not depend on what else the machine does."""
    monkeypatch.setattr(_clock, "seconds", 0.0)
    monkeypatch.setattr(search, "time", _clock)


@dataclass(frozen=True, kw_only=True)
class _Form:
    """What a recipe comes to: how long a run takes, how far logits are off, and whether a compiler takes it."""

    milliseconds: float = 1.0
    error: float = 0.0
    refused: str = ""


class _Session(Session):
    backend: ClassVar[str] = "table"

    def __init__(self, path: Path, form: _Form, log: list[str]) -> None:
        super().__init__(path, INFO, SessionOptions())
        self._form = form
        self._log = log

    def _open(self) -> None:
        if self._form.refused:
            msg = f"cannot run {self.path}: {self._form.refused}"
            raise UnsupportedError(msg)
        self._log.append(f"open {self.path.parent.name}")

    def _run(self, clips: Clips) -> Outputs:
        _clock.pass_milliseconds(self._form.milliseconds)
        return Outputs(logits=np.full((len(clips), 2), self._form.error, np.float32))

    def _close(self) -> None:
        self._log.append(f"close {self.path.parent.name}")


@dataclass
class _Table(Quantizer):
    """Recipes whose results are known beforehand."""

    forms: dict[str, _Form]
    log: list[str] = field(default_factory=list)
    written: dict[str, frozenset[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.recipes = tuple(self.forms)

    def layers(self, recipe: str) -> tuple[str, ...]:
        return ("a", "b")

    def write(self, recipe: str, folder: Path, *, floats: Collection[str] = ()) -> Path:
        self.written[recipe] = frozenset(floats)
        path = folder / "form.txt"
        path.write_text(recipe)
        return path

    def session(self, path: Path) -> Session:
        return _Session(path, self.forms[path.read_text()], self.log)

    def describe(self, recipe: str) -> dict[str, Any]:
        return {}


class _Judge:
    """Accepts logits up to 0.1 off."""

    def complaint(self, session: Session) -> str | None:
        error = float(session.infer(np.zeros(INFO.spec.input_shape(), np.float32)).logits.max())
        return f"off by {error:.1f}" if error > 0.1 else None

    def drop(self, session: Session) -> Drop:
        msg = "there are no labeled videos"
        raise UsageError(msg)


def _tried(folder: Path, quantizer: _Table, floats: Collection[str] = ()) -> list[Attempt]:
    return try_recipes(quantizer, folder, judge=_Judge(), floats=floats)


def test_the_fastest_that_compiles_and_agrees_comes_first(tmp_path: Path) -> None:
    quantizer = _Table(
        {
            "slow": _Form(milliseconds=12),
            "refused": _Form(milliseconds=0, refused="No suitable implementations"),
            "wrong": _Form(milliseconds=0, error=3.0),
            "fast": _Form(milliseconds=2),
            "middling": _Form(milliseconds=6),
        }
    )
    attempts = _tried(tmp_path, quantizer, floats=("a",))
    assert [attempt.recipe for attempt in attempts] == list(quantizer.recipes)
    assert [attempt.recipe for attempt in rank(attempts)] == ["fast", "middling", "slow"]
    assert set(quantizer.written.values()) == {frozenset("a")}
    _, refused, wrong, fast, _ = attempts
    assert [attempt.milliseconds for attempt in attempts] == [12.0, None, None, 2.0, 6.0]
    assert (refused.result, refused.compiles, refused.path) == (
        "cannot run form.txt: No suitable implementations",
        False,
        None,
    )
    assert (wrong.result, wrong.compiles, wrong.milliseconds) == ("off by 3.0", True, None)
    assert fast.path is not None
    assert fast.path.read_text() == "fast"


def test_every_session_is_closed_again(tmp_path: Path) -> None:
    quantizer = _Table({"good": _Form(), "wrong": _Form(error=1), "better": _Form()})
    _tried(tmp_path, quantizer)
    opened = [line.removeprefix("open ") for line in quantizer.log if line.startswith("open")]
    closed = [line.removeprefix("close ") for line in quantizer.log if line.startswith("close")]
    assert len(opened) == 3
    assert sorted(opened) == sorted(closed)


def test_what_is_left_out_is_logged_with_the_reason(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        _tried(tmp_path, _Table({"x": _Form(refused="no kernel"), "y": _Form(error=2), "z": _Form()}))
    assert caplog.messages == [
        "int8, x: does not compile here (cannot run form.txt: no kernel)",
        "int8, y: does not agree with the network (off by 2.0)",
    ]


def test_logits_that_are_not_finite_are_a_complaint_and_no_end(tmp_path: Path) -> None:
    attempts = _tried(tmp_path, _Table({"burst": _Form(error=float("nan")), "good": _Form()}))
    assert attempts[0].compiles
    assert "logits that are not finite" in attempts[0].result
    assert [attempt.recipe for attempt in rank(attempts)] == ["good"]


def test_none_that_compiles_is_a_build_error_with_the_table(tmp_path: Path) -> None:
    attempts = _tried(tmp_path, _Table({"one": _Form(refused="no kernel"), "other": _Form(refused="no layout")}))
    with pytest.raises(BuildError, match=r"no int8 form .* compiles here; export it as fp16 instead") as raised:
        rank(attempts, mendable=True)
    assert str(raised.value).splitlines()[1:] == [
        "  one    cannot run form.txt: no kernel",
        "  other  cannot run form.txt: no layout",
    ]


def test_none_that_agrees_is_a_verification_error_with_the_table(tmp_path: Path) -> None:
    attempts = _tried(tmp_path, _Table({"one": _Form(refused="no kernel"), "other": _Form(error=1)}))
    with pytest.raises(VerificationError, match=r"no int8 form .* agrees with it; try more calibration") as raised:
        rank(attempts)
    assert str(raised.value).splitlines()[1:] == ["  one    cannot run form.txt: no kernel", "  other  off by 1.0"]


def test_what_compiles_may_be_mended(tmp_path: Path) -> None:
    forms = {"one": _Form(refused="no kernel"), "two": _Form(error=1), "three": _Form(error=2)}
    attempts = _tried(tmp_path, _Table(forms))
    assert [attempt.recipe for attempt in rank(attempts, mendable=True)] == ["two", "three"]


def test_an_attempt_is_told_in_a_line_and_in_json() -> None:
    attempts = [Attempt(recipe="long name", milliseconds=1.235), Attempt(recipe="short", result="no", compiles=False)]
    assert table(attempts) == ["  long name      1.24 ms", "  short      no"]
    assert [attempt.to_dict() for attempt in attempts] == [
        {"recipe": "long name", "result": "ok", "ms": 1.235},
        {"recipe": "short", "result": "no", "ms": None},
    ]


def _timed(folder: Path, waits: Sequence[Callable[[int], float]]) -> tuple[list[float], list[str]]:
    """Times of sessions ``a``, ``b`` and so on, and who ran when; each is told how often it ran and says how long."""
    runs: list[str] = []

    class Told(_Session):
        def _run(self, clips: Clips) -> Outputs:
            name = self.path.name
            runs.append(name)
            _clock.pass_milliseconds(waits["abc".index(name)](runs.count(name)))
            return Outputs(logits=np.zeros((len(clips), 2), np.float32))

    sessions = [Told(folder / name, _Form(), []) for name in "abc"[: len(waits)]]
    for session in sessions:
        session.open()
    return time_sessions(sessions), runs


def test_sessions_take_turns(tmp_path: Path) -> None:
    """A machine that is slow for a while is so for all."""
    times, runs = _timed(tmp_path, [lambda _: 1.0, lambda _: 4.0])
    turns = runs[4:]
    assert turns[::2] == ["a"] * (len(turns) // 2)
    assert turns[1::2] == ["b"] * (len(turns) // 2)
    assert len(turns) >= 10
    assert times == [1.0, 4.0]


def test_those_close_to_the_fastest_go_on(tmp_path: Path) -> None:
    """The slowest is out of it after the first rounds."""
    times, runs = _timed(tmp_path, [lambda _: 20.0, lambda _: 30.0, lambda _: 20.5])
    assert runs.count("a") == runs.count("c") >= runs.count("b") + 10
    assert runs[-2:] == ["a", "c"]
    assert times == [20.0, 30.0, 20.5]


def test_what_the_machine_does_besides_does_not_count(tmp_path: Path) -> None:
    """Every other run of the faster one takes ten times as long as the slower one."""
    times, _ = _timed(tmp_path, [lambda run: 60.0 if run % 2 else 3.0, lambda _: 6.0])
    assert times == [3.0, 6.0]


def test_slow_sessions_run_less_often(tmp_path: Path) -> None:
    _, quick = _timed(tmp_path, [lambda _: 20.0, lambda _: 21.0])
    _, slow = _timed(tmp_path, [lambda _: 2000.0, lambda _: 2100.0])
    assert quick.count("a") > 2 * slow.count("a") > 20
    assert slow.count("a") == slow.count("b")


def test_nothing_to_time_takes_no_time() -> None:
    assert time_sessions([]) == []
