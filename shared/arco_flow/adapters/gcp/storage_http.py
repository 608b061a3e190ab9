"""Requests to the JSON API of Cloud Storage, over kept connections, with the platform's token.

A client of its own: see docs/adr/0008-own-client-for-cloud-storage.md. It is safe because every
write that goes through it has a generation precondition: sent twice, it is applied once.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from arco_flow.adapters.gcp.access_tokens import AccessTokens
from arco_flow.adapters.gcp.operation_counts import OperationCounts
from arco_flow.adapters.gcp.pacing import Pace
from arco_flow.domain.errors import ArcoError, OutcomeUnknown, Unavailable

GOOGLE_STORAGE: Final = "https://storage.googleapis.com"
PACE: Final = Pace(attempts=6, first_ms=50, timeout_s=30)
"""Up to 6 s: one object takes one write per second, and refuses more with 429."""
_KEPT: Final = 32
IDLE_SECONDS: Final = 60.0
"""A connection that nobody has used for longer is opened anew: while an instance has no processor
it may be dropped unheard, and a request on it would wait for its whole time-out."""
_REPEATED: Final = frozenset({408, 429, 500, 502, 503, 504})
_NOT_APPLIED: Final = 429
_SCOPE: Final = "https://www.googleapis.com/auth/devstorage.read_write"


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, whole. maybe: an earlier attempt of the same request may have had its effect."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    maybe: bool


class StorageHttp:
    """Sends requests and repeats them; for several threads.

    endpoint: URL of the service. An emulator, which is any other than Google's, gets no token.
    """

    def __init__(
        self, endpoint: str, counts: OperationCounts | None = None, pace: Pace | None = None
    ) -> None:
        parts = urlsplit(endpoint)
        self._secure = parts.scheme == "https"
        self._host = parts.netloc
        self._counts = counts or OperationCounts()
        self._pace = pace or PACE
        self._idle: list[tuple[http.client.HTTPConnection, float]] = []
        self._lock = threading.Lock()
        self._waiting = threading.Event()
        self._tokens = AccessTokens(_SCOPE) if endpoint == GOOGLE_STORAGE else None

    def close(self) -> None:
        """Close the kept connections."""
        with self._lock:
            while self._idle:
                self._idle.pop()[0].close()

    def send(
        self,
        kind: str,
        method: str,
        path: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """The first answer that is not «again later».

        kind: what it counts as. Raises Unavailable, or OutcomeUnknown when it may have landed.
        """
        maybe = False
        failed: Exception | None = None
        told = ""
        for attempt in range(self._pace.attempts):
            self._counts.add(kind)
            try:
                answer = self._once(method, path, body, headers or {}, maybe)
            except (OSError, http.client.HTTPException) as error:
                maybe, failed, told = True, error, f"{type(error).__name__}: {error}"
            else:
                if answer.status not in _REPEATED:
                    return answer
                maybe = maybe or answer.status != _NOT_APPLIED
                failed, told = None, f"{answer.status} {_shown(answer)}"
            if attempt + 1 < self._pace.attempts:
                self._waiting.wait(self._pace.wait_s(attempt))
        kind_of = OutcomeUnknown if maybe and method != "GET" else Unavailable
        text = f"Cloud Storage did not answer {method} {path[:200]}: {told}"
        raise kind_of(text) from failed

    def _once(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str], maybe: bool
    ) -> Answer:
        sent = {"host": self._host, "content-length": str(len(body)), **headers}
        if self._tokens is not None:
            sent["authorization"] = f"Bearer {self._tokens.get()}"
        connection, is_kept = self._take()
        try:
            answer, data = _exchange(connection, method, path, body, sent)
        except ConnectionError:
            if not is_kept:
                raise
            # A connection that was kept for too long ends with the next request on it.
            maybe = True
            connection, _ = self._take(fresh=True)
            answer, data = _exchange(connection, method, path, body, sent)
        self._give_back(connection, answer)
        return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, data, maybe)

    def _take(self, *, fresh: bool = False) -> tuple[http.client.HTTPConnection, bool]:
        """A connection, and whether it was used before."""
        with self._lock:
            while self._idle and not fresh:
                connection, used_at = self._idle.pop()
                if time.monotonic() - used_at < IDLE_SECONDS:
                    return connection, True
                connection.close()
        kind: Any = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        return kind(self._host, timeout=self._pace.timeout_s), False

    def _give_back(
        self, connection: http.client.HTTPConnection, answer: http.client.HTTPResponse
    ) -> None:
        with self._lock:
            if not answer.will_close and len(self._idle) < _KEPT:
                self._idle.append((connection, time.monotonic()))
                return
        connection.close()


def _exchange(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes,
    headers: Mapping[str, str],
) -> tuple[http.client.HTTPResponse, bytes]:
    try:
        connection.request(method, path, body or None, dict(headers))
        answer = connection.getresponse()
        return answer, answer.read()
    except BaseException:
        connection.close()
        raise


def refused(answer: Answer, what: str) -> ArcoError:
    """The error of an answer that means neither success nor what the caller expects."""
    fix = None
    if answer.status in (401, 403):
        fix = "give the service account of this function the role that it lacks on the bucket"
    if answer.status == 404:
        fix = "create the bucket, or correct ARCO_FLOW_BUCKET"
    return Unavailable(
        f"Cloud Storage refused {what}: {answer.status} {_shown(answer)}",
        fix=fix,
        details={"status": answer.status},
    )


def _shown(answer: Answer) -> str:
    return answer.body[:300].decode("utf-8", "replace")
