"""A gRPC server that answers any method with what it was asked, to look at what reaches it."""

from __future__ import annotations

import asyncio
import contextlib

import grpc

from arco_emulators import rpc

NO_LIMITS = (("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1))


class Upstream(grpc.GenericRpcHandler):
    """Answers one message with it, a stream with its messages; what ends otherwise is named by
    the first message: `refuse` and `wait`."""

    def __init__(self):
        self.calls = 0
        self.metadata = {}
        self.seconds_left = None
        self.waiting = asyncio.Event()
        self.released = asyncio.Event()
        self.cancelled = asyncio.Event()

    def service(self, details):
        name = details.method.rpartition("/")[2]
        if name in ("Listen", "Write"):
            return grpc.stream_stream_rpc_method_handler(self._stream)
        if name == "RunQuery":
            return grpc.unary_stream_rpc_method_handler(self._many)
        return grpc.unary_unary_rpc_method_handler(self._one)

    async def _one(self, request, context):
        self.calls += 1
        self.metadata = dict(context.invocation_metadata())
        self.seconds_left = context.time_remaining()
        trailing = (("x-told", "yes"), ("x-told-bin", b"\x00\xff"))
        context.set_trailing_metadata(trailing)
        if request == b"refuse":
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no: ünklar", trailing)
        if request == b"wait":
            await self._wait()
        return request

    async def _many(self, request, context):
        for _ in range(3):
            yield await self._one(request, context)

    async def _stream(self, requests, context):
        async for request in requests:
            yield await self._one(request, context)

    async def _wait(self):
        self.waiting.set()
        try:
            await self.released.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


@contextlib.asynccontextmanager
async def serving_upstream():
    """The server and its address, while the block runs."""
    upstream = Upstream()
    async with rpc.serving([upstream], options=NO_LIMITS) as port:
        yield upstream, f"127.0.0.1:{port}"
