"""Page tokens that callers can neither read into an interface nor turn on another list.

A token holds the engine's own cursor and when it was given, under a MAC over the list it
belongs to: workspace, path and every argument but the page's size and place (AIP-158). It is
good for three days, after which the list may have moved on too far to continue.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping
from typing import Final

import msgspec

from arco_flow.domain.errors import InvalidInput
from arco_flow.domain.wire import canonical_json

TOKEN_TTL_MS: Final = 3 * 24 * 3600 * 1000
_MAC_BYTES: Final = 16
_PAGE_ARGUMENTS: Final = frozenset({"pageSize", "pageToken", "wait"})

_decoder = msgspec.msgpack.Decoder(tuple[str, int])


class PageTokens:
    """Seals and opens the page tokens of one plane; its key is derived from the plane's secret."""

    def __init__(self, secret: bytes) -> None:
        self._key = hmac.digest(secret, b"arco-flow page tokens v1", "sha256")

    def seal(self, path: str, query: Mapping[str, str], cursor: str, now_ms: int) -> str:
        """The token that continues after `cursor`; "" for "", the end of a list."""
        if not cursor:
            return ""
        body = msgspec.msgpack.encode((cursor, now_ms))
        return base64.urlsafe_b64encode(self._mac(path, query, body) + body).rstrip(b"=").decode()

    def open(self, path: str, query: Mapping[str, str], now_ms: int) -> str:
        """The cursor of the request's pageToken, "" without one. Raises InvalidInput."""
        token = query.get("pageToken", "")
        if not token:
            return ""
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except ValueError as error:
            raise _refused("is malformed") from error
        mac, body = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(path, query, body)):
            raise _refused("belongs to another list or to other arguments")
        cursor, given_ms = _decoder.decode(body)
        if now_ms - given_ms > TOKEN_TTL_MS:
            raise _refused("has expired")
        return cursor

    def _mac(self, path: str, query: Mapping[str, str], body: bytes) -> bytes:
        arguments = {k: v for k, v in query.items() if k not in _PAGE_ARGUMENTS}
        message = canonical_json([path, arguments]) + b"\0" + body
        return hmac.digest(self._key, message, "sha256")[:_MAC_BYTES]


def _refused(problem: str) -> InvalidInput:
    return InvalidInput(
        f"pageToken {problem}",
        fix="start again without pageToken, or repeat the arguments of the first page",
        reason="BAD_PAGE_TOKEN",
    )
