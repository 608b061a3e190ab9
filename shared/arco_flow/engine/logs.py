"""The read side of logs: the chunks that workers wrote, as one ordered stream."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec

from arco_flow.domain.errors import InvalidInput
from arco_flow.domain.events import TaskStarted
from arco_flow.domain.ids import Scope, log_prefix, run_entity
from arco_flow.domain.run import RunState
from arco_flow.engine.context import Engine
from arco_flow.engine.query import require_task, run_segments
from arco_flow.engine.views import LogLine, LogPage

_line_decoder = msgspec.json.Decoder(dict[str, Any])


async def read_logs(
    engine: Engine,
    scope: Scope,
    run_id: str,
    *,
    task: str = "",
    after: str = "",
    limit: int = 1000,
) -> LogPage:
    """Lines of a run (or of one task), attempt by attempt in the order of their starts.

    after: token of the page before; it also continues a run that goes on. complete: the run is
    over and this page is the last. Raises NotFound (run, task), InvalidInput (bad token).
    """
    if task:
        await require_task(engine, scope, run_id, task)
    segments = await run_segments(engine, scope, run_id)
    attempts = [
        entry.event.data
        for segment in segments
        for entry in segment.entries
        if isinstance(entry.event.data, TaskStarted)
        and entry.disposition == "applied"
        and task in ("", entry.event.data.task)
    ]
    seen = _parse_token(after)
    lines: list[LogLine] = []
    for attempt in attempts:
        if len(lines) >= limit:
            break
        done = seen.get(attempt.attempt_id, 0)
        found = await _attempt_lines(engine, scope, run_id, attempt, done, limit - len(lines))
        lines.extend(found)
        if found:
            seen[attempt.attempt_id] = found[-1].seq
    head = await engine.store.load(str(run_entity(scope, run_id)))
    over = head is not None and RunState(head.status).is_terminal
    return LogPage(
        lines=lines,
        next_page_token=_token(seen),
        complete=over and len(lines) < limit,
    )


async def _attempt_lines(
    engine: Engine, scope: Scope, run_id: str, attempt: TaskStarted, done: int, limit: int
) -> list[LogLine]:
    """At most `limit` lines with seq > done."""
    found: list[LogLine] = []
    async for key in _chunks(engine, log_prefix(scope, run_id, attempt.attempt_id), done):
        chunk = await engine.objects.get(key)
        rows = map(_line_decoder.decode, chunk.data.splitlines() if chunk else ())
        found += [_line(attempt, row) for row in rows if row["seq"] > done]
        if len(found) >= limit:
            break
    return found[:limit]


async def _chunks(engine: Engine, prefix: str, done: int) -> AsyncIterator[str]:
    """Keys of the chunks that may hold lines with seq > done, in order.

    A chunk's name is the number of its first line or greater. So a chunk holds lines below its
    successor's name only, and is left unread when all of those are done: reading a long log
    page by page costs no more than reading it once.
    """
    previous = ""
    page = await engine.objects.list(prefix)
    while page:
        for meta in page:
            if previous and _number(meta.key, prefix) > done + 1:
                yield previous
            previous = meta.key
        page = await engine.objects.list(prefix, after=previous)
    if previous:
        yield previous


def _number(key: str, prefix: str) -> int:
    return int(key.removeprefix(prefix).partition(".")[0])


def _line(attempt: TaskStarted, row: dict[str, Any]) -> LogLine:
    return LogLine(
        task=attempt.task,
        attempt=attempt.attempt,
        attempt_id=attempt.attempt_id,
        seq=int(row["seq"]),
        time=str(row.get("time", "")),
        stream=str(row.get("stream", "")),
        level=str(row.get("level", "")),
        message=str(row.get("message", "")),
    )


def _token(seen: dict[str, int]) -> str:
    return msgspec.json.encode(seen).hex()


def _parse_token(token: str) -> dict[str, int]:
    if not token:
        return {}
    try:
        return msgspec.json.decode(bytes.fromhex(token), type=dict[str, int])
    except (ValueError, msgspec.DecodeError) as error:
        raise InvalidInput("malformed page token", reason="BAD_PAGE_TOKEN") from error
