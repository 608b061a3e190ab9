"""A client of the REST API over `http.client`: one connection, kept open, and careful retries.

Only what can be repeated without harm is repeated: reads, and writes that carry their own
identity (a deployment is its manifest, a run its run key). 503 and a broken connection are the
only reasons to repeat (AIP-194), and 429: then nothing was done, whatever was asked.
"""

from __future__ import annotations

import http.client
import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import SplitResult, quote, urlencode, urlsplit

import msgspec

from arco_flow.cli.credentials import refused_token
from arco_flow.cli.failures import PlaneRefused, PlaneUnreachable
from arco_flow.domain.errors import InvalidInput

ATTEMPTS: Final = 4
FIRST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 30.0
"""However long a server asks to wait."""
TIMEOUT_SECONDS: Final = 90.0
"""Longer than the longest long poll."""

PAGE_SIZE: Final = 1000


class Page(Protocol):
    """An answer of a list."""

    @property
    def next_page_token(self) -> str:
        """Continues the list; "" at its end."""


T = TypeVar("T")
P = TypeVar("P", bound=Page)


class PlaneClient:
    """Speaks to one workspace of one plane. Not for several threads at a time.

    renew: a fresh token; it is asked for once per request whose token is refused.
    pause: waits for seconds before a request is repeated.
    """

    def __init__(
        self,
        url: str,
        token: str,
        workspace: str,
        *,
        renew: Callable[[], str] | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        parts = _address(url)
        if not (token.isascii() and token.isprintable()):
            raise InvalidInput(
                "the plane's token has characters that no token has",
                where="ARCO_FLOW_TOKEN",
                fix="copy it again, without line breaks",
            )
        self.url = url.rstrip("/")
        self._secure = parts.scheme == "https"
        self._netloc = parts.netloc.rpartition("@")[2]
        self._base = f"{parts.path.rstrip('/')}/v1/workspaces/{quote(workspace, safe='')}"
        self._token = token
        self._renew = renew
        self._connection: http.client.HTTPConnection | None = None
        self._pause = pause

    def get(self, path: str, kind: type[T], **query: object) -> T:
        """GET a path below the workspace; the answer as a message of this type."""
        return self._call("GET", path, kind, query, None, repeat=True)

    def pages(self, path: str, kind: type[P], **query: object) -> Iterator[P]:
        """All pages of a list, one after the other as they are asked for."""
        token = ""
        while True:
            page = self.get(path, kind, pageSize=PAGE_SIZE, pageToken=token, **query)
            yield page
            token = page.next_page_token
            if not token:
                return

    def post(
        self,
        path: str,
        kind: type[T],
        body: object = None,
        *,
        repeat: bool = False,
        **query: object,
    ) -> T:
        """POST a message, or bytes that are JSON already. repeat: it may be sent again."""
        raw = body if isinstance(body, bytes) else msgspec.json.encode(body or {})
        return self._call("POST", path, kind, query, raw, repeat=repeat)

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _call(
        self,
        method: str,
        path: str,
        kind: type[T],
        query: Mapping[str, object],
        body: bytes | None,
        *,
        repeat: bool,
    ) -> T:
        arguments = {name: _text(value) for name, value in query.items() if value not in ("", None)}
        target = f"{self._base}{path}" + (f"?{urlencode(arguments)}" if arguments else "")
        pause_seconds = FIRST_PAUSE_SECONDS
        for attempt in range(1, ATTEMPTS + 1):
            asked_seconds = 0.0
            try:
                status, raw, asked_seconds = self._admitted(method, target, body)
            except (OSError, http.client.HTTPException) as error:
                self.close()
                if attempt == ATTEMPTS or not repeat:
                    raise self._unreachable(error) from error
            else:
                if status < 300:
                    return _decoded(status, raw, kind)
                may_pass = status == 429 or (status == 503 and repeat)
                if attempt == ATTEMPTS or not may_pass:
                    raise self._refused(status, raw)
            # Nothing tells a client that a server is well again: it has to ask.
            self._pause(max(pause_seconds, asked_seconds))
            pause_seconds *= 2
        raise AssertionError("the last attempt has returned or raised")

    def _admitted(self, method: str, target: str, body: bytes | None) -> tuple[int, bytes, float]:
        """As `_exchange`, and once more with a fresh token: what is refused for its token has done
        nothing."""
        answer = self._exchange(method, target, body)
        if answer[0] == 401 and self._renew is not None:
            self._token = self._renew()
            answer = self._exchange(method, target, body)
        return answer

    def _exchange(self, method: str, target: str, body: bytes | None) -> tuple[int, bytes, float]:
        """Status, body, and for how many seconds the server asks to wait."""
        headers = {"authorization": f"Bearer {self._token}"} if self._token else {}
        if body is not None:
            headers["content-type"] = "application/json"
        connection = self._connected()
        connection.request(method, target, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read(), _retry_after(answer.getheader("retry-after", ""))

    def _connected(self) -> http.client.HTTPConnection:
        if self._connection is None:
            connect = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
            self._connection = connect(self._netloc, timeout=TIMEOUT_SECONDS)
        return self._connection

    def _refused(self, status: int, raw: bytes) -> PlaneRefused | PlaneUnreachable:
        error = _refused(status, raw)
        if status != 401:
            return error
        return refused_token(self._token, self.url, error.reason, error.message)

    def _unreachable(self, error: Exception) -> PlaneUnreachable:
        named = "ARCO_FLOW_URL" if os.environ.get("ARCO_FLOW_URL") else None
        return PlaneUnreachable(
            f"no plane answers at {self.url} ({error})",
            where=named,
            fix="start one with `arco-flow dev`, or check ARCO_FLOW_URL",
        )


def _address(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return parts
    except ValueError:
        pass
    raise InvalidInput(
        f"'{url}' is no address of a plane",
        where="ARCO_FLOW_URL",
        fix="for example http://localhost:3000",
    )


def _retry_after(text: str) -> float:
    """Seconds of a `Retry-After`; 0 without one, and for a date, which no plane sends."""
    seconds = float(text) if text.isascii() and text.isdigit() else 0.0
    return min(seconds, LONGEST_PAUSE_SECONDS)


def segment(text: str) -> str:
    """A name as one path segment."""
    return quote(text, safe="")


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _decoded(status: int, raw: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.DecodeError as error:
        raise _refused(status, raw) from error


def _refused(status: int, raw: bytes) -> PlaneRefused | PlaneUnreachable:
    try:
        error: dict[str, Any] = msgspec.json.decode(raw)["error"]
        info = error["details"][0]
        message, reason = str(error["message"]), str(info["reason"])
    except (msgspec.DecodeError, KeyError, IndexError, TypeError):
        message = (
            f"the server answered {status}, and not as a plane does\n"
            "  fix: check ARCO_FLOW_URL: it is the address of the plane's API"
        )
        reason = "NO_PLANE"
        info = {}
    if reason == "INTERNAL":
        fix = "see the plane's log, or its stack: arco-flow --debug …"
        return PlaneRefused(status, reason, f"{message}\n  fix: {fix}")
    if status == 503:
        return PlaneUnreachable(message, reason=reason)
    return PlaneRefused(status, reason, message, info.get("metadata"))
