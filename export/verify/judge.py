"""Says whether an integer form may stand for its network: by its logits, and by the top-1 that it loses."""

from __future__ import annotations

import dataclasses
import functools

from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.errors import UsageError
from s2tf_edge.export.verify.reference import Reference
from s2tf_edge.export.verify.verification import compare_session
from s2tf_edge.runtime.evaluation.accuracy import Drop, Evaluation, measure_drop
from s2tf_edge.runtime.evaluation.multi_view import evaluate
from s2tf_edge.runtime.session import Session

__all__ = ["NetworkJudge"]


class NetworkJudge:
    """Compares sessions with the network that was exported; what the network says is computed once."""

    def __init__(self, reference: Reference, *, evaluation: LabeledVideos | None, checks_logits: bool = True) -> None:
        """Takes what to compare with; the network runs when it is first asked for.

        Args:
            reference: the network and the clips that logits are compared on.
            evaluation: labeled videos to measure top-1 on.
            checks_logits: False accepts all logits.
        """
        self._reference = reference
        self._evaluation = evaluation
        self._checks_logits = checks_logits

    def find_disagreement(self, session: Session) -> str | None:
        """How the logits of an open session differ from the network's; None if they agree."""
        if not self._checks_logits:
            return None
        reference = self._reference
        found = compare_session(
            session,
            reference.expected,
            reference.compared,
            precision=reference.precision,
            progress=reference.progress,
        )
        unit = "clips" if reference.source.step is None else "steps"
        return None if found.passed else str(dataclasses.replace(found, clips=reference.kind, unit=unit))

    def measure_drop(self, session: Session) -> Drop:
        """The top-1 that an open session loses against the network, on the same videos.

        Raises:
            UsageError: there are no labeled videos.
        """
        if self._evaluation is None:
            msg = "a bound on the loss of accuracy needs labeled videos to measure it on; give `eval=DATA`"
            raise UsageError(msg)
        return measure_drop(self._expected, evaluate(session, self._evaluation))

    @functools.cached_property
    def _expected(self) -> Evaluation:
        """What the network itself answers."""
        if self._evaluation is None:
            msg = "there are no labeled videos to measure on"
            raise UsageError(msg)
        with self._reference.source.session() as reference:
            return evaluate(reference, self._evaluation)
