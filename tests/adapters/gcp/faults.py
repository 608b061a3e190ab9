"""Answers of an API that go wrong on the way, on the connection of the official client."""

from __future__ import annotations

from collections import deque

import grpc

DEADLINE = grpc.StatusCode.DEADLINE_EXCEEDED
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
ABORTED = grpc.StatusCode.ABORTED
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


class LostAnswers(grpc.aio.UnaryUnaryClientInterceptor):
    """Answers the next calls of one method with errors; the others go through.

    calls: how many were made of the method, with those that never got through.
    """

    def __init__(self, method="Commit"):
        self.calls = 0
        self._method = method
        self._plan = deque()

    def before(self, code, text="", *, times=1):
        """Answer without making the call."""
        self._plan += [(False, code, text)] * times

    def after(self, code, text="", *, times=1):
        """Make the call and lose its answer."""
        self._plan += [(True, code, text)] * times

    def meanwhile(self, work):
        """Before the next call gets through, run a coroutine."""
        self._plan.append(work)

    async def intercept_unary_unary(self, continuation, client_call_details, request):
        method = client_call_details.method
        name = (method.decode() if isinstance(method, bytes) else method).rpartition("/")[2]
        if name != self._method:
            return await continuation(client_call_details, request)
        self.calls += 1
        step = self._plan.popleft() if self._plan else None
        if callable(step):
            await step()
            step = None
        if step is None:
            return await continuation(client_call_details, request)
        performs, code, text = step
        if performs:
            await (await continuation(client_call_details, request))
        raise grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), text)


class Interleaved(grpc.aio.UnaryStreamClientInterceptor):
    """Runs a coroutine before the next call of one method gets through, or fails some calls."""

    def __init__(self, method="BatchGetDocuments"):
        self._method = method
        self._work = None
        self._failing = []

    def meanwhile(self, work):
        self._work = work

    def fail(self, code, *, times=1):
        self._failing += [code] * times

    async def intercept_unary_stream(self, continuation, client_call_details, request):
        work, self._work = self._work, None
        if work is not None and self._method in str(client_call_details.method):
            await work()
        if self._failing:
            code = self._failing.pop()
            raise grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), "")
        return await continuation(client_call_details, request)
