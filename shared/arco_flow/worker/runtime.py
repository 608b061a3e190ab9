"""The life of a worker process's attempts: claim, watch, capture, execute, report."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

import msgspec

from arco_flow.domain.envelope import (
    CallbackResponse,
    CompletedRequest,
    DispatchEnvelope,
    TaskError,
    TaskPayload,
)
from arco_flow.domain.ids import Scope, log_prefix
from arco_flow.worker.callbacks import CallbackClient, Refused, Unreachable, utc_now
from arco_flow.worker.capture import Capture
from arco_flow.worker.execute import Execution, Surroundings, stopped_report
from arco_flow.worker.heartbeat import Attempt
from arco_flow.worker.interrupt import CancelInterrupt, Interrupted
from arco_flow.worker.logs import AttemptLog

EXIT_STUCK = 75
"""Exit code after user code that did not stop: EX_TEMPFAIL of sysexits.h."""
_STUCK_BUDGET_SECONDS = 10.0
_TOO_MUCH = frozenset({400, 413, 415, 422})


class AttemptRunner:
    """Runs attempts one after the other with what the process has.

    say: writes a line for the operator of the worker, outside of any attempt's log.
    """

    def __init__(
        self,
        around: Surroundings,
        client: CallbackClient,
        capture: Capture,
        say: Callable[[str], None],
    ) -> None:
        self._around = around
        self._client = client
        self._capture = capture
        self._say = say
        self._home = _working_folder()

    def run(self, envelope: DispatchEnvelope) -> bool:
        """One dispatch. False when the plane could not be reached to claim it; a refused claim
        is over without a trace."""
        answer = self._client.started(envelope, self._around.worker_id)
        if isinstance(answer, Unreachable):
            self._say(f"{envelope.attempt_id} not claimed: {answer.reason}")
            return False
        if isinstance(answer, Refused):
            self._say(f"{envelope.attempt_id} refused: {answer.status} {answer.error}")
            return True
        try:
            payload = msgspec.convert(envelope.payload, TaskPayload)
        except msgspec.ValidationError as error:
            self._send(envelope, self._unreadable(envelope, str(error)))
            return True
        self._around.interrupter.reset()
        attempt = self._around.heartbeats.begin(envelope, payload, self._around.worker_id)
        try:
            self._run_claimed(envelope, payload, attempt, answer)
        finally:
            self._around.heartbeats.end()
        return True

    def _run_claimed(
        self,
        envelope: DispatchEnvelope,
        payload: TaskPayload,
        attempt: Attempt,
        answer: CallbackResponse,
    ) -> None:
        if answer.should_cancel:
            reason = CancelInterrupt(answer.cancel_reason or "cancelled")
            self._around.interrupter.interrupt(reason)
        scope = Scope(envelope.tenant_id, envelope.workspace_id)
        prefix = log_prefix(scope, envelope.run_id, envelope.attempt_id)
        log = AttemptLog(self._around.objects, prefix)
        with self._capture.attempt(log):
            report = self._execute(envelope, payload, attempt)
        if log.trouble:
            self._say(f"{envelope.attempt_id}: {log.trouble}")
            report = _with_metric(report, "logTrouble", log.trouble)
        if not attempt.refused:
            self._send(envelope, report)

    def _execute(
        self, envelope: DispatchEnvelope, payload: TaskPayload, attempt: Attempt
    ) -> CompletedRequest:
        self._go_home()
        try:
            return Execution(self._around, envelope, payload, attempt).run()
        except Exception as error:
            # Without a report the dispatch would come again, and run the user's code again.
            message = f"the attempt ended, and {type(error).__name__} kept it from being reported"
            return self._unreadable(envelope, message)

    def _go_home(self) -> None:
        """Where an attempt begins must not depend on where the one before it went."""
        with contextlib.suppress(OSError):
            os.chdir(self._home)

    def _send(self, envelope: DispatchEnvelope, report: CompletedRequest) -> None:
        answer = self._client.completed(envelope, report)
        if isinstance(answer, Refused) and answer.status in _TOO_MUCH:
            # The report itself is not acceptable; without another one the plane would wait for
            # the heartbeats to fall silent.
            message = f"the plane refused the attempt's report: {answer.error} {answer.message}"
            answer = self._client.completed(envelope, self._unreadable(envelope, message))
        if not isinstance(answer, CallbackResponse):
            self._say(f"{envelope.attempt_id} not reported: {answer}")

    def _unreadable(self, envelope: DispatchEnvelope, message: str) -> CompletedRequest:
        return CompletedRequest(
            attempt=envelope.attempt,
            attempt_id=envelope.attempt_id,
            worker_id=self._around.worker_id,
            outcome="FAILED",
            completed_at=utc_now(),
            error=TaskError(category="CONFIGURATION", message=message[:2000], retryable=False),
        )


def _working_folder() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        # The import of user code removed it.
        return os.sep


def give_up(
    capture: Capture,
    say: Callable[[str], None],
    end_with_plane: Callable[[], None],
    attempt: Attempt,
    reason: Interrupted,
) -> None:
    """User code does not stop: report in its place, then end the process, together with what it
    started when no plane is there to do that.

    Runs in the heartbeat thread, with a connection of its own, because the main thread is lost
    in user code.
    """
    capture.rescue()
    if not attempt.refused:
        report = stopped_report(attempt.envelope, attempt.worker_id, reason, "run")
        client = CallbackClient()
        client.completed(attempt.envelope, report, budget_seconds=_STUCK_BUDGET_SECONDS)
    say(f"{attempt.envelope.attempt_id} did not stop; the worker ends: {reason}")
    end_with_plane()
    os._exit(EXIT_STUCK)


def _with_metric(report: CompletedRequest, name: str, value: str) -> CompletedRequest:
    metrics = {**(report.metrics or {}), name: value}
    return msgspec.structs.replace(report, metrics=metrics)
