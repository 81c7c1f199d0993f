from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from s2tf_edge.calibration.audit import Audit, FloatLayer, Tally
from s2tf_edge.calibration.base import Quantizer
from s2tf_edge.calibration.candidates import Candidate
from s2tf_edge.calibration.gate import GateResult, find_within_bound
from s2tf_edge.calibration.search import rank_candidates, try_presets
from s2tf_edge.errors import AccuracyError, UnsupportedError, UsageError
from s2tf_edge.runtime.evaluation.accuracy import Drop
from s2tf_edge.runtime.session import Clips, ModelInfo, Outputs, Session, SessionOptions
from s2tf_edge.spec import ClipSpec

INFO = ModelInfo(
    name="n",
    network="n",
    target="onnx",
    precision="int8",
    spec=ClipSpec(frames=2, size=4),
    labels=("noise", "zero"),
)


class _Session(Session):
    """Logits that are as far off as the file says."""

    backend: ClassVar[str] = "sum"

    def _open(self) -> None:
        text = self.path.read_text()
        if text == "refused":
            msg = "no kernel for this mixture"
            raise UnsupportedError(msg)
        self._noise = float(text)

    def _run(self, clips: Clips) -> Outputs:
        return Outputs(logits=np.full((len(clips), 2), self._noise, np.float32))

    def _close(self) -> None:
        del self._noise


@dataclass
class _Noisy(Quantizer):
    """Every layer that is quantized adds noise of its own, and each preset some more."""

    noises: dict[str, float]
    extra: dict[str, float] = field(default_factory=lambda: {"only": 0.0})
    refused: Callable[[set[str]], bool] = lambda _excluded: False
    is_float: Callable[[set[str]], bool] = lambda _excluded: False
    written: list[tuple[str, set[str]]] = field(default_factory=list)
    excluded: dict[Path, set[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.presets = tuple(self.extra)

    def list_layers(self, preset: str) -> tuple[str, ...]:
        return tuple(self.noises)

    def write(self, preset: str, folder: Path, *, excluded: Collection[str] = ()) -> Path:
        self.written.append((preset, set(excluded)))
        noise = self.extra[preset] + sum(value for name, value in self.noises.items() if name not in excluded)
        path = folder / "noise.txt"
        self.excluded[path] = set(excluded)
        path.write_text("refused" if self.refused(set(excluded)) else str(noise))
        return path

    def make_session(self, path: Path) -> Session:
        return _Session(path, INFO, SessionOptions())

    def audit(self, session: Session) -> Audit:
        excluded = self.excluded[session.path]
        left = [FloatLayer(name=name, type="f32", reason="it was returned") for name in self.noises if name in excluded]
        integer = 0 if self.is_float(excluded) else len(self.noises) - len(left)
        convolutions = Tally(integer=integer, total=len(self.noises), rest=tuple(left))
        return Audit(convolutions=convolutions, matrix_products=Tally(integer=0, total=0, rest=()))

    def describe(self, preset: str) -> dict[str, Any]:
        return {}


def _noise(session: Session) -> float:
    return float(session.infer(np.zeros(INFO.spec.input_shape(), np.float32)).logits[0, 0])


@dataclass
class _Judge:
    """A point is lost for each unit of noise; from ``limit`` on, logits do not agree."""

    limit: float = float("inf")
    has_data: bool = True

    def find_disagreement(self, session: Session) -> str | None:
        return f"off by {_noise(session):g}" if _noise(session) >= self.limit else None

    def measure_drop(self, session: Session) -> Drop:
        if not self.has_data:
            msg = "give `eval=DATA`"
            raise UsageError(msg)
        lost = _noise(session)
        return Drop(
            n=100,
            baseline_top1=90.0,
            top1=90 - lost,
            points=lost,
            low=lost - 10,
            high=lost + 10,
            agreement=100 - lost,
            lost=round(lost),
            won=0,
        )


def _worst_first(quantizer: _Noisy) -> Callable[[Sequence[str]], list[str]]:
    return lambda layers: sorted(layers, key=lambda layer: -quantizer.noises[layer])


def _pass_gate(
    quantizer: _Noisy,
    folder: Path,
    *,
    max_drop: float,
    judge: _Judge | None = None,
    rank_layers: Callable[[Sequence[str]], list[str]] | None = None,
    excluded: Sequence[str] = (),
) -> GateResult:
    chosen = judge or _Judge()
    ranked = rank_candidates(try_presets(quantizer, folder, judge=chosen, excluded=excluded), may_return_layers=True)
    quantizer.written.clear()
    return find_within_bound(
        quantizer,
        sorted(ranked, key=lambda candidate: quantizer.presets.index(candidate.name)),
        folder,
        judge=chosen,
        max_drop=max_drop,
        rank_layers=rank_layers or _worst_first(quantizer),
        excluded=excluded,
    )


def _unasked(_layers: Sequence[str]) -> list[str]:
    pytest.fail("layers were measured without need")


def test_the_fastest_preset_within_the_bound_is_taken(tmp_path: Path) -> None:
    quantizer = _Noisy({"a": 1.0}, extra={"fastest": 5.0, "fast": 0.5, "slow": 0.0})
    result = _pass_gate(quantizer, tmp_path, max_drop=2.0, rank_layers=_unasked)
    assert (result.chosen.preset, result.chosen.returned) == ("fast", ())
    assert [each.preset for each in result.trials] == ["fastest", "fast"]
    assert result.chosen.path.read_text() == "1.5"
    assert quantizer.written == []


@pytest.mark.parametrize(("max_drop", "is_enough"), [(1.0, True), (0.999, False)])
def test_the_bound_itself_is_allowed(tmp_path: Path, max_drop: float, is_enough: bool) -> None:
    quantizer = _Noisy({"a": 0.75, "b": 0.25})
    result = _pass_gate(quantizer, tmp_path, max_drop=max_drop)
    assert (result.chosen.returned == ()) is is_enough


def test_the_saliency_path_returns_first_and_then_the_worst_in_groups_that_double(tmp_path: Path) -> None:
    noises = {"stem": 1.0, "saliency.a": 0.1, "one": 3.0, "two": 4.0, "saliency.b": 0.1, "three": 2.0, "head": 0.5}
    quantizer = _Noisy(noises | {"last": 0.25})
    asked: list[list[str]] = []

    def rank_layers(layers: Sequence[str]) -> list[str]:
        asked.append(list(layers))
        return _worst_first(quantizer)(layers)

    result = _pass_gate(quantizer, tmp_path, max_drop=1.0, rank_layers=rank_layers)
    suspects = ("saliency.a", "saliency.b")
    assert [each.returned for each in result.trials] == [
        (),
        suspects,
        (*suspects, "two"),
        (*suspects, "two", "one"),
        (*suspects, "two", "one", "three", "stem"),
    ]
    assert asked == [["stem", "one", "two", "three", "head", "last"]]
    assert result.chosen is result.trials[-1]
    assert result.chosen.drop is not None
    assert result.chosen.drop.points == pytest.approx(0.75)
    assert [each.path.read_text() for each in result.trials] == ["10.95", "10.75", "6.75", "3.75", "0.75"]


def test_the_saliency_path_alone_may_do(tmp_path: Path) -> None:
    quantizer = _Noisy({"saliency.a": 9.0, "b": 0.1, "c": 0.1})
    assert _pass_gate(quantizer, tmp_path, max_drop=1.0, rank_layers=_unasked).chosen.returned == ("saliency.a",)


def test_one_bad_layer_is_the_only_one_to_return(tmp_path: Path) -> None:
    quantizer = _Noisy({f"layer{index}": 0.01 for index in range(20)} | {"bad": 30.0})
    result = _pass_gate(quantizer, tmp_path, max_drop=0.5)
    assert result.chosen.returned == ("bad",)
    assert quantizer.written == [("only", {"bad"})]


def test_layers_that_stay_in_float_anyway_are_not_returned_again(tmp_path: Path) -> None:
    quantizer = _Noisy({"kept": 50.0, "saliency.kept": 50.0, "a": 3.0, "b": 1.0, "c": 0.1})
    result = _pass_gate(quantizer, tmp_path, max_drop=1.5, excluded=("kept", "saliency.kept"))
    assert result.chosen.returned == ("a",)
    assert quantizer.written == [("only", {"kept", "saliency.kept", "a"})]


def test_a_mixture_that_does_not_compile_is_passed_over(tmp_path: Path) -> None:
    quantizer = _Noisy({"a": 3.0, "b": 2.0, "c": 0.1, "d": 0.1}, refused=lambda excluded: excluded == {"a"})
    result = _pass_gate(quantizer, tmp_path, max_drop=1.0)
    assert [(each.returned, each.complaint) for each in result.trials] == [
        ((), None),
        (("a",), "no kernel for this mixture"),
        (("a", "b"), None),
    ]
    assert result.trials[1].drop is None
    assert result.trials[1].to_dict() == {
        "recipe": "only",
        "layers_in_float": 1,
        "complaint": "no kernel for this mixture",
    }


def test_a_mixture_without_an_integer_is_passed_over(tmp_path: Path) -> None:
    """No kernel is left for the layers that are quantized still: it loses nothing, for it is float."""
    quantizer = _Noisy({"a": 3.0, "b": 2.0, "c": 0.1, "d": 0.1}, is_float=lambda excluded: excluded == {"a"})
    result = _pass_gate(quantizer, tmp_path, max_drop=2.5)
    assert [(each.returned, each.complaint) for each in result.trials] == [
        ((), None),
        (("a",), "no layer is integer: 1 of 4 convolutions: it was returned"),
        (("a", "b"), None),
    ]


def test_logits_must_agree_too(tmp_path: Path) -> None:
    """No preset agrees as it is, and top-1 alone would let the second trial pass."""
    quantizer = _Noisy({"a": 3.0, "b": 2.0, "c": 0.1, "d": 0.1})
    result = _pass_gate(quantizer, tmp_path, max_drop=100.0, judge=_Judge(limit=1.0))
    assert [each.complaint for each in result.trials] == ["off by 5.2", "off by 2.2", None]
    assert result.chosen.returned == ("a", "b")


@pytest.mark.parametrize("noises", [{"a": 5.0}, {"saliency.a": 5.0, "saliency.b": 1.0}])
def test_a_form_that_has_no_integers_left_is_none(tmp_path: Path, noises: dict[str, float]) -> None:
    quantizer = _Noisy(noises)
    with pytest.raises(AccuracyError, match="loses at most 1 points"):
        _pass_gate(quantizer, tmp_path, max_drop=1.0, rank_layers=_unasked)
    assert quantizer.written == []


def test_a_bound_that_cannot_be_met_names_the_best_and_all_that_was_tried(tmp_path: Path) -> None:
    quantizer = _Noisy({"a": 3.0, "b": 2.0, "c": 1.0}, extra={"fast": 2.0, "slow": 1.5})
    with pytest.raises(
        AccuracyError, match=r"loses at most 1 points of top-1; the best found: fast, 2 layers"
    ) as raised:
        _pass_gate(quantizer, tmp_path, max_drop=1.0)
    first, *lines = str(raised.value).splitlines()
    assert "export it as fp16 instead" in first
    assert [line.partition(":")[0] for line in lines] == [
        "  fast, 0 layers returned to float",
        "  slow, 0 layers returned to float",
        "  fast, 1 layer returned to float",
        "  fast, 2 layers returned to float",
    ]
    assert "a drop of 3.0 points (-7.0 to 13.0), n = 100" in lines[-1]


def test_where_nothing_runs_any_more_the_reasons_are_told(tmp_path: Path) -> None:
    path = tmp_path / "noise.txt"
    path.write_text("refused")
    quantizer = _Noisy({"a": 1.0})
    candidates = [Candidate(name="only", result="off by 9", path=path)]
    with pytest.raises(AccuracyError, match=r"the best found: none runs(.|\n)*: no kernel for this mixture$"):
        find_within_bound(quantizer, candidates, tmp_path, judge=_Judge(), max_drop=1.0, rank_layers=_unasked)


def test_without_videos_there_is_nothing_to_measure(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="give `eval=DATA`"):
        _pass_gate(_Noisy({"a": 1.0}), tmp_path, max_drop=1.0, judge=_Judge(has_data=False))


def test_a_trial_says_what_is_lost(tmp_path: Path) -> None:
    (measured,) = _pass_gate(_Noisy({"a": 1.0}), tmp_path, max_drop=1.0).trials
    assert measured.to_dict() == {
        "recipe": "only",
        "layers_in_float": 0,
        "complaint": None,
        "n": 100,
        "float_top1": 90.0,
        "top1": 89.0,
        "drop_points": 1.0,
        "drop_low": -9.0,
        "drop_high": 11.0,
    }
    assert str(measured) == (
        "only, 0 layers returned to float: top-1 89.0 %, in float 90.0 %: a drop of 1.0 points (-9.0 to 11.0), n = 100"
    )
