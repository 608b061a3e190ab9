"""Points in time as text: RFC 3339 in UTC, with milliseconds and a Z."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

EARLIEST_MS: Final = -62_135_596_800_000
"""0001-01-01T00:00:00.000Z."""
LATEST_MS: Final = 253_402_300_799_999
"""9999-12-31T23:59:59.999Z: RFC 3339 has no later year."""


def rfc3339(time_ms: int) -> str:
    """The text of a time in UTC epoch milliseconds; of one that has none, the nearest that has."""
    seconds, milliseconds = divmod(min(max(time_ms, EARLIEST_MS), LATEST_MS), 1000)
    return f"{_second(seconds)}.{milliseconds:03d}Z"


@lru_cache(maxsize=64)
def _second(time_s: int) -> str:
    """Every answer to a worker tells the time; most of a second's are told in that second."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(time_s, UTC).isoformat()[:19]
