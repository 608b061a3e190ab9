"""The one line that a request leaves in the log: what was asked for, the answer, how long it took.

It names the route, not the path, and of a refusal its reason: what a caller has sent does not go
into logs. Why a credential is refused and what a defect of ours was stands in no answer, so it
stands here.
"""

from __future__ import annotations

import logging
import time
from typing import Final

from arco_flow.domain.errors import ArcoError
from arco_flow.http.messages import LIVE_PATH, READY_PATH
from arco_flow.http.outcomes import outcome_of, reason_of

MAX_LOGGED_CHARS: Final = 2_000
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
PROBES: Final = frozenset({LIVE_PATH, READY_PATH})
"""Asked every few seconds; a line each would be most of the log."""

_log = logging.getLogger("arco_flow.http")


class RequestLine:
    """Is begun with the request and written with its answer.

    route: the pattern of the path, "" while none was found. error: what the answer tells, or why
    the request was put aside.
    """

    def __init__(self, method: str = "") -> None:
        self._method = method if method in METHODS else "?"
        self._began = time.perf_counter()
        self.route = ""
        self.error: Exception | None = None

    def write(self, status: int) -> None:
        """Log the line, at the level that the table of outcomes has for its error."""
        level = self._level(status)
        if not _log.isEnabledFor(level):
            return
        seconds = time.perf_counter() - self._began
        request = {"requestMethod": self._method, "status": status, "latency": f"{seconds:.3f}s"}
        _log.log(
            level,
            "%s %s %d in %.0f ms%s",
            self._method,
            self.route or "?",
            status,
            1000 * seconds,
            _why(self.error, status),
            exc_info=self.error if level >= logging.ERROR else None,
            extra={"http_request": request},
        )

    def _level(self, status: int) -> int:
        if self.error is None:
            return logging.DEBUG if self.route in PROBES else logging.INFO
        return logging.WARNING if status < 400 else outcome_of(self.error).level


def _why(error: Exception | None, status: int) -> str:
    """The reason of a refusal, and its text where no answer tells it."""
    if error is None:
        return ""
    verb = "put aside, " if status < 400 else ""
    why = f": {verb}{reason_of(error)}"
    if status not in (401, 403) and status < 500:
        return why
    return f"{why}: {_one_line(error.message if isinstance(error, ArcoError) else str(error))}"


def _one_line(text: str) -> str:
    """Text made safe for a log: no line breaks, no escapes, no end without end."""
    cut = text[:MAX_LOGGED_CHARS]
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in cut)
