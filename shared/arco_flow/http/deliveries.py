"""What the platform delivers: tasks of a queue, pushes of a bus, ticks of a scheduler.

One endpoint per function. It proves who calls before it reads the body, hands the payload to one
use case, and tells the platform what to do next by the status alone: 2xx, it is done; 429 or 5xx,
again later. What can never succeed is put aside with its reason and answered 200, so that it
neither blocks the queue nor is lost.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

import msgspec

from arco_flow.domain.errors import (
    ArcoError,
    Forbidden,
    InvalidInput,
    NotFound,
    Rejected,
    TooLarge,
    Unauthenticated,
)
from arco_flow.http.auth import bearer_token
from arco_flow.http.messages import Request, Response
from arco_flow.http.outcomes import api_error
from arco_flow.http.refusals import MethodNotAllowed

MAX_DELIVERY_BYTES: Final = 10 * 1024 * 1024
"""Largest message of a bus; a task of a queue is smaller."""

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
    """A delivery that can never succeed. reason: stable word; message: what a person reads."""

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

    async def handle(self, request: Request) -> Response:
        """The answer; errors are answered too, and none is raised."""
        try:
            if request.path == "/health/live" and request.method in ("GET", "HEAD"):
                return _done("live")
            work = self._work_of(request)
            await self._admit(request)
            payload = self._payload_of(request)
        except Exception as error:  # the border: whatever happened, the platform gets an answer
            return api_error(error)
        return await self._deliver(work, payload)

    def _work_of(self, request: Request) -> Work:
        work = self._works.get(request.path or "/")
        if work is None:
            raise NotFound("this function does not have that path")
        return work

    async def _admit(self, request: Request) -> None:
        if request.method != "POST":
            raise MethodNotAllowed(request.method, ["POST"])
        token = bearer_token(request)
        email = await self._verifier.email_of(token, self._caller.audience)
        if email not in self._caller.emails:
            raise Forbidden(f"{email} may not call {self._function}", details={"email": email})
        if len(request.body) > MAX_DELIVERY_BYTES:
            raise TooLarge(f"the delivery is longer than {MAX_DELIVERY_BYTES} bytes")

    def _payload_of(self, request: Request) -> _Payload:
        return _unwrapped(request.body) if self._is_push else _Payload(request.body, {})

    async def _deliver(self, work: Work, payload: _Payload) -> Response:
        try:
            try:
                await work(payload.body)
            except (Unauthenticated, Forbidden):
                raise
            except Rejected as error:
                await self._bury(self._dead_letter(payload, error))
                return _done("put aside", error.reason)
        except Exception as error:
            return api_error(error)
        return _done("done")

    def _dead_letter(self, payload: _Payload, error: ArcoError) -> DeadLetter:
        return DeadLetter(
            self._function, payload.body, error.reason, error.message, payload.attributes
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
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, binascii.Error) as error:
        raise InvalidInput(f"this is no push envelope: {error}") from error


def _done(status: str, reason: str = "") -> Response:
    told = {"status": status, "reason": reason} if reason else {"status": status}
    return Response(200, msgspec.json.encode(told))
