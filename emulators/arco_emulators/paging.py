"""Pages of a sorted listing."""

from __future__ import annotations

import base64
from bisect import bisect_right
from collections.abc import Sequence

from grpc import StatusCode

from arco_emulators.rpc import Refused


def page(names: Sequence[str], *, size: int, token: str, maximum: int) -> tuple[Sequence[str], str]:
    """The names of one page of a sorted listing, and the token of the next page or "".

    Errors: Refused for a negative size or a token that no page gave out.
    """
    if size < 0:
        raise Refused(StatusCode.INVALID_ARGUMENT, "page_size must not be negative.")
    start = bisect_right(names, _name_of(token)) if token else 0
    end = start + min(size or maximum, maximum)
    shown = names[start:end]
    return shown, _token_of(shown[-1]) if end < len(names) else ""


def _token_of(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode("ascii")


def _name_of(token: str) -> str:
    try:
        return base64.urlsafe_b64decode(token.encode("ascii")).decode()
    except ValueError:
        raise Refused(StatusCode.INVALID_ARGUMENT, "Invalid page token.") from None
