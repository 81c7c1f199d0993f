"""Messages to a receiver of which everything may be expected."""

from __future__ import annotations

import pytest

from s2tf_edge.runtime.sinks.alerts.courier import Courier


def test_what_cannot_be_told_for_an_unforeseen_reason_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    tried: list[bytes] = []

    def fail(message: bytes) -> None:
        tried.append(message)
        raise ValueError(message)

    courier = Courier(fail, name="receiver")
    for number in range(20):
        courier.put(b"%d" % number)
    courier.close(patience_seconds=120)
    assert len(tried) == 20
    assert caplog.messages == ["receiver: an event could not be told (ValueError)"]
