"""One attempt from its inputs to its committed version.

    load the pinned inputs → bind → run → check the value → save → commit

Up to the commit, the attempt can be interrupted and leaves nothing that a reader sees. The
commit is the point of no return: after it the attempt reports what it has committed.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import msgspec

from arco_flow.domain.envelope import (
    CompletedRequest,
    DispatchEnvelope,
    InputRef,
    TaskError,
    TaskPayload,
)
from arco_flow.domain.errors import InvalidInput, NotFound
from arco_flow.domain.ids import Scope, short_task, version_prefix
from arco_flow.io.base import IO, OutputInfo, OutputTarget
from arco_flow.io.commit import CommitMarker, marker_of, write_commit
from arco_flow.io.registry import load_value, register_io, save_value
from arco_flow.ports.objects import Objects
from arco_flow.sdk.context import AssetContext
from arco_flow.sdk.execution import (
    CheckOutcome,
    bind_arguments,
    collect_input,
    run_asset,
    run_checks,
)
from arco_flow.sdk.signals import Failure
from arco_flow.worker.callbacks import utc_now
from arco_flow.worker.code import AssetCode, Code
from arco_flow.worker.failures import task_error
from arco_flow.worker.heartbeat import Attempt, Heartbeats
from arco_flow.worker.interrupt import Interrupted, Interrupter, TimeoutInterrupt
from arco_flow.worker.redaction import Redactor
from arco_flow.worker.report import (
    Meter,
    bounded_checks,
    bounded_metadata,
    check_reports,
    output_report,
    plain_metadata,
)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every attempt of a process shares."""

    code: Code
    objects: Objects
    heartbeats: Heartbeats
    interrupter: Interrupter
    redactor: Redactor
    worker_id: str


class Execution:
    """Runs one attempt and makes its report; also what stands behind its AssetContext."""

    def __init__(
        self,
        around: Surroundings,
        envelope: DispatchEnvelope,
        payload: TaskPayload,
        attempt: Attempt,
    ) -> None:
        self._around = around
        self._envelope = envelope
        self._payload = payload
        self._attempt = attempt
        self._phase = "resolve"
        self._meter = Meter()
        self._scope = Scope(envelope.tenant_id, envelope.workspace_id)
        self._prefix = version_prefix(
            self._scope, payload.asset_key, payload.partition, envelope.attempt_id
        )
        self._checks: list[CheckOutcome] = []
        self._saved: tuple[str, OutputInfo] | None = None
        self._code: AssetCode | None = None
        self._context: AssetContext | None = None

    def run(self) -> CompletedRequest:
        """Execute; whatever user code does, a report comes out."""
        try:
            with self._around.interrupter.exposed():
                self._produce()
            self._around.heartbeats.settle()
            stop = self._around.interrupter.wanted
            return self._committed() if stop is None else self._stopped(stop)
        except BaseException as error:
            # User code may raise anything, SystemExit too; nothing of it ends the worker.
            self._around.heartbeats.settle()
            return self._failed(error)

    # -- the phases ------------------------------------------------------------------------

    def _produce(self) -> None:
        code = self._code = self._resolve()
        context = self._context = self._make_context(code)
        inputs = self._load(code)
        with self._phase_of("bind"):
            arguments = bind_arguments(code.asset, context, inputs, self._around.code.resources)
        with self._phase_of("run"):
            value = run_asset(code.asset, arguments)
        if not context.has_output:
            self._keep(value, code.io)
        elif value is not None:
            raise InvalidInput(
                f"asset '{code.asset.key}' called context.output() and returned a value as well",
                fix="return nothing after context.output(), or only return the value",
                reason="DUPLICATE_OUTPUT",
            )

    def _resolve(self) -> AssetCode:
        if self._payload.operation != "materialize":
            raise InvalidInput(
                f"operation '{self._payload.operation}' is not known to this worker",
                fix="upgrade the older of plane and worker",
            )
        return self._around.code.asset(self._payload.asset_key)

    def _make_context(self, code: AssetCode) -> AssetContext:
        return AssetContext(
            code.asset,
            self,
            run_id=self._envelope.run_id,
            partition_key=self._payload.partition_name,
            attempt=self._envelope.attempt,
            retry_number=self._payload.retry_number,
            run_tags=self._payload.run_tags,
            attempt_id=self._envelope.attempt_id,
        )

    def _load(self, code: AssetCode) -> dict[str, object]:
        payload = self._payload
        if not payload.inputs and not payload.inputs_object:
            return {}
        with self._phase_of("load"):
            begun = time.perf_counter()
            refs = payload.inputs
            if payload.inputs_object:
                refs = {**refs, **self._stored_refs(payload.inputs_object)}
            inputs: dict[str, object] = {}
            for name, ref in refs.items():
                inputs.update(self._input(code, name, ref))
            self._meter.load_ms = _since(begun)
            return inputs

    def _stored_refs(self, key: str) -> dict[str, InputRef]:
        stored = self._around.objects.get(key)
        if stored is None:
            raise NotFound("the list of this attempt's inputs is gone", where=key)
        return msgspec.json.decode(stored.data, type=dict[str, InputRef])

    def _input(self, code: AssetCode, name: str, ref: InputRef) -> dict[str, object]:
        type_ = code.input_type(name, ref.shape)
        values = {
            shown: load_value(
                self._around.objects,
                version_prefix(self._scope, ref.asset, partition, attempt_id),
                type_,
                asset=ref.asset,
            )
            for shown, partition, attempt_id in ref.versions
        }
        return collect_input(code.asset, name, ref.shape, values, ref.asset)

    def _keep(self, value: object, io: str) -> None:
        """Check the value and write its files; the marker comes at the end of the attempt."""
        code, context = self._code, self._context
        assert code is not None
        assert context is not None
        with self._phase_of("check"):
            self._checks = run_checks(code.asset, value, context)
        with self._phase_of("save"):
            begun = time.perf_counter()
            target = OutputTarget(self._around.objects, self._prefix, code.asset.key)
            self._saved = save_value(value, target, io=io, annotation=code.returns)
            self._meter.save_ms = _since(begun)

    @contextlib.contextmanager
    def _phase_of(self, phase: str) -> Iterator[None]:
        # Kept when something is raised, so that the report knows where.
        before, self._phase = self._phase, phase
        yield
        self._phase = before

    # -- what the context asks for ----------------------------------------------------------

    def save_output(self, value: object, io: str | IO | None) -> None:
        """TaskRuntime: `context.output()`."""
        assert self._code is not None
        if io is None:
            name = self._code.io
        else:
            name = io if isinstance(io, str) else register_io(io).name
        self._keep(value, name)

    def set_progress(self, pct: int | None, message: str) -> None:
        """TaskRuntime: told with the next heartbeat."""
        self._attempt.progress_pct = pct
        self._attempt.message = message or None

    def is_cancelled(self) -> bool:
        """TaskRuntime: whether the attempt shall stop."""
        return self._around.interrupter.wanted is not None

    # -- the report --------------------------------------------------------------------------

    def _committed(self) -> CompletedRequest:
        self._phase = "save"
        marker = self._commit()
        output = output_report(marker, self._prefix)
        blocking = [outcome for outcome in self._checks if outcome.blocks]
        if not blocking:
            return self._report("SUCCEEDED", output=output)
        names = ", ".join(outcome.name for outcome in blocking)
        first = blocking[0].error or blocking[0].description
        detail = self._around.redactor.clean(f": {first}" if first else "")
        error = TaskError(
            category="DATA_QUALITY",
            message=f"blocking check failed: {names}{detail}; the version is kept, unpromoted",
        )
        return self._report("FAILED", output=output, error=error)

    def _commit(self) -> CommitMarker:
        assert self._saved is not None
        io, saved = self._saved
        payload, envelope, context = self._payload, self._envelope, self._context
        marker = marker_of(
            saved,
            io=io,
            attempt_id=envelope.attempt_id,
            attempt=envelope.attempt,
            run_id=envelope.run_id,
            task=short_task(payload.asset_key, payload.partition_name),
            checks=check_reports(self._checks, self._around.redactor),
            metadata=self._plain(context.metadata) if context is not None else {},
            code_version_id=payload.code_version_id,
            created_at=utc_now(),
        )
        return write_commit(self._around.objects, self._prefix, marker)

    def _plain(self, metadata: Mapping[str, object]) -> dict[str, object]:
        return plain_metadata(metadata, self._around.redactor)

    def _failed(self, error: BaseException) -> CompletedRequest:
        stop = error if isinstance(error, Interrupted) else self._around.interrupter.wanted
        if stop is not None:
            return self._stopped(stop)
        output: dict[str, object] | None = None
        if isinstance(error, Failure) and error.metadata:
            output = {"metadata": bounded_metadata(self._plain(error.metadata))}
        code = self._code
        has_policy = code is not None and code.asset.options.retry is not None
        told = task_error(error, self._phase, self._around.redactor, has_policy=has_policy)
        return self._report("FAILED", error=told, output=output)

    def _stopped(self, reason: Interrupted) -> CompletedRequest:
        return stopped_report(
            self._envelope, self._around.worker_id, reason, self._phase, self._meter
        )

    def _report(
        self,
        outcome: str,
        *,
        output: dict[str, object] | None = None,
        error: TaskError | None = None,
    ) -> CompletedRequest:
        checks = check_reports(self._checks, self._around.redactor)
        return CompletedRequest(
            attempt=self._envelope.attempt,
            attempt_id=self._envelope.attempt_id,
            worker_id=self._around.worker_id,
            outcome=outcome,
            traceparent=self._envelope.traceparent,
            completed_at=utc_now(),
            output=output,
            error=error,
            metrics=self._meter.metrics(),
            checks=bounded_checks(checks) or None,
        )


def stopped_report(
    envelope: DispatchEnvelope,
    worker_id: str,
    reason: Interrupted,
    phase: str,
    meter: Meter | None = None,
) -> CompletedRequest:
    """The report of an attempt that was cancelled, or ran out of time."""
    timed_out = isinstance(reason, TimeoutInterrupt)
    category = "TIMEOUT" if timed_out else "CANCELLED"
    return CompletedRequest(
        attempt=envelope.attempt,
        attempt_id=envelope.attempt_id,
        worker_id=worker_id,
        outcome="FAILED" if timed_out else "CANCELLED",
        traceparent=envelope.traceparent,
        completed_at=utc_now(),
        error=TaskError(category=category, message=str(reason)),
        metrics=meter.metrics() if meter is not None else None,
        cancelled_during_phase="" if timed_out else phase,
    )


def _since(begun: float) -> int:
    return round((time.perf_counter() - begun) * 1000)
