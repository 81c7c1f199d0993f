from __future__ import annotations

import logging
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from s2tf_edge.calibration.quantizer import Drop, Quantizer
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
        time.sleep(self._form.milliseconds / 1e3)
        return Outputs(logits=np.full((len(clips), 2), self._form.error, np.float32))

    def _close(self) -> None:
        self._log.append(f"close {self.path.parent.name}")


@dataclass
class _Table(Quantizer):
    """Recipes whose results are known beforehand."""

    forms: dict[str, _Form]
    fallbacks: tuple[str, ...] = ()
    log: list[str] = field(default_factory=list)
    written: dict[str, frozenset[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.recipes = tuple(name for name in self.forms if name not in self.fallbacks)

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
        msg = "there are no labelled videos"
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
    slow, refused, wrong, fast, _ = attempts
    assert slow.milliseconds is not None
    assert fast.milliseconds is not None
    assert 2 <= fast.milliseconds < 6 < slow.milliseconds
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


@pytest.mark.parametrize(
    ("form", "tried"),
    [(_Form(), ["first"]), (_Form(error=1), ["first", "last"]), (_Form(refused="no"), ["first", "last"])],
)
def test_fallbacks_are_for_where_nothing_else_will_do(tmp_path: Path, form: _Form, tried: list[str]) -> None:
    quantizer = _Table({"first": form, "last": _Form()}, fallbacks=("last",))
    attempts = _tried(tmp_path, quantizer)
    assert [attempt.recipe for attempt in attempts] == tried
    assert rank(attempts)[0].recipe == tried[-1]


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


def test_sessions_take_turns(tmp_path: Path) -> None:
    """A machine that is slow for a while is so for all."""
    runs: list[str] = []

    class Told(_Session):
        def _run(self, clips: Clips) -> Outputs:
            runs.append(self.path.name)
            return super()._run(clips)

    sessions = [Told(tmp_path / name, _Form(milliseconds=wait), []) for name, wait in (("a", 1), ("b", 4))]
    for session in sessions:
        session.open()
    times = time_sessions(sessions)
    assert runs[::2] == ["a"] * (len(runs) // 2)
    assert runs[1::2] == ["b"] * (len(runs) // 2)
    assert len(runs) >= 10
    assert times[0] < 3 < times[1]
