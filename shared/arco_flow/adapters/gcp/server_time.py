"""The store's time, as this process knows it from the answers of the server.

Every answer of Firestore carries the server's time: of the read, or of the commit. It was that
time there before the answer came in here, so that time plus what has passed here since is never
later than the server's clock, and behind it by the way back only. This is what `now_ms` wants: a
listing that is made after it shows all that was written before it, so no silence is judged as of
later than what was heard; a lease is taken over late rather than early.

In a fold the time costs nothing, because loading the head has just brought it. Only when the last
answer is older than ANCHOR_MS is one document read for it; this bounds how far two clocks that
run at different rates can come apart (10 s at 500 ppm: 5 ms).
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic_ns
from typing import Any

from arco_flow.adapters.gcp.firestore_wire import REQUEST_TIME, ms_of, us_of

ANCHOR_MS = 10_000


class ServerTime:
    """Learns the time from answers, and has the server put its own into what is written."""

    def __init__(self, monotonic_ns: Callable[[], int] = monotonic_ns) -> None:
        self._monotonic_ns = monotonic_ns
        self._server_us = 0
        self._here_us = 0
        self._last_ms = 0

    def observe(self, timestamp: Any) -> None:
        """An answer with this time has come in just now."""
        here_us, server_us = self._monotonic_ns() // 1000, us_of(timestamp)
        elapsed_us = here_us - self._here_us
        # An answer that took longer than the last one tells less than that one still does.
        if elapsed_us >= ANCHOR_MS * 1000 or server_us > self._server_us + elapsed_us:
            self._here_us, self._server_us = here_us, server_us

    def now_ms(self) -> int | None:
        """The server's time, never going back; None when nothing was heard of it for too long."""
        elapsed_us = self._monotonic_ns() // 1000 - self._here_us
        if not self._server_us or elapsed_us >= ANCHOR_MS * 1000:
            return None
        self._last_ms = max(self._last_ms, (self._server_us + elapsed_us) // 1000)
        return self._last_ms

    def stamp(self, write: Any, field: str) -> None:
        """Have the server write its time into a field, after the write's other fields."""
        transform = write.update_transforms.add()
        transform.field_path = field
        transform.set_to_server_value = REQUEST_TIME

    def stamped_ms(self, _write: Any, result: Any) -> int:
        """What the server wrote into the field of a write that was stamped first."""
        return ms_of(result.transform_results[0].timestamp_value)
