"""A history in sentences: what a person reads who wants to know what went wrong."""

from __future__ import annotations

from typing import Any

from arco_flow.domain.decision import DERIVED, Entry, Segment
from arco_flow.domain.errors import ArcoError
from arco_flow.domain.events import RunStateChanged, TaskStateChanged
from arco_flow.domain.ids import Entity
from arco_flow.engine.views import RunAccepted

_RUN_CHARS = 8


def tell_commit(entity: str, segment: Segment) -> str:
    """A commit: what was applied or ignored, and what followed from it."""
    lines = "; ".join(_tell_entry(entry) for entry in segment.entries)
    return f"commit   {short(entity)} v{segment.version}: {lines or 'debts struck off'}"


def tell_answer(verb: str, about: Any, result: Any) -> str:
    """A request and its answer."""
    said = f"refused, {result.reason}" if isinstance(result, ArcoError) else _tell_result(result)
    return f"answer   {verb} {_tell_about(about)}: {said}"


def short(entity: str) -> str:
    """An entity as people call it: kind and name, a run by the end of its id."""
    scope, kind, name = Entity.parse(entity)
    name = f"…{name[-_RUN_CHARS:]}" if kind == "run" else name
    return f"{kind} {name} of {scope.tenant}"


def _tell_entry(entry: Entry) -> str:
    data = entry.event.data
    if isinstance(data, TaskStateChanged):
        text = f"{data.task} {data.before}→{data.after} (attempt {data.attempt})"
        return f"{text} {data.reason}".rstrip()
    if isinstance(data, RunStateChanged):
        return f"run {data.before}→{data.after} {data.reason}".rstrip()
    if entry.disposition == DERIVED:
        return type(data).__name__
    return f"{entry.disposition} {entry.event.id} {entry.reason}".rstrip()


def _tell_about(about: Any) -> str:
    if isinstance(about, dict) and "task" in about:
        outcome = f" {about['outcome']}" if "outcome" in about else ""
        run = about["run"][-_RUN_CHARS:]
        who = about["workerId"]
        return f"{about['task']} attempt {about['attempt']} of run …{run} by {who}{outcome}"
    manifest = getattr(about, "manifest", None)
    if manifest is not None:
        return f"manifest {manifest.code_version_id} {about.request_id}".rstrip()
    key = getattr(about, "run_key", None)
    if key is not None:
        return f"run of '{about.selection}' under key '{key}'"
    return str(about)[:120]


def _tell_result(result: Any) -> str:
    if isinstance(result, RunAccepted):
        made = "new" if result.created else "known"
        return f"{made} run …{result.run_id[-_RUN_CHARS:]}"
    if getattr(result, "should_cancel", False):
        return "accepted, shall cancel"
    final = getattr(result, "final_state", None)
    return f"accepted, {final}" if final else "accepted"
