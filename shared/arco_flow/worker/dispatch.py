"""Requests to a worker: which of them run an attempt, and which are answered without."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from arco_flow.domain.envelope import DispatchEnvelope, parse_envelope
from arco_flow.domain.errors import InvalidInput
from arco_flow.domain.ids import Scope

REMEMBERED_ATTEMPTS = 1024


@dataclass(frozen=True, slots=True)
class Reply:
    """Answer to a request; body is JSON."""

    status: int
    body: bytes = b"{}"
    retry_after_seconds: int = 0

    @classmethod
    def refused(cls, status: int, error: str, message: str) -> Reply:
        """An answer of the worker protocol's error form."""
        return cls(status, msgspec.json.encode({"error": error, "message": message}))


def check_callback_base(envelope: DispatchEnvelope, expected: str) -> None:
    """Raises InvalidInput for an envelope that reports to another plane than the expected one.

    The attempt's token goes where its envelope says: it must not be sent to another host.
    """
    if expected and envelope.callback_base_url.rstrip("/") != expected.rstrip("/"):
        raise InvalidInput(
            f"the envelope reports to '{envelope.callback_base_url}', and this worker's plane is"
            f" at '{expected}'",
            reason="WRONG_CALLBACK_URL",
        )


class Dispatcher:
    """Runs each attempt at most once in this process; safe for several threads.

    run: executes an attempt and returns when it is over; False when it could not even be
    claimed for want of the plane, so that the dispatch may come again.
    scope: the workspace that this worker serves; None = any. callback_base_url: of the plane that
    it works for, "" = whatever an envelope says.
    """

    def __init__(
        self,
        run: Callable[[DispatchEnvelope], bool],
        scope: Scope | None = None,
        *,
        callback_base_url: str = "",
    ) -> None:
        self._run = run
        self._scope = scope
        self._callback_base_url = callback_base_url
        self._lock = threading.Lock()
        self._in_flight: set[str] = set()
        self._over: OrderedDict[str, None] = OrderedDict()

    def handle(self, method: str, path: str, body: bytes) -> Reply:
        """Answer one request; for a dispatch, after the attempt."""
        if (method, path) == ("POST", "/dispatch"):
            return self._dispatch(body)
        if (method, path) == ("GET", "/health/live"):
            return Reply(200, b'{"status":"live"}')
        return Reply.refused(404, "not_found", f"{method} {path} is not served here")

    def _dispatch(self, body: bytes) -> Reply:
        try:
            envelope = parse_envelope(body)
            self._check(envelope)
        except InvalidInput as error:
            return Reply.refused(400, "invalid_argument", error.message)
        key = envelope.attempt_id
        with self._lock:
            if key in self._over:
                return _DONE
            if key in self._in_flight:
                return Reply(503, b'{"error":"in_flight"}', retry_after_seconds=1)
            self._in_flight.add(key)
        over = False
        try:
            over = self._run(envelope)
        except Exception as error:
            return Reply.refused(500, "internal", f"{type(error).__name__}: {error}")
        finally:
            self._leave(key, over)
        return _DONE if over else Reply(503, b'{"error":"unclaimed"}', retry_after_seconds=1)

    def _check(self, envelope: DispatchEnvelope) -> None:
        if envelope.attempt < 1:
            raise InvalidInput("attempt must be at least 1")
        scope = Scope(envelope.tenant_id, envelope.workspace_id)
        if self._scope is not None and scope != self._scope:
            raise InvalidInput(f"this worker serves {self._scope.source}, not {scope.source}")
        check_callback_base(envelope, self._callback_base_url)

    def _leave(self, key: str, over: bool) -> None:
        with self._lock:
            self._in_flight.discard(key)
            if over:
                self._over[key] = None
                if len(self._over) > REMEMBERED_ATTEMPTS:
                    self._over.popitem(last=False)


_DONE = Reply(200)
