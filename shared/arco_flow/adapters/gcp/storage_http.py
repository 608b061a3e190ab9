"""Requests to the JSON API of Cloud Storage, over kept connections, with the platform's token.

A client of its own, because the official one takes 187 ms of processor time to import and this one
2 ms, and an object store is the only Google service that a worker touches.
"""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from arco_flow.adapters.gcp.operation_counts import OperationCounts
from arco_flow.domain.errors import ArcoError, OutcomeUnknown, Unavailable

GOOGLE_STORAGE: Final = "https://storage.googleapis.com"
ATTEMPTS: Final = 5
FIRST_WAIT_SECONDS: Final = 0.05
TIMEOUT_SECONDS: Final = 60.0
_KEPT: Final = 32
_REPEATED: Final = frozenset({408, 429, 500, 502, 503, 504})
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

    def __init__(self, endpoint: str, counts: OperationCounts | None = None) -> None:
        parts = urlsplit(endpoint)
        self._secure = parts.scheme == "https"
        self._host = parts.netloc
        self._counts = counts or OperationCounts()
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()
        self._token: Callable[[], str] = (
            _google_token() if endpoint == GOOGLE_STORAGE else lambda: ""
        )

    def close(self) -> None:
        """Close the kept connections."""
        with self._lock:
            while self._idle:
                self._idle.pop().close()

    def send(
        self,
        kind: str,
        method: str,
        path: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """The first answer that is not «again later». Every request here is conditional or reads,
        so that repeating one can not do harm.

        kind: what it counts as. Raises Unavailable, or OutcomeUnknown when it may have landed.
        """
        maybe = False
        for attempt in range(ATTEMPTS):
            self._counts.add(kind)
            try:
                answer = self._once(method, path, body, headers or {}, maybe)
            except (OSError, http.client.HTTPException) as error:
                maybe = maybe or method != "GET"
                failed: Exception | None = error
            else:
                if answer.status not in _REPEATED:
                    return answer
                maybe = maybe or answer.status in (500, 502, 503, 504, 408)
                failed = None
                told = f"{answer.status} {answer.body[:200]!r}"
            if attempt < ATTEMPTS - 1:
                time.sleep(FIRST_WAIT_SECONDS * 3**attempt * random.random())  # noqa: S311
        kind_of = OutcomeUnknown if maybe and method != "GET" else Unavailable
        text = f"Cloud Storage did not answer {method} {path[:200]}: {failed or told}"
        raise kind_of(text) from failed

    def _once(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str], maybe: bool
    ) -> Answer:
        connection = self._take()
        token = self._token()
        sent = {"host": self._host, "content-length": str(len(body)), **headers}
        if token:
            sent["authorization"] = f"Bearer {token}"
        try:
            connection.request(method, path, body or None, sent)
            answer = connection.getresponse()
            data = answer.read()
        except BaseException:
            connection.close()
            raise
        self._give_back(connection, answer)
        return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, data, maybe)

    def _take(self) -> http.client.HTTPConnection:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        kind: Any = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection: http.client.HTTPConnection = kind(self._host, timeout=TIMEOUT_SECONDS)
        return connection

    def _give_back(
        self, connection: http.client.HTTPConnection, answer: http.client.HTTPResponse
    ) -> None:
        with self._lock:
            if not answer.will_close and len(self._idle) < _KEPT:
                self._idle.append(connection)
                return
        connection.close()


def refused(answer: Answer, what: str) -> ArcoError:
    """The error of an answer that means neither success nor what the caller expects."""
    fix = None
    if answer.status in (401, 403):
        fix = "give the service account of this function the role that it lacks on the bucket"
    if answer.status == 404:
        fix = "create the bucket, or correct ARCO_FLOW_BUCKET"
    told = answer.body[:300].decode("utf-8", "replace")
    return Unavailable(f"Cloud Storage refused {what}: {answer.status} {told}", fix=fix)


def _google_token() -> Callable[[], str]:
    """Access tokens of this process's account, renewed before they end. Nothing is imported or
    asked for before the first request."""
    lock = threading.Lock()
    held: list[Any] = []

    def token() -> str:
        import google.auth
        from google.auth.exceptions import GoogleAuthError
        from google.auth.transport import _http_client

        with lock:
            try:
                if not held:
                    held.append(google.auth.default(scopes=[_SCOPE])[0])
                if not held[0].valid:
                    held[0].refresh(_http_client.Request())
            except GoogleAuthError as error:
                raise Unavailable(
                    f"there are no credentials for Cloud Storage: {error}",
                    fix="give this process a service account, or run "
                    "`gcloud auth application-default login`",
                ) from error
            text: str = held[0].token
            return text

    return token
