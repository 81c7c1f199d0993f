from __future__ import annotations

from typing import Any

import pytest

from s2tf_edge.errors import UsageError
from s2tf_edge.runtime.streaming.stream_options import StreamOptions


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"topk": 0}, "topk and hop must be one or more, got 0 and None"),
        ({"hop": 0}, "topk and hop must be one or more, got 5 and 0"),
        ({"threshold": 1.5}, r"threshold must lie in \[0, 1\], got 1.5"),
        ({"policy": "x"}, "policy must be one of auto, every, latest, got 'x'"),
        ({"start_seconds": -1.0}, "`start_seconds` must be zero seconds or more, got -1.0"),
        ({"duration_seconds": 0.0}, "`duration_seconds` must be more than zero, got 0.0"),
        ({"max_age_seconds": float("nan")}, "`max_age_seconds` must be more than zero, got nan"),
        ({"max_outage_seconds": -1.0}, "`max_outage_seconds` must be more than zero, got -1.0"),
        ({"fps": 0.0}, "`fps` must be more than zero, got 0.0"),
    ],
)
def test_errors_name_the_field(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        StreamOptions(**options)
