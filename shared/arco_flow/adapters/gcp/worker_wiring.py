"""The worker function: user code in processes of its own, their outputs in Cloud Storage.

It holds no secret of the plane and asks Firestore nothing: what it is to run, with where the code
is, stands in the envelope, which Cloud Tasks delivers under an identity token.
"""

from __future__ import annotations

import asyncio
import os
from typing import Final, NamedTuple

import msgspec

from arco_flow.adapters.gcp.wiring import CloudPlane, Handler, web_handler
from arco_flow.domain.effects import StopAttempt
from arco_flow.domain.envelope import CodeLocation, DispatchEnvelope, parse_envelope
from arco_flow.domain.errors import InvalidInput, Unavailable
from arco_flow.domain.ids import Scope
from arco_flow.http.deliveries import DeliveryEndpoint
from arco_flow.ports.log_context import follow_trace, label_logs
from arco_flow.worker.dispatch import check_callback_base
from arco_flow.worker.pool import WorkerPool, report_unstarted
from arco_flow.worker.process import WorkerSpec

KEPT_SECONDS: Final = 60
"""Of a delivery's time, for an attempt that has used up the rest to clean up and be reported."""
KEPT_POOLS = 4
"""Code locations with warm processes; one more closes the one that waited longest."""


def serve_worker(function: str) -> Handler:
    """A handler that runs one attempt per delivery and answers when it is over."""
    plane = CloudPlane.of(function)
    workers = _Workers(plane)
    endpoint = DeliveryEndpoint(
        function,
        workers.run,
        plane.callers(),
        plane.verifier,
        plane.bury,
        also={"/stop_attempt": workers.stop},
    )
    return web_handler(endpoint.handle)


class _Code(NamedTuple):
    """What a warm pool has loaded."""

    location: CodeLocation
    scope: Scope


class _Workers:
    """Warm pools by code location. Raises InvalidInput when it is not told where to report."""

    def __init__(self, plane: CloudPlane) -> None:
        self._plane = plane
        self._callback_base_url = plane.settings.url_of("worker_callback")
        self._pools: dict[_Code, WorkerPool] = {}
        self._starting = asyncio.Lock()
        self._closing: asyncio.Future[None] | None = None

    async def run(self, body: bytes) -> None:
        """Run one attempt. Raises InvalidInput for what is no envelope of this plane, Unavailable
        when it must come again."""
        envelope = parse_envelope(body)
        check_callback_base(envelope, self._callback_base_url)
        scope = Scope(envelope.tenant_id, envelope.workspace_id)
        label_logs(scope, run=envelope.run_id, task=envelope.task_key)
        follow_trace(envelope.run_id, envelope.traceparent)
        location = self._location_of(envelope)
        problem = _problem_of(location)
        if problem:
            await report_unstarted(envelope, self._plane.settings.function, problem)
            return
        pool = await self._pool_of(_Code(location, scope))
        try:
            bounded = _bounded(envelope, self._plane.settings.timeout_seconds)
            status = await pool.dispatch(msgspec.json.encode(bounded))
        except asyncio.CancelledError:
            # The instance ends, and its grace is over.
            pool.cut(envelope)
            raise
        if status == 400:
            raise InvalidInput(f"the worker refused the envelope of {envelope.task_key}")
        if status >= 500:
            raise Unavailable(f"the worker answered {status} to {envelope.task_key}")

    async def stop(self, body: bytes) -> None:
        """End an attempt by force, where this instance runs it: a hint, not a guard."""
        try:
            stop = msgspec.json.decode(body, type=StopAttempt)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidInput(f"this is no stop of an attempt: {error}") from error
        for pool in self._pools.values():
            await pool.stop_attempt(stop.attempt_id, stop.reason)

    def _location_of(self, envelope: DispatchEnvelope) -> CodeLocation:
        """Where the attempt's code is: in this image, when the settings say so."""
        settings = self._plane.settings
        if settings.code_target:
            root = settings.code_root or os.getcwd()
            return CodeLocation(target=settings.code_target, root=root)
        try:
            return msgspec.convert(envelope.payload.get("codeLocation") or {}, CodeLocation)
        except msgspec.ValidationError as error:
            raise InvalidInput(f"the envelope's code location is none: {error}") from error

    async def _pool_of(self, code: _Code) -> WorkerPool:
        location, scope = code
        async with self._starting:
            pool = self._pools.pop(code, None)
            if pool is None:
                pool = WorkerPool(
                    WorkerSpec(
                        target=location.target,
                        root=location.root,
                        objects=f"gs://{self._plane.settings.bucket}",
                        scope=f"{scope.tenant}/{scope.workspace}",
                        callback_base_url=self._callback_base_url,
                    ),
                    size=self._plane.settings.workers,
                )
                await pool.start()
            self._pools[code] = pool
            if len(self._pools) > KEPT_POOLS:
                oldest = self._pools.pop(next(iter(self._pools)))
                self._closing = asyncio.ensure_future(oldest.close())
            return pool


def _bounded(envelope: DispatchEnvelope, timeout_seconds: int) -> DispatchEnvelope:
    """The envelope with a time-out of its execution that ends before the platform cuts the request.

    What is cut goes on without a processor: its heartbeats fall silent, and nobody hears why.
    """
    most = max(1000 * (timeout_seconds - KEPT_SECONDS), 500 * timeout_seconds)
    declared = envelope.payload.get("executionTimeoutMs", 0)
    if not isinstance(declared, int) or 0 < declared <= most:
        return envelope
    payload = {**envelope.payload, "executionTimeoutMs": most}
    return msgspec.structs.replace(envelope, payload=payload)


def _problem_of(location: CodeLocation) -> str:
    """Why no process can run this code, "" when nothing speaks against it."""
    if not location.target:
        return (
            "the deployment does not say where its code is\n"
            "  fix: deploy it with `arco-flow deploy`, or name the code of the worker's image in"
            " ARCO_FLOW_CODE_TARGET"
        )
    if not os.path.isdir(location.root):
        return (
            f"this worker does not have the folder of the code: {location.root}\n"
            "  fix: build the worker's image with the code there, or name where it is in"
            " ARCO_FLOW_CODE_TARGET and ARCO_FLOW_CODE_ROOT"
        )
    return ""
