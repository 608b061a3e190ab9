"""The document store on SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from heapq import merge
from itertools import islice
from typing import Any

import msgspec

from arco_flow.adapters import contention
from arco_flow.adapters.limits import check_commit, check_id, check_post
from arco_flow.adapters.local.database import Database
from arco_flow.adapters.local.head_cache import HeadCache
from arco_flow.adapters.local.leases import acquire, current_grant, release
from arco_flow.domain.page_size import one_page
from arco_flow.ports.clock import Clock
from arco_flow.ports.store import Commit, Head, InboxItem, Lease, Posted

_ONE_HEAD = (
    "SELECT labels, entity, version, status, state, owed, owed_since_ms, timer_ms, created_ms,"
    " updated_ms"
    " FROM heads WHERE entity = ?"
)
_LISTED = (
    "SELECT labels, entity, version, status, x'', x'', owed_since_ms, timer_ms, created_ms,"
    " updated_ms"
    " FROM heads WHERE "
)
_ONE_ROW = "SELECT key, body FROM rows WHERE entity = ? AND key = ?"
_NEWEST_FIRST = " ORDER BY created_ms DESC, entity DESC LIMIT ?"
_labels = msgspec.json.Decoder(dict[str, str])

_ITEM = "INTO inbox (entity, event_id, revision, posted_ms, body) VALUES (?, ?, ?, ?, ?)"
_ADD_ITEM = f"INSERT OR IGNORE {_ITEM}"
_REPLACE_ITEM = f"INSERT OR REPLACE {_ITEM}"


_one_page = partial(one_page, size_of=lambda row: len(row[-1]))
"""Of rows whose last column is the body."""


class SqliteStore:
    """`Store` for one process. Reads see the last commit; writes are grouped by the database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._db = database
        self._clock = clock
        self._cache = HeadCache()
        # Times given out before a restart stay in the past after it, whatever the clock says.
        self._last_ms = self._kept_ms = self._integer("SELECT ms FROM store_time")
        self._revision = self._integer("SELECT max(revision) FROM inbox")

    async def now_ms(self) -> int:
        """The store's clock: the process clock, never going back."""
        self._last_ms = max(self._last_ms, self._clock.now_ms())
        return self._last_ms

    async def load(self, entity: str) -> Head | None:
        """See Store."""
        return self._load(entity)

    async def load_many(self, entities: Sequence[str]) -> dict[str, Head]:
        """See Store."""
        found = ((entity, self._load(entity)) for entity in entities)
        return {entity: head for entity, head in found if head is not None}

    async def inbox(self, entity: str, limit: int) -> list[InboxItem]:
        """See Store."""
        rows: list[Any] = self._db.read(
            "SELECT entity, event_id, body, posted_ms, revision FROM inbox"
            " WHERE entity = ? ORDER BY event_id LIMIT ?",
            (entity, limit),
        )
        return [InboxItem(*row) for row in rows]

    async def post(
        self, entity: str, event_id: str, body: bytes, *, replace: bool = False
    ) -> Posted:
        """See Store."""
        check_post(entity, event_id, len(body))

        def write(cursor: sqlite3.Cursor) -> Posted:
            revision = self._revision + 1
            cursor.execute(
                _REPLACE_ITEM if replace else _ADD_ITEM,
                (entity, event_id, revision, self._stamp(cursor), body),
            )
            if cursor.rowcount:
                self._revision = revision
                return Posted(True)
            existing = cursor.execute(
                "SELECT body FROM inbox WHERE entity = ? AND event_id = ?", (entity, event_id)
            ).fetchone()
            return Posted(False, existing[0])

        return await self._db.run(write)

    async def commit(self, commit: Commit) -> Head:
        """See Store."""
        check_commit(commit)

        def write(cursor: sqlite3.Cursor) -> Head:
            created_ms = _check_preconditions(cursor, commit)
            now = self._stamp(cursor)
            head = replace(commit.head, created_ms=created_ms or now, updated_ms=now)
            _write_head(cursor, head, is_new=commit.expected_version == 0)
            _write_rest(cursor, commit)
            return head

        return await self._db.run(write, after=self._cache.put)

    async def rows(
        self, entity: str, keys: Sequence[str] | None = None, *, after: str = "", limit: int = 1000
    ) -> dict[str, bytes]:
        """See Store."""
        if keys is None:
            page: list[Any] = self._db.read(
                "SELECT key, body FROM rows WHERE entity = ? AND key > ? ORDER BY key LIMIT ?",
                (entity, after, limit),
                of=_one_page,
            )
            return dict(page)
        found: list[Any] = [row for key in keys for row in self._db.read(_ONE_ROW, (entity, key))]
        return dict(found)

    async def row_of_each(self, entities: Sequence[str], key: str) -> dict[str, bytes]:
        """See Store."""
        found: dict[str, bytes] = {}
        for entity in entities:
            rows: list[Any] = self._db.read(_ONE_ROW, (entity, key))
            found.update((entity, body) for _, body in rows)
        return found

    async def count_rows(self, entity: str) -> int:
        """See Store."""
        return self._integer("SELECT count(*) FROM rows WHERE entity = ?", (entity,))

    async def document(self, collection: str, key: str) -> bytes | None:
        """See Store."""
        rows: list[Any] = self._db.read(
            "SELECT body FROM documents WHERE collection = ? AND key = ?", (collection, key)
        )
        return rows[0][0] if rows else None

    async def segments(self, entity: str, *, after: int = 0, limit: int = 100) -> list[bytes]:
        """See Store."""
        rows: list[Any] = self._db.read(
            "SELECT body FROM segments WHERE entity = ? AND version > ? ORDER BY version LIMIT ?",
            (entity, after, limit),
            of=_one_page,
        )
        return [row[0] for row in rows]

    async def list_heads(
        self,
        scope_prefix: str,
        *,
        statuses: Sequence[str] = (),
        labels: Mapping[str, str] | None = None,
        before: tuple[int, str] | None = None,
        limit: int = 50,
    ) -> list[Head]:
        """See Store."""
        where, values = _list_condition(scope_prefix, labels or {}, before)
        # One ordered walk of an index per status costs no more than the page it answers.
        pages = [
            self._page(where + condition, (*values, *extra, limit))
            for condition, extra in _status_conditions(statuses)
        ]
        ordered = merge(*pages, key=lambda head: (head.created_ms, head.entity), reverse=True)
        return list(islice(ordered, limit))

    async def overdue(self, before_ms: int, limit: int) -> list[str]:
        """See Store; the longest overdue first."""
        rows: list[Any] = self._db.read(
            "SELECT entity FROM ("
            " SELECT entity, posted_ms AS since FROM inbox WHERE posted_ms < ?"
            " UNION ALL SELECT entity, owed_since_ms FROM heads"
            " WHERE owed_since_ms > 0 AND owed_since_ms < ?"
            " UNION ALL SELECT entity, timer_ms FROM heads WHERE timer_ms > 0 AND timer_ms < ?"
            ") GROUP BY entity ORDER BY min(since), entity LIMIT ?",
            (before_ms, before_ms, before_ms, limit),
        )
        return [row[0] for row in rows]

    async def acquire_lease(self, name: str, holder: str, ttl_ms: int) -> Lease | None:
        """See Store."""
        check_id("lease", name)
        return await self._db.run(
            lambda cursor: acquire(cursor, name, holder, ttl_ms, self._stamp(cursor))
        )

    async def release_lease(self, lease: Lease) -> None:
        """See Store."""
        await self._db.run(lambda cursor: release(cursor, lease))

    def _load(self, entity: str) -> Head | None:
        head = self._cache.get(entity)
        if head is None:
            rows = self._db.read(_ONE_HEAD, (entity,))
            if rows:
                head = _head_of(rows[0])
                self._cache.put(head)
        return head

    def _page(self, condition: str, values: tuple[object, ...]) -> list[Head]:
        return [_head_of(row) for row in self._db.read(_LISTED + condition + _NEWEST_FIRST, values)]

    def _integer(self, sql: str, values: tuple[object, ...] = ()) -> int:
        rows: list[Any] = self._db.read(sql, values)
        return int(rows[0][0] or 0)

    def _stamp(self, cursor: sqlite3.Cursor) -> int:
        """The store's time for a write, kept with it."""
        now = self._last_ms = max(self._last_ms, self._clock.now_ms())
        if now > self._kept_ms:
            cursor.execute("UPDATE store_time SET ms = ?", (now,))
            self._kept_ms = now
        return now


def _head_of(row: Any) -> Head:
    labels, entity, version, status, state, owed, owed_since_ms, timer_ms, created_ms, updated = row
    return Head(
        entity, version, status, state, owed, owed_since_ms,
        _labels.decode(labels), timer_ms, created_ms, updated,
    )  # fmt: skip


def _check_preconditions(cursor: sqlite3.Cursor, commit: Commit) -> int:
    """created_ms of the head, 0 for a new one. Raises Contended before anything is written."""
    head = commit.head
    if commit.fence is not None and not current_grant(cursor, *commit.fence):
        raise contention.stale_fence(*commit.fence)
    row = cursor.execute(
        "SELECT version, created_ms FROM heads WHERE entity = ?", (head.entity,)
    ).fetchone()
    version, created_ms = row or (0, 0)
    if version != commit.expected_version:
        raise contention.stale_head(head.entity, commit.expected_version, version)
    _check_consumed(cursor, commit)
    for collection, key in commit.documents:
        if cursor.execute(
            "SELECT 1 FROM documents WHERE collection = ? AND key = ?", (collection, key)
        ).fetchone():
            raise contention.document_exists(collection, key)
    return int(created_ms)


def _check_consumed(cursor: sqlite3.Cursor, commit: Commit) -> None:
    """One range of the inbox instead of a look-up per item: most commits consume all of it."""
    if not commit.consumed:
        return
    names = [item.event_id for item in commit.consumed]
    waiting = dict(
        cursor.execute(
            "SELECT event_id, revision FROM inbox WHERE entity = ? AND event_id BETWEEN ? AND ?",
            (commit.head.entity, min(names), max(names)),
        ).fetchall()
    )
    for item in commit.consumed:
        if item.entity != commit.head.entity or waiting.get(item.event_id) != item.revision:
            raise contention.stale_item(item.entity, item.event_id)


def _write_head(cursor: sqlite3.Cursor, head: Head, *, is_new: bool) -> None:
    labels = msgspec.json.encode(dict(head.labels)).decode()
    changing = (
        head.version, head.status, head.state, head.owed, head.owed_since_ms, labels,
        head.timer_ms, head.updated_ms,
    )  # fmt: skip
    if is_new:
        scope = head.entity[: head.entity.rfind(":") + 1]
        cursor.execute(
            "INSERT INTO heads (version, status, state, owed, owed_since_ms, labels, timer_ms,"
            " updated_ms, entity, scope, created_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*changing, head.entity, scope, head.created_ms),
        )
    else:
        cursor.execute(
            "UPDATE heads SET version = ?, status = ?, state = ?, owed = ?, owed_since_ms = ?,"
            " labels = ?, timer_ms = ?, updated_ms = ? WHERE entity = ?",
            (*changing, head.entity),
        )


def _write_rest(cursor: sqlite3.Cursor, commit: Commit) -> None:
    entity = commit.head.entity
    cursor.executemany(
        "DELETE FROM inbox WHERE entity = ? AND event_id = ?",
        [(item.entity, item.event_id) for item in commit.consumed],
    )
    cursor.execute(
        "INSERT INTO segments (entity, version, body) VALUES (?, ?, ?)",
        (entity, commit.head.version, commit.segment),
    )
    cursor.executemany(
        "INSERT OR REPLACE INTO rows (entity, key, body) VALUES (?, ?, ?)",
        [(entity, key, body) for key, body in commit.rows.items() if body is not None],
    )
    cursor.executemany(
        "DELETE FROM rows WHERE entity = ? AND key = ?",
        [(entity, key) for key, body in commit.rows.items() if body is None],
    )
    cursor.executemany(
        "INSERT INTO documents (collection, key, body) VALUES (?, ?, ?)",
        [(collection, key, body) for (collection, key), body in commit.documents.items()],
    )


def _list_condition(
    scope_prefix: str, labels: Mapping[str, str], before: tuple[int, str] | None
) -> tuple[str, list[object]]:
    # A whole scope is one range of an index; any other prefix is a range of entities.
    values: list[object] = [scope_prefix]
    if scope_prefix.count(":") == 3 and scope_prefix.endswith(":"):
        condition = "scope = ?"
    else:
        condition = "entity >= ? AND entity < ?"
        values.append(scope_prefix + "\U0010ffff")
    for name, value in labels.items():
        condition += " AND EXISTS (SELECT 1 FROM json_each(labels) WHERE key = ? AND value = ?)"
        values += [name, value]
    if before is not None:
        condition += " AND (created_ms, entity) < (?, ?)"
        values += before
    return condition, values


def _status_conditions(statuses: Sequence[str]) -> list[tuple[str, tuple[str, ...]]]:
    if not statuses:
        return [("", ())]
    return [(" AND status = ?", (status,)) for status in dict.fromkeys(statuses)]
