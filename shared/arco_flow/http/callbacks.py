"""The three routes on which workers report; what a report means is the use case's to decide."""

from __future__ import annotations

from arco_flow.domain.envelope import CallbackResponse
from arco_flow.engine.worker_callback import record_callback
from arco_flow.http.auth import bearer_token
from arco_flow.http.routing import Call


async def report_started(call: Call) -> CallbackResponse:
    """The worker claims the attempt."""
    return await _record(call, "started")


async def report_heartbeat(call: Call) -> CallbackResponse:
    """The worker is alive; the answer says whether it should stop."""
    return await _record(call, "heartbeat")


async def report_completed(call: Call) -> CallbackResponse:
    """The attempt is over."""
    return await _record(call, "completed")


async def _record(call: Call, verb: str) -> CallbackResponse:
    token = bearer_token(call.request)
    return await record_callback(call.engine, call.params["taskId"], verb, token, call.request.body)
