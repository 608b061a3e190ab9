"""Refusals that only HTTP knows: they say that the request, not what it asks for, is wrong."""

from __future__ import annotations

from collections.abc import Iterable

from arco_flow.domain.errors import InvalidInput, Rejected, TooLarge


class MethodNotAllowed(Rejected):
    """The path exists and takes other methods."""

    reason = "METHOD_NOT_ALLOWED"

    def __init__(self, method: str, allowed: Iterable[str]) -> None:
        self.allowed = ", ".join(sorted(allowed))
        super().__init__(
            f"{method} is not possible here",
            fix=f"use {self.allowed}",
            details={"method": method, "allowed": self.allowed},
        )


class RequestTimedOut(Rejected):
    """The request did not arrive whole in time."""

    reason = "REQUEST_TIMED_OUT"


class TooManyRequests(Rejected):
    """A caller asks more than its share.

    retry_after_seconds: when it may ask again, 1 or more.
    """

    reason = "TOO_MANY_REQUESTS"

    def __init__(self, per_second: int, burst: int, retry_after_seconds: int) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(
            f"more than {per_second} requests per second, and more than {burst} at once",
            fix=f"ask again in {retry_after_seconds} s; wait for a run with the argument wait",
            details={"perSecond": per_second, "burst": burst},
        )


class LengthRequired(Rejected):
    """A body without Content-Length."""

    reason = "LENGTH_REQUIRED"


class PathTooLong(Rejected):
    """The target of the request is longer than any of ours."""

    reason = "PATH_TOO_LONG"

    def __init__(self, message: str) -> None:
        super().__init__(message, fix="shorten the arguments; POST takes a long selection")


class UnsupportedContent(Rejected):
    """A media type or a content encoding that is not read."""

    reason = "UNSUPPORTED_CONTENT"


class ExpectationFailed(Rejected):
    """An `Expect` header with another value than 100-continue."""

    reason = "EXPECTATION_FAILED"


class HeadersTooLarge(Rejected):
    """Too many header lines, or too long ones."""

    reason = "HEADERS_TOO_LARGE"

    def __init__(self, message: str) -> None:
        super().__init__(message, fix="send fewer and shorter headers")


class VersionNotSupported(Rejected):
    """Another protocol than HTTP/1.0 and HTTP/1.1."""

    reason = "HTTP_VERSION_NOT_SUPPORTED"


def cut_short() -> InvalidInput:
    """The refusal of a request whose client stopped before its end."""
    return InvalidInput(
        "the request ended before it was whole",
        fix="send all of the headers, and as many bytes as Content-Length says",
        reason="MALFORMED_REQUEST",
    )


def too_large(limit: int) -> TooLarge:
    """The refusal of a body over `limit` bytes."""
    return TooLarge(
        f"the body is longer than {limit} bytes",
        fix="send less at a time: fewer assets in one workspace, fewer partitions in one request",
        details={"limitBytes": limit},
        reason="BODY_TOO_LARGE",
    )
