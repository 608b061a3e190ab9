"""What the log lines of a request carry beside their text: whose it is, what about, its trace.

The border opens a context for each request; whoever works on it adds what is known by then, and a
formatter writes it into every line. Without a context, as on the embedded plane, nothing is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final

from arco_flow.domain.identifiers import parse_traceparent
from arco_flow.domain.ids import Entity, Scope

MAX_LABEL_CHARS: Final = 512
"""Of one label; of a longer one the beginning is kept."""


@dataclass(slots=True)
class LogContext:
    """trace: 32 hex digits, span: 16, "" = none. labels: tenant, workspace, run, task, asset."""

    trace: str = ""
    span: str = ""
    labels: dict[str, str] = field(default_factory=dict)


_current: ContextVar[LogContext | None] = ContextVar("arco_flow_log_context", default=None)


@contextmanager
def log_context(trace: str = "", span: str = "") -> Iterator[LogContext]:
    """Let the lines until its end carry what is added meanwhile; it begins without labels."""
    context = LogContext(trace, span)
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)
        # A task that was begun by the request and lives on has the same context.
        context.trace = context.span = ""
        context.labels.clear()


@contextmanager
def log_part() -> Iterator[None]:
    """Let what is added until its end be of a part of the request; what is known goes on."""
    outer = _current.get()
    if outer is None:
        yield
        return
    with log_context(outer.trace, outer.span) as inner:
        inner.labels.update(outer.labels)
        yield


def current_log_context() -> LogContext:
    """What a line that is written now carries."""
    return _current.get() or LogContext()


def label_logs(scope: Scope | None = None, **labels: str) -> None:
    """Add labels to the lines of this request; empty ones are left out."""
    context = _current.get()
    if context is None:
        return
    whose = {"tenant": scope.tenant, "workspace": scope.workspace} if scope else {}
    for name, value in {**whose, **labels}.items():
        if value:
            context.labels[name] = value[:MAX_LABEL_CHARS]


def label_entity(entity: Entity) -> None:
    """Add whose an entity is and, of a run or an asset, which."""
    about = {entity.kind: entity.name} if entity.kind in ("run", "asset") else {}
    label_logs(entity.scope, **about)


def follow_trace(run_id: str, traceparent: str) -> None:
    """Let the lines of a request that moves a run on be of the trace that asked for the run.

    Without effect when the lines are about another run, or when the run has no trace.
    """
    context = _current.get()
    parts = parse_traceparent(traceparent)
    if context is not None and parts is not None and context.labels.get("run") == run_id:
        context.trace, context.span = parts
