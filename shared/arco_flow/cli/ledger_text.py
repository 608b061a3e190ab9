"""A ledger line for people: what its event says, in a few words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from arco_flow.engine.views import EventView

_Data = dict[str, Any]


def detail(line: EventView) -> str:
    """What happened, on one line; "" for a type that this release does not know."""
    data: _Data = line.event.get("data") or {}
    words = _WORDS.get(line.event["type"])
    return " ".join(words(data).split()) if words else ""


def disposition(line: EventView) -> str:
    """What was made of it: applied, derived, or ignored with a reason."""
    return f"{line.disposition}: {line.reason}" if line.reason else line.disposition


def _moved(data: _Data) -> str:
    reason = f": {data['reason']}" if data.get("reason") else ""
    return f"{data.get('before')} → {data.get('after')}{reason}"


def _task_moved(data: _Data) -> str:
    attempt = int(data.get("attempt") or 0)
    return f"{_moved(data)}{f' (try {attempt})' if attempt > 1 else ''}"


def _requested(data: _Data) -> str:
    request: _Data = data.get("request") or {}
    span = request.get("partitionRange") or {}
    partitions = ", ".join(request.get("partitions") or [])
    if span:
        partitions = f"{span.get('start')}..{span.get('end')}"
    elif request.get("allPartitions"):
        partitions = "all partitions"
    missing = "what is missing" if request.get("missingOnly") else ""
    told = [f"'{request.get('selection', '')}'", partitions, missing, f"key {data.get('runKey')}"]
    return ", ".join(part for part in told if part)


def _finished(data: _Data) -> str:
    error: _Data = data.get("error") or {}
    message = next(iter(str(error.get("message", "")).splitlines()), "")
    why = f": {error.get('category')}: {message}" if error else ""
    rows = (data.get("output") or {}).get("rowCount")
    count = f", {rows} rows" if rows is not None else ""
    return f"try {data.get('attempt')} {data.get('outcome')}{why}{count} by {data.get('workerId')}"


def _heard(data: _Data) -> str:
    percent = f"{data['progressPct']} %" if data.get("progressPct") is not None else ""
    return f"try {data.get('attempt')} {percent} {data.get('message') or ''}"


_WORDS: Final[dict[str, Callable[[_Data], str]]] = {
    "RunRequested": _requested,
    "RunTriggered": lambda data: f"by {data.get('trigger')}, code {data.get('codeVersionId')}",
    "PlanCreated": lambda data: f"tasks: {data.get('taskCount')}, plan {data.get('planId')}",
    "RunKeyConflicted": lambda data: f"refused {data.get('refusedFingerprint')}",
    "RunCancelRequested": lambda data: str(data.get("reason", "")),
    "RunStateChanged": _moved,
    "TaskStateChanged": _task_moved,
    "TaskStarted": lambda data: f"try {data.get('attempt')} by {data.get('workerId')}",
    "TaskHeartbeat": _heard,
    "TaskFinished": _finished,
    "CallbackDuplicated": lambda data: f"try {data.get('attempt')} {data.get('callback')} again",
    "WorkersLost": lambda data: f"only workers of {data.get('survivorsPrefix')} live",
    "TimerFired": lambda data: f"generation {data.get('generation')}",
}
