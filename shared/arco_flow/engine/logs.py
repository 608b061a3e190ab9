"""The read side of logs: the chunks that workers wrote, as one ordered stream."""

from __future__ import annotations

import msgspec

from arco_flow.domain.ids import Scope, log_prefix
from arco_flow.domain.page_size import PageSize
from arco_flow.domain.run import RunState
from arco_flow.domain.stored_forms import read_stored
from arco_flow.engine.context import Engine
from arco_flow.engine.log_cursor import Attempts, LogCursor, Reading, parse_cursor
from arco_flow.engine.objects import load_plan
from arco_flow.engine.query import find_run, require_task, run_segments
from arco_flow.engine.views import LogLine, LogPage


class _Row(msgspec.Struct):
    """A line of a chunk."""

    seq: int
    time: str = ""
    stream: str = ""
    level: str = ""
    message: str = ""


_rows = msgspec.json.Decoder(_Row)


async def read_logs(
    engine: Engine,
    scope: Scope,
    run_id: str,
    *,
    task: str = "",
    after: str = "",
    limit: int = 1000,
) -> LogPage:
    """Lines of a run (or of one task), attempt by attempt in the order of their starts; after the
    last line of an attempt that failed comes one of stream "error" that says how.

    after: token of the page before, for the same task; it also continues a run that goes on.
    complete: the run is over and this page is the last. Raises NotFound (run, task),
    InvalidInput (bad token), Unavailable (a damaged chunk).
    """
    # The state first: what is over now has its whole ledger.
    head, run = await find_run(engine, scope, run_id)
    if task:
        await require_task(engine, scope, run_id, task)
    cursor = parse_cursor(after)
    plan = await load_plan(engine, scope, run.plan_id)
    segments = await run_segments(engine, head.entity, after=max(cursor.version - 1, 0))
    attempts = Attempts(run_id, plan, segments, cursor, task)
    page = _Page(engine, scope, run_id, plan.shorts, attempts, limit)
    end = (segments[-1].version + 1, 0) if segments else (cursor.version, cursor.index)
    place = await page.fill(cursor, end)
    return LogPage(
        lines=page.lines,
        next_page_token=LogCursor(*place, page.open).token(),
        complete=RunState(run.state).is_terminal and not page.is_full,
    )


class _Page:
    """Lines up to a limit, and to PAGE_BYTES. open: the attempts that a later page goes on with."""

    def __init__(
        self,
        engine: Engine,
        scope: Scope,
        run_id: str,
        shorts: tuple[str, ...] | list[str],
        attempts: Attempts,
        limit: int,
    ) -> None:
        self._engine = engine
        self._scope = scope
        self._run_id = run_id
        self._shorts = shorts
        self._attempts = attempts
        self._limit = max(1, limit)
        self._size, self._is_large = PageSize(), False
        self.lines: list[LogLine] = []
        self.open: list[Reading] = []

    @property
    def is_full(self) -> bool:
        """Whether no line has room any more."""
        return self._is_large or len(self.lines) >= self._limit

    async def fill(self, cursor: LogCursor, end: tuple[int, int]) -> tuple[int, int]:
        """Read what is open and what is new; the place in the ledger that was reached."""
        for reading in cursor.open:
            if self.is_full or not await self._read(reading):
                self.open.append(reading)
        place = (cursor.version, cursor.index)
        for reading, after in self._attempts.started:
            if self.is_full:
                return place
            if not await self._read(reading):
                self.open.append(reading)
            place = after
        # Full at the last line: the ends of attempts that are open must be met again.
        return place if self.is_full else end

    async def _read(self, reading: Reading) -> bool:
        """Append the lines of an attempt; True when it is over and nothing of it is left."""
        task = self._shorts[reading.task]
        attempt_id = self._attempts.id_of(task, reading.attempt)
        prefix = log_prefix(self._scope, self._run_id, attempt_id)
        key = _chunk_key(prefix, reading.chunk) if reading.chunk else ""
        while chunks := await self._engine.objects.list(prefix, after=key):
            for meta in chunks:
                if not await self._read_chunk(meta.key, reading, task, attempt_id):
                    return False
                key, reading.chunk, reading.rows = meta.key, _number(meta.key, prefix), 0
        failure = self._attempts.ends.get(attempt_id)
        if failure and self.is_full:
            return False
        if failure:
            row = _Row(0, stream="error", level="ERROR", message=failure)
            self.lines.append(_line(task, reading.attempt, attempt_id, row))
        return failure is not None

    async def _read_chunk(self, key: str, reading: Reading, task: str, attempt_id: str) -> bool:
        """Append the lines of a chunk that were not read yet; False when not all have room."""
        if self.is_full:
            return False
        chunk = await self._engine.objects.get(key)
        rows = chunk.data.splitlines()[reading.rows :] if chunk else []
        taken = 0
        for raw in rows:
            if self.is_full:
                break
            row = read_stored(_rows, raw, f"log chunk '{key}'")
            self.lines.append(_line(task, reading.attempt, attempt_id, row))
            self._is_large = self._size.is_reached(len(raw))
            taken += 1
        reading.rows += taken
        return taken == len(rows)


def _chunk_key(prefix: str, number: int) -> str:
    return f"{prefix}{number:08d}.ndjson"


def _number(key: str, prefix: str) -> int:
    return int(key.removeprefix(prefix).partition(".")[0])


def _line(task: str, attempt: int, attempt_id: str, row: _Row) -> LogLine:
    return LogLine(
        task=task,
        attempt=attempt,
        attempt_id=attempt_id,
        seq=row.seq,
        time=row.time,
        stream=row.stream,
        level=row.level,
        message=row.message,
    )
