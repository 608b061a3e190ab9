"""The document store on Firestore."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from arco_flow.adapters.gcp.firestore_calls import FirestoreCalls
from arco_flow.adapters.gcp.firestore_commit import Commits
from arco_flow.adapters.gcp.firestore_floors import Floors
from arco_flow.adapters.gcp.firestore_leases import Leases
from arco_flow.adapters.gcp.firestore_names import (
    DOCUMENTS,
    HEADS,
    INBOX,
    LEASES,
    ROWS,
    SEGMENTS,
    owned_id,
    owned_range,
    segment_id,
)
from arco_flow.adapters.gcp.firestore_queries import (
    MAX_STATUSES,
    due_before,
    in_range,
    mark_for,
    newest_heads,
    posted_before,
)
from arco_flow.adapters.gcp.firestore_wire import Plain, creating, ms_of, setting, us_of
from arco_flow.adapters.gcp.firestore_writes import WRITER, LostRace, send, writer_token
from arco_flow.adapters.gcp.operation_counts import OperationCounts
from arco_flow.adapters.limits import COMMIT_LIMIT_BYTES, check_commit, check_id, check_post
from arco_flow.domain.errors import InvalidInput, Unavailable
from arco_flow.ports.store import Commit, Head, InboxItem, Lease, Posted

_RACES = 8
_OVERDUE_PAGES = 10
_CLOCK = f"{LEASES}/-"
"""A document that is not there: reading it tells the time."""


class FirestoreStore:
    """`Store` on Firestore in native mode; names, writes and queries are in the modules beside.

    Made and used in one event loop.
    """

    def __init__(
        self,
        project: str,
        database: str = "(default)",
        *,
        counts: OperationCounts | None = None,
        calls: FirestoreCalls | None = None,
    ) -> None:
        """calls: a connection that was made otherwise."""
        self._calls = calls or FirestoreCalls(project, database, counts=counts)
        self._commits = Commits(self._calls)
        self._leases = Leases(self._calls)
        self._floors = Floors(self._calls.time)
        self.commit_limit_bytes = min(COMMIT_LIMIT_BYTES, self._calls.request_limit_bytes)
        """What one commit holds: less on Google's emulator."""

    async def close(self) -> None:
        """Give the connection back."""
        await self._calls.close()

    async def now_ms(self) -> int:
        """The store's clock; see `server_time` for what it is and costs."""
        known = self._calls.time.now_ms()
        if known is None:
            await self._calls.get([_CLOCK], (WRITER,))
            known = self._calls.time.now_ms()
        if known is None:
            raise Unavailable("Firestore answers without the time")
        return known

    async def load(self, entity: str) -> Head | None:
        """See Store."""
        return (await self.load_many([entity])).get(entity)

    async def load_many(self, entities: Sequence[str]) -> dict[str, Head]:
        """See Store."""
        found = await self._calls.get([f"{HEADS}/{entity}" for entity in entities])
        heads = (self._commits.head_of(document) for document in found.values())
        return {head.entity: head for head in heads}

    async def inbox(self, entity: str, limit: int) -> list[InboxItem]:
        """See Store."""
        first, end = owned_range(entity)
        found = await self._calls.query(in_range(self._calls.root, INBOX, first, end, limit=limit))
        return sorted(map(_item_of, found), key=lambda item: item.event_id)

    async def post(
        self, entity: str, event_id: str, body: bytes, *, replace: bool = False
    ) -> Posted:
        """See Store."""
        check_post(entity, event_id, len(body))
        path = f"{INBOX}/{owned_id(entity, event_id)}"
        for _ in range(_RACES):
            posted = await self._post(path, entity, event_id, body, replace)
            if posted is not None:
                return posted
        # Not Contended: who posts must hear that his event is not there.
        raise Unavailable(f"event '{event_id}' of '{entity}' is written by others all the time")

    async def commit(self, commit: Commit) -> Head:
        """See Store."""
        check_commit(commit)
        return await self._commits.apply(commit)

    async def rows(
        self, entity: str, keys: Sequence[str] | None = None, *, after: str = "", limit: int = 1000
    ) -> dict[str, bytes]:
        """See Store."""
        if keys is None:
            first, end = owned_range(entity)
            query = in_range(
                self._calls.root, ROWS, owned_id(entity, after) if after else first, end,
                after=bool(after), limit=limit,
            )  # fmt: skip
            found: Sequence[Any] = await self._calls.query(query, one_page=True)
        else:
            paths = [f"{ROWS}/{owned_id(entity, key)}" for key in keys]
            documents = await self._calls.get(paths)
            found = [documents[path] for path in paths if path in documents]
        return {row.fields["key"].string_value: row.fields["body"].bytes_value for row in found}

    async def row_of_each(self, entities: Sequence[str], key: str) -> dict[str, bytes]:
        """See Store."""
        paths = {f"{ROWS}/{owned_id(entity, key)}": entity for entity in entities}
        found = await self._calls.get(list(paths))
        return {paths[path]: row.fields["body"].bytes_value for path, row in found.items()}

    async def count_rows(self, entity: str) -> int:
        """See Store."""
        return await self._calls.count(in_range(self._calls.root, ROWS, *owned_range(entity)))

    async def document(self, collection: str, key: str) -> bytes | None:
        """See Store."""
        path = f"{DOCUMENTS}/{owned_id(collection, key, colons=0)}"
        found = await self._calls.get([path])
        return bytes(found[path].fields["body"].bytes_value) if path in found else None

    async def segments(self, entity: str, *, after: int = 0, limit: int = 100) -> list[bytes]:
        """See Store."""
        first, end = segment_id(entity, max(after, 0)), owned_range(entity)[1]
        found = await self._calls.query(
            in_range(self._calls.root, SEGMENTS, first, end, after=True, limit=limit),
            one_page=True,
        )
        return [document.fields["body"].bytes_value for document in found]

    async def list_heads(
        self,
        scope_prefix: str,
        *,
        statuses: Sequence[str] = (),
        labels: Mapping[str, str] | None = None,
        before: tuple[int, str] | None = None,
        limit: int = 50,
    ) -> list[Head]:
        """See Store. One query for a whole scope with one label at most; what is asked for
        beyond that is left out of what the query finds. The prefix holds a whole tenant."""
        mark = mark_for(scope_prefix, labels or {})
        if not mark:
            raise InvalidInput(f"a list of heads needs a tenant, not '{scope_prefix}'")
        wanted, names = set(statuses), sorted(set(statuses))
        in_query = names if len(names) <= MAX_STATUSES else []
        found: list[Head] = []
        while len(found) < limit:
            page = await self._calls.query(
                newest_heads(self._calls.root, mark, in_query, before, limit)
            )
            heads = [_listed(self._commits.head_of(document)) for document in page]
            found += [
                head
                for head in heads
                if head.entity.startswith(scope_prefix)
                and (labels or {}).items() <= head.labels.items()
                and (not wanted or head.status in wanted)
            ]
            if len(page) < limit:
                break
            before = (heads[-1].created_ms, heads[-1].entity)
        return found[:limit]

    async def overdue(self, before_ms: int, limit: int) -> list[str]:
        """See Store; the longest overdue first."""
        sources = await asyncio.gather(
            self._overdue_inboxes(before_ms, limit),
            *(
                self._overdue_heads(name, before_ms, limit)
                for name in ("owed_since_ms", "timer_ms")
            ),
        )
        since: dict[str, int] = {}
        for source in sources:
            for entity, ms in source.items():
                since[entity] = min(ms, since.get(entity, ms))
        return sorted(since, key=lambda entity: (since[entity], entity))[:limit]

    async def acquire_lease(self, name: str, holder: str, ttl_ms: int) -> Lease | None:
        """See Store."""
        check_id("lease", name)
        return await self._leases.acquire(name, holder, ttl_ms)

    async def release_lease(self, lease: Lease) -> None:
        """See Store."""
        await self._leases.release(lease)

    async def _post(
        self, path: str, entity: str, event_id: str, body: bytes, replace: bool
    ) -> Posted | None:
        """None when an item was in the way and is gone by now."""
        token = writer_token()
        fields: dict[str, Plain] = {
            "entity": entity, "event": event_id, "body": body, WRITER: token
        }  # fmt: skip
        write = (setting if replace else creating)(self._calls.name(path), fields)
        self._calls.time.stamp(write, "posted")
        there: list[Any] = []

        async def landed() -> bool:
            there[:] = (await self._calls.get([path], (WRITER, "body"))).values()
            return bool(there) and there[0].fields[WRITER].string_value == token

        try:
            await send(self._calls, [write], landed)
        except LostRace:
            return Posted(False, there[0].fields["body"].bytes_value) if there else None
        return Posted(True)

    async def _overdue_inboxes(self, before_ms: int, limit: int) -> dict[str, int]:
        """When the first item of each was posted. A page may hold many items of one entity."""
        since: dict[str, int] = {}
        after: tuple[int, str] | None = None
        root, from_ms = self._calls.root, self._floors.of(INBOX)
        for _ in range(_OVERDUE_PAGES):
            query = posted_before(root, before_ms, after, limit, from_ms=from_ms)
            page = await self._calls.query(query)
            if after is None:
                oldest = ms_of(page[0].fields["posted"].timestamp_value) if page else None
                self._floors.learn(INBOX, from_ms, before_ms, oldest)
            for document in page:
                posted_ms = ms_of(document.fields["posted"].timestamp_value)
                since.setdefault(document.fields["entity"].string_value, posted_ms)
                after = posted_ms, document.name.rpartition("/")[2]
            if len(page) < limit or len(since) >= limit:
                break
        return since

    async def _overdue_heads(self, field: str, before_ms: int, limit: int) -> dict[str, int]:
        # A timer may be set to a time that is past already; debts are as old as their commit.
        has_floor = field == "owed_since_ms"
        from_ms = self._floors.of(field) if has_floor else 0
        found = await self._calls.query(due_before(field, before_ms, limit, from_ms=from_ms))
        if has_floor:
            oldest = found[0].fields[field].integer_value if found else None
            self._floors.learn(field, from_ms, before_ms, oldest)
        return {
            document.name.rpartition("/")[2]: document.fields[field].integer_value
            for document in found
        }


def _item_of(document: Any) -> InboxItem:
    fields = document.fields
    return InboxItem(
        fields["entity"].string_value,
        fields["event"].string_value,
        fields["body"].bytes_value,
        ms_of(fields["posted"].timestamp_value),
        us_of(document.update_time),
    )


def _listed(head: Head) -> Head:
    return replace(head, state=b"", owed=b"")
