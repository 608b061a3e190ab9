"""What the platform delivers: tasks of a queue, pushes of a bus, ticks of a scheduler.

One endpoint per function. It proves who calls before it reads the body, hands the payload to one
use case, and tells the platform what to do next by the status alone: 2xx, it is done; 429 or 5xx,
again later. What can never succeed is put aside with its reason and answered 200, so that it
neither blocks the queue nor is lost.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

import msgspec

from arco_flow.domain.errors import (
    Forbidden,
    InvalidInput,
    NotFound,
    Rejected,
    Unauthenticated,
    Unavailable,
)
from arco_flow.http.auth import bearer_token
from arco_flow.http.messages import LIVE_PATH, ReadBody, Request, Response
from arco_flow.http.outcomes import api_error
from arco_flow.http.refusals import MethodNotAllowed
from arco_flow.http.request_log import RequestLine

MAX_DELIVERY_BYTES: Final = 14 * 1024 * 1024
"""A message of 10 MB, which is the longest, as base64 in its push envelope, with its attributes; a
task of a queue is smaller."""
KEPT_BODY_BYTES: Final = 7 * 1024 * 1024
"""Of the body of a dead letter: it must fit into a message of a bus together with its reason."""
KEPT_MESSAGE_BYTES: Final = 1000
KEPT_ATTRIBUTES: Final = 90
"""A message has a hundred at most, and who keeps a dead letter adds some."""

Work = Callable[[bytes], Awaitable[object]]
"""A use case as a delivery calls it, with the payload."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who may deliver. audience: what its token must be made for, exactly. emails: of the service
    accounts that are let in; the platform signs tokens for anybody's."""

    audience: str
    emails: frozenset[str]


class TokenVerifier(Protocol):
    """Checks tokens that an identity provider has signed."""

    async def email_of(self, token: str, audience: str) -> str:
        """The verified e-mail address of a token made for this audience.

        Raises Unauthenticated, or Unavailable when it can not be verified now.
        """
        ...


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A delivery that can never succeed, bounded so that a bus takes it as a message.

    reason: stable word; message: what a person reads. attributes: of the message that was pushed;
    `body_bytes` among them says how long a body was that is kept in part.
    """

    function: str
    body: bytes
    reason: str
    message: str
    attributes: Mapping[str, str] = field(default_factory=dict)


Bury = Callable[[DeadLetter], Awaitable[None]]
"""Keeps a dead letter. Raises Unavailable: then it is delivered again."""


@dataclass(frozen=True, slots=True)
class _Payload:
    body: bytes
    attributes: Mapping[str, str]


class DeliveryEndpoint:
    """Answers the deliveries of one function.

    is_push: bodies come in the bus's push envelope. also: path -> work, of what comes to another
    path than `/`.
    """

    def __init__(
        self,
        function: str,
        work: Work,
        caller: Caller,
        verifier: TokenVerifier,
        bury: Bury,
        *,
        is_push: bool = False,
        also: Mapping[str, Work] | None = None,
    ) -> None:
        self._function = function
        self._works = {"/": work, **(also or {})}
        self._caller = caller
        self._verifier = verifier
        self._bury = bury
        self._is_push = is_push

    async def handle(self, request: Request, read_body: ReadBody | None = None) -> Response:
        """The answer; errors are answered too, and none is raised.

        read_body: reads the body once the caller is proved; None = the request has it.
        """
        line = RequestLine(request.method)
        try:
            answer = await self._answer(request, read_body, line)
        except Exception as error:  # the border: whatever happened, the platform gets an answer
            line.error = error
            answer = api_error(error)
        line.write(answer.status)
        return answer

    async def _answer(
        self, request: Request, read_body: ReadBody | None, line: RequestLine
    ) -> Response:
        path = request.path or "/"
        if path == LIVE_PATH and request.method in ("GET", "HEAD"):
            line.route = path
            return _done("live")
        work = self._works.get(path)
        if work is None:
            raise NotFound(
                "this function does not have that path",
                fix="the REST API is the function 'api': set ARCO_FLOW_URL to its URL",
            )
        line.route = path
        await self._admit(request)
        whole = await request.with_body(read_body, MAX_DELIVERY_BYTES)
        return await self._deliver(work, whole.body, line)

    async def _admit(self, request: Request) -> None:
        if request.method != "POST":
            raise MethodNotAllowed(request.method, ["POST"])
        token = bearer_token(request)
        email = await self._verifier.email_of(token, self._caller.audience)
        if email not in self._caller.emails:
            raise Forbidden(f"{email} may not call {self._function}", details={"email": email})

    async def _deliver(self, work: Work, body: bytes, line: RequestLine) -> Response:
        payload = _Payload(body, {})
        try:
            if self._is_push:
                payload = _unwrapped(body)
            await work(payload.body)
        except (Unauthenticated, Forbidden):
            raise
        except Rejected as error:
            await self._put_aside(payload, error)
            line.error = error
            return _done("put aside", error.reason)
        return _done("done")

    async def _put_aside(self, payload: _Payload, error: Rejected) -> None:
        """Keep what can never succeed. Raises Unavailable: then it is delivered again."""
        try:
            await self._bury(_dead_letter(self._function, payload, error))
        except Rejected as refusal:
            raise Unavailable(f"the dead letter is refused: {refusal.message}") from refusal


def _dead_letter(function: str, payload: _Payload, error: Rejected) -> DeadLetter:
    """What is kept, within what a message of a bus can hold."""
    attributes = {k: v for k, v in payload.attributes.items() if not k.startswith("goog")}
    if len(payload.body) > KEPT_BODY_BYTES:
        attributes = {"body_bytes": str(len(payload.body)), **attributes}
    return DeadLetter(
        function,
        payload.body[:KEPT_BODY_BYTES],
        error.reason,
        error.message.encode(errors="replace")[:KEPT_MESSAGE_BYTES].decode(errors="ignore"),
        dict(list(attributes.items())[:KEPT_ATTRIBUTES]),
    )


class _Message(msgspec.Struct):
    data: str = ""
    attributes: dict[str, str] = {}


class _Push(msgspec.Struct):
    message: _Message


def _unwrapped(body: bytes) -> _Payload:
    """The message in a push envelope. Raises InvalidInput."""
    try:
        message = msgspec.json.decode(body, type=_Push).message
        return _Payload(base64.b64decode(message.data, validate=True), message.attributes)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"this is no push envelope: {error}") from error


def _done(status: str, reason: str = "") -> Response:
    told = {"status": status, "reason": reason} if reason else {"status": status}
    return Response(200, msgspec.json.encode(told))
