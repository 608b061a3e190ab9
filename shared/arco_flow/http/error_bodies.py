"""The body of every refused request of the API: google.rpc.Status as JSON (AIP-193).

Answers are made of these types and the description of the API shows them, so that the two can not
differ. Callbacks of workers answer CallbackErrorPayload instead, which is their protocol's own.
"""

from __future__ import annotations

import msgspec


class ErrorInfo(
    msgspec.Struct,
    frozen=True,
    tag_field="@type",
    tag="type.googleapis.com/google.rpc.ErrorInfo",
):
    """Why, for programs. reason and domain together name the error and stay as they are.

    metadata: every value of the message; `where` is the place in the request, `fix` what to do.
    """

    reason: str
    domain: str
    metadata: dict[str, str]


class RetryInfo(
    msgspec.Struct,
    frozen=True,
    rename="camel",
    tag_field="@type",
    tag="type.googleapis.com/google.rpc.RetryInfo",
):
    """The same request may succeed later. retry_delay: how long to wait before, such as `1s`."""

    retry_delay: str


class ErrorStatus(msgspec.Struct, frozen=True):
    """What went wrong.

    code: the HTTP status. status: the code word of google.rpc.Code. message: for people; up to
    three lines: what is wrong, where, and how to mend it. details: one ErrorInfo, and a RetryInfo
    where repeating the request can help.
    """

    code: int
    status: str
    message: str
    details: list[ErrorInfo | RetryInfo]


class ErrorBody(msgspec.Struct, frozen=True):
    """Body of every refused request of the API."""

    error: ErrorStatus
