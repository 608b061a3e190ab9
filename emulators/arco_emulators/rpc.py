"""Serve gRPC services from tables of methods, with faults and counts around every call."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc

from arco_emulators import web
from arco_emulators.counters import Counters
from arco_emulators.faults import Chaos


class Refused(Exception):
    """A call is answered with this code and this text."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Method:
    """How a method is served: the class of its request, and what answers with a message."""

    request: Any
    answer: Callable[[Any], Any]


Services = Mapping[str, Mapping[str, Method]]
"""Full name of a service to its methods by name."""


class Gate:
    """Everything that happens around the answer of a method."""

    def __init__(self, chaos: Chaos, counters: Counters) -> None:
        self._chaos = chaos
        self._counters = counters

    def handlers(self, services: Services) -> Iterable[grpc.GenericRpcHandler]:
        """What a server takes to serve the tables."""
        for name, methods in services.items():
            yield grpc.method_handlers_generic_handler(
                name, {key: self._handler(key, method) for key, method in methods.items()}
            )

    def _handler(self, name: str, method: Method) -> grpc.RpcMethodHandler:
        async def serve(request: Any, context: Any) -> Any:
            try:
                answer = await self._call(name, method, request)
            except Refused as refused:
                self._counters.add("errors", f"{name} {refused.code.name}")
                await context.abort(refused.code, refused.message)
            return answer

        return grpc.unary_unary_rpc_method_handler(
            serve,
            request_deserializer=method.request.FromString,
            response_serializer=_bytes_of,
        )

    async def _call(self, name: str, method: Method, request: Any) -> Any:
        faults, chaos = self._chaos.faults, self._chaos
        self._counters.add("calls", name)
        if faults.api_delay_ms[1]:
            await asyncio.sleep(chaos.seconds(faults.api_delay_ms))
        if chaos.strikes(faults.unavailable):
            self._counters.add("faults", "unavailable")
            raise Refused(grpc.StatusCode.UNAVAILABLE, "The service is currently unavailable.")
        answer = method.answer(request)
        if chaos.strikes(faults.landed):
            self._counters.add("faults", "landed")
            raise Refused(grpc.StatusCode.UNAVAILABLE, "The service is currently unavailable.")
        return answer


@contextlib.asynccontextmanager
async def serving(
    handlers: Iterable[grpc.GenericRpcHandler],
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    options: Iterable[tuple[str, Any]] = (),
) -> AsyncIterator[int]:
    """Answer at the port while the block runs; port 0 takes a free one. Yields the port.

    options: of the gRPC server. Errors: OSError when the port is taken.
    """
    # Without this option a second server would take half of the calls of the first.
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0), *options])
    server.add_generic_rpc_handlers(tuple(handlers))
    # Tried first, because gRPC writes of a taken port on standard error by itself.
    web.listening(host, port).close()
    bound = server.add_insecure_port(f"{host}:{port}")
    await server.start()
    try:
        yield bound
    finally:
        await server.stop(grace=0.5)


def _bytes_of(message: Any) -> bytes:
    return bytes(message.SerializeToString())
