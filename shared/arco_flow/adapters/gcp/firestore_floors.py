"""Where a look for what is overdue begins: behind what has been removed from the index.

What waits is listed in the order of time, and is removed soon after. An index keeps what was
removed for a while, and a query from its beginning reads over all of it, the slower the more was
done. So a process remembers how old the oldest entry was that it has seen: times come from the
server, and what is added later is later. Ten minutes are allowed for what lands late, which is
longer than any request takes. Once an hour it begins at the beginning again, because a database
may be restored under it.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Final, NamedTuple

from arco_flow.adapters.gcp.server_time import ServerTime

LATE_MS: Final = 600_000
WHOLE_SECONDS: Final = 3600.0
"""After so long a look is whole again."""


class _Floor(NamedTuple):
    from_ms: int
    whole_at: float


class Floors:
    """The beginning of the next look, by indexed field. now: seconds, monotonic."""

    def __init__(self, time: ServerTime, now: Callable[[], float] = monotonic) -> None:
        self._time = time
        self._now = now
        self._floors: dict[str, _Floor] = {}

    def of(self, field: str) -> int:
        """No entry of the index is older than this; 0 = nothing is known."""
        floor = self._floors.get(field)
        if floor is None or self._now() - floor.whole_at >= WHOLE_SECONDS:
            return 0
        return floor.from_ms

    def learn(self, field: str, from_ms: int, before_ms: int, oldest_ms: int | None) -> None:
        """A look from one time to another has just found this as the oldest, or nothing."""
        known = self._floors.get(field)
        whole_at = known.whole_at if known and from_ms else self._now()
        now_ms = self._time.now_ms()
        if oldest_ms is None:
            oldest_ms = min(before_ms, now_ms or 0)
        self._floors[field] = _Floor(max(0, oldest_ms - LATE_MS), whole_at)
