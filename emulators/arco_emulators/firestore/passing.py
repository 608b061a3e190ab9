"""Hand calls on to another server as they come: bytes, metadata, deadline, cancellation, status."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, NoReturn

import grpc

from arco_emulators.counters import Counters
from arco_emulators.firestore.trouble import Fault, Trouble

WRITES = frozenset({"Commit", "BatchWrite", "CreateDocument", "UpdateDocument", "DeleteDocument"})
"""Methods with one request that change documents."""
ANSWERS_IN_STREAMS = frozenset(
    {"BatchGetDocuments", "ExecutePipeline", "RunAggregationQuery", "RunQuery"}
)
ALL_IN_STREAMS = frozenset({"Listen", "Write"})
"""These stay open for as long as the client wants."""

_OURS = frozenset({"user-agent"})
"""Metadata that each connection has of its own."""

_Pairs = tuple[tuple[str, str | bytes], ...]
Refusal = tuple[grpc.StatusCode, str]
UNAVAILABLE: Refusal = (grpc.StatusCode.UNAVAILABLE, "The service is currently unavailable.")
ABORTED: Refusal = (
    grpc.StatusCode.ABORTED,
    "Too much contention on these documents. Please try again.",
)


class Passing(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Serves every method of every service by handing it on over a channel."""

    def __init__(self, channel: grpc.aio.Channel, trouble: Trouble, counters: Counters) -> None:
        self._channel = channel
        self._trouble = trouble
        self._counters = counters
        self._handlers: dict[str, grpc.RpcMethodHandler] = {}
        self._landings: set[asyncio.Task[None]] = set()
        self.under_way = 0
        """Calls that are not answered, but for those that stay open."""
        self.quiet = asyncio.Event()
        """Set while there are none."""
        self.quiet.set()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        """What answers a call of this method; asked by the server for each."""
        path = handler_call_details.method
        if path not in self._handlers:
            self._handlers[path] = self._handler(path)
        return self._handlers[path]

    async def close(self) -> None:
        """Forget what has not landed yet."""
        landings = tuple(self._landings)
        for landing in landings:
            landing.cancel()
        await asyncio.gather(*landings, return_exceptions=True)

    def _handler(self, path: str) -> grpc.RpcMethodHandler:
        name, channel = path.rpartition("/")[2], self._channel
        if name in ALL_IN_STREAMS:
            return grpc.stream_stream_rpc_method_handler(
                self._many_to_many(name, channel.stream_stream(path))
            )
        if name in ANSWERS_IN_STREAMS:
            return grpc.unary_stream_rpc_method_handler(
                self._one_to_many(name, channel.unary_stream(path))
            )
        return grpc.unary_unary_rpc_method_handler(
            self._one_to_one(name, channel.unary_unary(path))
        )

    def _one_to_one(self, name: str, method: Any) -> Callable[[bytes, Any], Awaitable[bytes]]:
        async def serve(request: bytes, context: Any) -> bytes:
            with self._counted():
                fault = await self._begin(name, request, context)
                if fault is Fault.LANDED:
                    await self._land(name, method, request, _metadata(context))
                    await context.abort(*UNAVAILABLE)
                call = method(request, **_as_asked(context))
                try:
                    answer: bytes = await call
                except grpc.aio.AioRpcError as error:
                    await self._refuse(name, fault, error, context)
                await _end(fault, call, context)
                return answer

        return serve

    def _one_to_many(self, name: str, method: Any) -> Callable[[bytes, Any], Awaitable[None]]:
        async def serve(request: bytes, context: Any) -> None:
            with self._counted():
                fault = await self._begin(name, request, context)
                await self._stream(name, fault, method(request, **_as_asked(context)), context)

        return serve

    def _many_to_many(self, name: str, method: Any) -> Callable[[Any, Any], Awaitable[None]]:
        async def serve(requests: Any, context: Any) -> None:
            fault = await self._begin(name, b"", context)
            await self._stream(name, fault, method(requests, **_as_asked(context)), context)

        return serve

    async def _begin(self, name: str, request: bytes, context: Any) -> Fault | None:
        """What goes wrong with the call after the emulator has had it; a fault that keeps it from
        there ends the call here."""
        trouble = self._trouble
        self._counters.add("calls", name)
        if trouble.faults.api_delay_ms[1]:
            await asyncio.sleep(trouble.seconds(trouble.faults.api_delay_ms))
        fault = trouble.draw(name, request, writes=name in WRITES)
        if fault:
            self._counters.add("faults", fault)
        if fault is Fault.UNAVAILABLE:
            await context.abort(*UNAVAILABLE)
        if fault is Fault.CONTENDED:
            await context.abort(*ABORTED)
        return fault

    async def _stream(self, name: str, fault: Fault | None, call: Any, context: Any) -> None:
        try:
            while (answer := await call.read()) is not grpc.aio.EOF:
                await context.write(answer)
                if fault is Fault.LANDED:
                    break
        except grpc.aio.AioRpcError as error:
            await self._refuse(name, fault, error, context)
        finally:
            call.cancel()
        await _end(fault, call, context)

    async def _land(self, name: str, method: Any, request: bytes, metadata: _Pairs) -> None:
        """Have the call done though nobody hears of it, also when the client gives up meanwhile;
        returns when it is done, or at once when it is to land later."""
        wait = self._trouble.seconds(self._trouble.faults.landed_ms)
        landing = asyncio.create_task(self._landing(wait, name, method, request, metadata))
        self._landings.add(landing)
        landing.add_done_callback(self._landings.discard)
        if not wait:
            await asyncio.shield(landing)

    async def _landing(
        self, wait: float, name: str, method: Any, request: bytes, metadata: _Pairs
    ) -> None:
        with self._counted():
            await asyncio.sleep(wait)
            try:
                await method(request, metadata=metadata)
            except grpc.aio.AioRpcError as error:
                self._counters.add("errors", f"{name} {error.code().name}")

    async def _refuse(
        self, name: str, fault: Fault | None, error: grpc.aio.AioRpcError, context: Any
    ) -> NoReturn:
        """Answer as the emulator did, unless nobody may hear that."""
        self._counters.add("errors", f"{name} {error.code().name}")
        if fault is Fault.LANDED:
            await context.abort(*UNAVAILABLE)
        trailing = tuple(error.trailing_metadata() or ())
        await context.abort(error.code(), error.details() or "", trailing)
        raise AssertionError("abort raises")

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        self.under_way += 1
        self.quiet.clear()
        try:
            yield
        finally:
            self.under_way -= 1
            if not self.under_way:
                self.quiet.set()


def _as_asked(context: Any) -> dict[str, Any]:
    """Metadata and seconds until the deadline, as the client gave them."""
    return {"metadata": _metadata(context), "timeout": context.time_remaining()}


def _metadata(context: Any) -> _Pairs:
    given = context.invocation_metadata() or ()
    return tuple((key, value) for key, value in given if key not in _OURS)


async def _end(fault: Fault | None, call: Any, context: Any) -> None:
    """End a call that the emulator has answered."""
    if fault is Fault.LANDED:
        await context.abort(*UNAVAILABLE)
    context.set_trailing_metadata(tuple(await call.trailing_metadata() or ()))
