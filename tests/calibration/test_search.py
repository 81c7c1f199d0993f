from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from s2tf_edge.calibration import search
from s2tf_edge.calibration.audit import Audit, FloatLayer, Tally
from s2tf_edge.calibration.base import Quantizer
from s2tf_edge.calibration.candidates import Candidate
from s2tf_edge.calibration.search import rank_candidates, time_sessions, try_presets
from s2tf_edge.errors import BuildError, UnsupportedError, UsageError, VerificationError
from s2tf_edge.runtime.evaluation.accuracy import Drop
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
    """What a preset comes to: how long a run takes, how far logits are off, and whether a compiler takes it."""

    milliseconds: float = 1.0
    error: float = 0.0
    refused: str = ""
    integer: int = 2
    """Layers of two that compute in integers."""


class _Session(Session):
    backend: ClassVar[str] = "table"

    def __init__(self, path: Path, form: _Form, log: list[str], *, batch: int | None = None) -> None:
        super().__init__(path, dataclasses.replace(INFO, batch=batch), SessionOptions())
        self.form = form
        self._log = log

    def _open(self) -> None:
        if self.form.refused:
            msg = f"cannot run {self.path}: {self.form.refused}"
            raise UnsupportedError(msg)
        self._log.append(f"open {self.path.parent.name}")

    def _run(self, clips: Clips) -> Outputs:
        _clock.pass_milliseconds(self.form.milliseconds)
        return Outputs(logits=np.full((len(clips), 2), self.form.error, np.float32))

    def _close(self) -> None:
        self._log.append(f"close {self.path.parent.name}")


@dataclass
class _Table(Quantizer):
    """Presets whose results are known beforehand."""

    forms: dict[str, _Form]
    log: list[str] = field(default_factory=list)
    written: dict[str, frozenset[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.presets = tuple(self.forms)

    def list_layers(self, preset: str) -> tuple[str, ...]:
        return ("a", "b")

    def write(self, preset: str, folder: Path, *, excluded: Collection[str] = ()) -> Path:
        self.written[preset] = frozenset(excluded)
        path = folder / "form.txt"
        path.write_text(preset)
        return path

    def make_session(self, path: Path) -> Session:
        return _Session(path, self.forms[path.read_text()], self.log)

    def audit(self, session: Session) -> Audit:
        assert isinstance(session, _Session)
        left = [FloatLayer(name=name, type="f32", reason="there is no kernel") for name in ("a", "b")]
        convolutions = Tally(integer=session.form.integer, total=2, rest=tuple(left[session.form.integer :]))
        return Audit(convolutions=convolutions, matrix_products=Tally(integer=0, total=0, rest=()))

    def describe(self, preset: str) -> dict[str, Any]:
        return {}


class _Judge:
    """Accepts logits up to 0.1 off."""

    def find_disagreement(self, session: Session) -> str | None:
        error = float(session.infer(np.zeros(INFO.spec.input_shape(), np.float32)).logits.max())
        return f"off by {error:.1f}" if error > 0.1 else None

    def measure_drop(self, session: Session) -> Drop:
        msg = "there are no labeled videos"
        raise UsageError(msg)


def _tried(folder: Path, quantizer: _Table, excluded: Collection[str] = ()) -> list[Candidate]:
    return try_presets(quantizer, folder, judge=_Judge(), excluded=excluded)


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
    candidates = _tried(tmp_path, quantizer, excluded=("a",))
    assert [candidate.name for candidate in candidates] == list(quantizer.presets)
    assert [candidate.name for candidate in rank_candidates(candidates)] == ["fast", "middling", "slow"]
    assert set(quantizer.written.values()) == {frozenset("a")}
    _, refused, wrong, fast, _ = candidates
    assert [candidate.milliseconds for candidate in candidates] == [12.0, None, None, 2.0, 6.0]
    assert (refused.result, refused.path) == ("cannot run form.txt: No suitable implementations", None)
    assert (wrong.result, wrong.written.read_text(), wrong.milliseconds) == ("off by 3.0", "wrong", None)
    assert fast.written.read_text() == "fast"


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
    candidates = _tried(tmp_path, _Table({"burst": _Form(error=float("nan")), "good": _Form()}))
    assert candidates[0].path is not None
    assert "logits that are not finite" in candidates[0].result
    assert [candidate.name for candidate in rank_candidates(candidates)] == ["good"]


def test_a_form_without_integers_is_no_candidate(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """However fast, and right in every logit."""
    with caplog.at_level(logging.WARNING):
        candidates = _tried(tmp_path, _Table({"float": _Form(milliseconds=0.1, integer=0), "half": _Form(integer=1)}))
    assert [candidate.name for candidate in rank_candidates(candidates)] == ["half"]
    assert [candidate.integer_layers for candidate in candidates] == [0, 1]
    assert candidates[0].result == "no layer is integer: all 2 convolutions: there is no kernel"
    assert caplog.messages == [
        "int8, float: computes no layer in integers (all 2 convolutions: there is no kernel)",
    ]


def test_once_time_is_over_no_further_preset_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But as many as it takes to find one that is good."""
    monkeypatch.setattr(search, "_TRYING_SECONDS", 0.0)
    quantizer = _Table({"refused": _Form(refused="x"), "wrong": _Form(error=1), "good": _Form(), "late": _Form()})
    candidates = _tried(tmp_path, quantizer)
    assert list(quantizer.written) == ["refused", "wrong", "good"]
    assert candidates[-1].result.startswith("not tried: those before it took ")
    assert [candidate.name for candidate in rank_candidates(candidates)] == ["good"]


def test_what_is_tried_and_timed_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        _tried(tmp_path, _Table({"x": _Form(), "y": _Form()}))
    assert caplog.messages == ["int8, 1 of 2: trying x", "int8, 2 of 2: trying y", "int8, timing 2 forms"]


@pytest.mark.parametrize("may_return_layers", [False, True])
def test_forms_without_integers_alone_are_refused(tmp_path: Path, may_return_layers: bool) -> None:
    candidates = _tried(tmp_path, _Table({"x": _Form(integer=0), "y": _Form(refused="no kernel")}))
    with pytest.raises(UnsupportedError, match="computes any layer in integers; export it as fp16 or fp32") as raised:
        rank_candidates(candidates, may_return_layers=may_return_layers)
    assert re.findall(r"(?:tried|;) (\w): ", str(raised.value)) == ["x", "y"]


def test_none_that_compiles_is_a_build_error_with_the_table(tmp_path: Path) -> None:
    candidates = _tried(tmp_path, _Table({"one": _Form(refused="no kernel"), "other": _Form(refused="no layout")}))
    with pytest.raises(BuildError, match=r"no int8 form .* compiles here; export it as fp16 instead") as raised:
        rank_candidates(candidates, may_return_layers=True)
    tried = "one: cannot run form.txt: no kernel; other: cannot run form.txt: no layout"
    assert str(raised.value).endswith(f"; tried {tried}")


def test_none_that_agrees_is_a_verification_error_with_the_table(tmp_path: Path) -> None:
    candidates = _tried(tmp_path, _Table({"one": _Form(refused="no kernel"), "other": _Form(error=1)}))
    with pytest.raises(VerificationError, match=r"no int8 form .* agrees with it; try more calibration") as raised:
        rank_candidates(candidates)
    assert str(raised.value).endswith("; tried one: cannot run form.txt: no kernel; other: off by 1.0")


def test_what_compiles_may_be_mended(tmp_path: Path) -> None:
    forms = {"one": _Form(refused="no kernel"), "two": _Form(error=1), "three": _Form(error=2)}
    candidates = _tried(tmp_path, _Table(forms))
    assert [candidate.name for candidate in rank_candidates(candidates, may_return_layers=True)] == ["two", "three"]


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
    assert quick.count("a") > 4 * slow.count("a") >= 4 * 7
    assert slow.count("a") == slow.count("b")


def test_a_fixed_batch_counts_for_as_many_clips_as_it_holds(tmp_path: Path) -> None:
    """Twenty milliseconds for four clips are fewer than eight for one."""
    four = _Session(tmp_path / "four", _Form(milliseconds=20), [], batch=4)
    one = _Session(tmp_path / "one", _Form(milliseconds=8), [], batch=1)
    any_number = _Session(tmp_path / "any", _Form(milliseconds=8), [])
    with four, one, any_number:
        times = time_sessions([four, one, any_number])
    assert 5 <= times[0] < 8 <= min(times[1:])


def test_nothing_to_time_takes_no_time() -> None:
    assert time_sessions([]) == []
