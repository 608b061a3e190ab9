"""Access tokens of this process's own account, for requests that no Google client makes.

On Cloud Run they are asked of the metadata server by one plain request: google-auth would do the
same after 120 ms of imports. Elsewhere google-auth finds the credentials.
"""

from __future__ import annotations

import http.client
import json
import os
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from threading import Event, Lock
from typing import Any, Final, NamedTuple

from arco_flow.adapters.gcp.pacing import Pace
from arco_flow.domain.errors import Unavailable

_PATH: Final = "/computeMetadata/v1/instance/service-accounts/default/token"
_MARGIN_SECONDS: Final = 225.0
"""A token is renewed when it lives no longer: the metadata server gives a new one from then on."""
_PACE: Final = Pace(attempts=3, first_ms=50, timeout_s=3)
"""Of the metadata server, which may stumble while an instance starts."""
_waiting: Final = Event()
_FIX: Final = "give this process a service account, or run `gcloud auth application-default login`"


class _Fetched(NamedTuple):
    """A token. seconds: that it lives; quota_project: who is to pay, "" = the resource's own."""

    token: str
    seconds: float
    quota_project: str = ""


class AccessTokens:
    """Holds one token and renews it before it ends; for several threads. Nothing is imported or
    asked for before the first one is wanted.

    Its end is looked for on two clocks, and the one that says so first counts: the monotonic one
    may stand still while an instance does, and the other one may be set back.
    """

    def __init__(self, scope: str) -> None:
        self._scope = scope
        self._lock = Lock()
        self._held = _Fetched("", 0)
        self._until = (0.0, 0.0)
        self._fetch: Callable[[], _Fetched] | None = None

    @property
    def quota_project(self) -> str:
        """The project that a user's own credentials name to pay for calls; "" = none."""
        return self._held.quota_project

    def known(self) -> str:
        """The token that is held, "" when it must be renewed: without waiting for anything."""
        is_good = all(now < until for now, until in zip(_clocks(), self._until, strict=True))
        return self._held.token if is_good else ""

    def get(self) -> str:
        """A token that is valid for some minutes. Raises Unavailable."""
        with self._lock:
            if not self.known():
                if self._fetch is None:
                    on_platform = "K_SERVICE" in os.environ or "CLOUD_RUN_JOB" in os.environ
                    self._fetch = _of_the_platform if on_platform else _of_google_auth(self._scope)
                self._held = self._fetch()
                good_for = self._held.seconds - _MARGIN_SECONDS
                monotonic, wall = _clocks()
                self._until = monotonic + good_for, wall + good_for
            return self._held.token


def _clocks() -> tuple[float, float]:
    return time.monotonic(), time.time()


def _of_the_platform() -> _Fetched:
    failed: Exception | None = None
    for attempt in range(_PACE.attempts):
        if attempt:
            _waiting.wait(_PACE.wait_s(attempt - 1))
        try:
            return _told(*_asked())
        except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError) as error:
            failed = error
    raise Unavailable(f"the metadata server does not answer: {failed!r}") from failed


def _told(status: int, body: bytes) -> _Fetched:
    """The token of an answer. Raises Unavailable when there is none to be had, ValueError and the
    like when there may be one the next time."""
    if status == 429 or status >= 500:
        raise ValueError(f"status {status}")
    if status != 200:
        raise Unavailable(f"the metadata server gives no token: {status}", fix=_FIX)
    told: dict[str, Any] = json.loads(body)
    return _Fetched(str(told["access_token"]), float(told["expires_in"]))


def _asked() -> tuple[int, bytes]:
    """Status and body of one answer of the metadata server."""
    host = os.environ.get("GCE_METADATA_HOST", "metadata.google.internal")
    with closing(http.client.HTTPConnection(host, timeout=_PACE.timeout_s)) as connection:
        connection.request("GET", _PATH, headers={"Metadata-Flavor": "Google"})
        answer = connection.getresponse()
        return answer.status, answer.read()


def _of_google_auth(scope: str) -> Callable[[], _Fetched]:
    import google.auth
    from google.auth.exceptions import GoogleAuthError
    from google.auth.transport.requests import Request

    found: list[Any] = []

    def fetch() -> _Fetched:
        try:
            if not found:
                found.append(google.auth.default(scopes=[scope])[0])
            found[0].refresh(Request())
        except GoogleAuthError as error:
            raise Unavailable(f"there are no credentials: {error}", fix=_FIX) from error
        lives = found[0].expiry.replace(tzinfo=UTC) - datetime.now(UTC)
        payer = getattr(found[0], "quota_project_id", None) or ""
        return _Fetched(str(found[0].token), lives.total_seconds(), payer)

    return fetch
