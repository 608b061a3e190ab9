"""Calls to Google's APIs by gRPC, with the messages alone: what the official clients do for us.

    TLS, and a token of this process's account in each call
    where the call belongs, in the header that Google's front ends route by
    a deadline per call, pings on a connection that is in use, messages of any size
    our name

What they also do is done elsewhere (`failures.patiently` repeats, `access_tokens` finds the
account) or not at all: see docs/adr/0009-grpc-without-the-official-clients.md.
"""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

import grpc
import grpc.aio

from arco_flow.adapters.gcp.access_tokens import AccessTokens
from arco_flow.adapters.gcp.messages import message_class
from arco_flow.domain.errors import Unavailable

SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
KEEPALIVE_MS: Final = 30_000
"""Of a connection with calls in flight: one that has died unheard is noticed after that."""
KEEPALIVE_TIMEOUT_MS: Final = 3_000
"""How long what was sent may stay unacknowledged until the connection is given up: shorter than one
attempt, so that the next one gets another connection. One that died while the instance had no
processor takes what is sent without a word: all attempts would hang on it with gRPC's own 20 s."""
FIRST_RECONNECT_MS: Final = 100
LONGEST_RECONNECT_MS: Final = 2_000
"""Between two tries to connect, during which every call fails at once. gRPC's own, of a second and
of two minutes, are longer than a call is repeated for, and than the service was away."""
_OPTIONS: Final = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.keepalive_time_ms", KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
    ("grpc.initial_reconnect_backoff_ms", FIRST_RECONNECT_MS),
    ("grpc.max_reconnect_backoff_ms", LONGEST_RECONNECT_MS),
    ("grpc.primary_user_agent", "arco-flow"),
)
_CLIENT: Final = (
    "x-goog-api-client",
    f"gl-python/{platform.python_version()} grpc/{grpc.__version__}",
)


class NoCredentials(Exception):
    """There is no token to make a call with, so it was not made."""


class Method(NamedTuple):
    """A method of a service. path: `/package.Service/Method`; request, answer: of messages."""

    path: str
    request: str
    answer: str


class GrpcCalls:
    """One connection to one API. Made and used in one event loop.

    address: host:port of the API. emulator: that of one, "" = none; it is spoken to without TLS
    and credentials. headers: of every call. interceptors: of the connection to an emulator, so that
    tests can make it fail.
    """

    def __init__(
        self,
        address: str,
        *,
        emulator: str = "",
        headers: Mapping[str, str] | None = None,
        interceptors: Sequence[Any] = (),
    ) -> None:
        self._headers = (_CLIENT, *(headers or {}).items())
        self._tokens = None if emulator else AccessTokens(SCOPE)
        self._renewal: asyncio.Task[str] | None = None
        self._calls: dict[str, Any] = {}
        if emulator:
            self._channel = grpc.aio.insecure_channel(
                emulator, options=_OPTIONS, interceptors=tuple(interceptors)
            )
        else:
            credentials = grpc.ssl_channel_credentials()
            self._channel = grpc.aio.secure_channel(address, credentials, options=_OPTIONS)

    async def close(self) -> None:
        """Give the connection back."""
        await self._channel.close()

    async def unary(
        self, method: Method, request: Any, route: Mapping[str, str], timeout_s: float
    ) -> Any:
        """The answer. route: fields of the request that say where it belongs. Raises
        grpc.RpcError and NoCredentials."""
        metadata = await self._metadata(route)
        call = self._call(method, self._channel.unary_unary)
        return await call(request, timeout=timeout_s, metadata=metadata)

    async def stream(
        self,
        method: Method,
        request: Any,
        route: Mapping[str, str],
        timeout_s: float,
        *,
        is_last: Callable[[Any], bool] = lambda _: False,
    ) -> list[Any]:
        """The answers of a stream, up to one that is the last, after which no more is wanted;
        otherwise as `unary`."""
        metadata = await self._metadata(route)
        call = self._call(method, self._channel.unary_stream)
        answers = call(request, timeout=timeout_s, metadata=metadata)
        found: list[Any] = []
        async for answer in answers:
            found.append(answer)
            if is_last(answer):
                answers.cancel()
                break
        return found

    def _call(self, method: Method, make: Any) -> Any:
        call = self._calls.get(method.path)
        if call is None:
            request, answer = message_class(method.request), message_class(method.answer)
            call = self._calls[method.path] = make(
                method.path,
                request_serializer=request.SerializeToString,
                response_deserializer=answer.FromString,
            )
        return call

    async def _metadata(self, route: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
        routing = ("x-goog-request-params", urlencode(route, safe="/"))
        if self._tokens is None:
            return (*self._headers, routing)
        token = self._tokens.known() or await self._renewed(self._tokens)
        found = (*self._headers, routing, ("authorization", f"Bearer {token}"))
        project = self._tokens.quota_project
        return (*found, ("x-goog-user-project", project)) if project else found

    async def _renewed(self, tokens: AccessTokens) -> str:
        """A new token, or the failure to get one: asked for by one call, for all that wait."""
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.create_task(asyncio.to_thread(tokens.get))
        try:
            # Shielded: a call that is given up must not fail the others.
            return await asyncio.shield(self._renewal)
        except Unavailable as error:
            raise NoCredentials(error.message) from error
