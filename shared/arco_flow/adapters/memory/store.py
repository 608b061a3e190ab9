"""The document store in dictionaries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace as changed
from itertools import islice
from typing import Protocol

from arco_flow.adapters import contention
from arco_flow.adapters.limits import check_commit, check_id, check_post
from arco_flow.adapters.memory.faults import Faults, async_site
from arco_flow.adapters.memory.indexes import DueIndex, HeadIndex
from arco_flow.domain.page_size import one_page
from arco_flow.ports.clock import Clock
from arco_flow.ports.store import Commit, Head, InboxItem, Lease, Posted


class StoreObserver(Protocol):
    """Told of every effect on the store, before anyone else can see it."""

    def committed(self, commit: Commit, head: Head) -> None:
        """A commit was applied; the head as it is stored now."""
        ...

    def posted(self, item: InboxItem) -> None:
        """An event was put into an inbox, or replaced one there."""
        ...

    def leased(self, lease: Lease) -> None:
        """A lease was granted or renewed."""
        ...


class MemoryStore:
    """`Store` that forgets with its object: the model that the durable ones are compared with.

    observers: called synchronously after each effect, in order, whatever becomes of the answer.
    """

    def __init__(self, clock: Clock, faults: Faults | None = None) -> None:
        self.faults = faults or Faults()
        self.observers: list[StoreObserver] = []
        self._clock = clock
        self._last_ms = 0
        self._revision = 0
        self._heads: dict[str, Head] = {}
        # Per entity in the order of arrival, so that the first is the oldest.
        self._inbox: defaultdict[str, dict[str, InboxItem]] = defaultdict(dict)
        self._segments: dict[tuple[str, int], bytes] = {}
        self._rows: defaultdict[str, dict[str, bytes]] = defaultdict(dict)
        self._documents: dict[tuple[str, str], bytes] = {}
        self._leases: dict[str, Lease] = {}
        self._due = DueIndex()
        self._listed = HeadIndex()

    @async_site("store.now_ms")
    async def now_ms(self) -> int:
        """The clock's time, never going back."""
        return self._now_ms()

    @async_site("store.load")
    async def load(self, entity: str) -> Head | None:
        """See Store."""
        return self._heads.get(entity)

    @async_site("store.load_many")
    async def load_many(self, entities: Sequence[str]) -> dict[str, Head]:
        """See Store."""
        return {entity: self._heads[entity] for entity in entities if entity in self._heads}

    @async_site("store.inbox")
    async def inbox(self, entity: str, limit: int) -> list[InboxItem]:
        """See Store."""
        items = self._inbox.get(entity, {})
        return [items[event_id] for event_id in sorted(items)[:limit]]

    @async_site("store.post")
    async def post(
        self, entity: str, event_id: str, body: bytes, *, replace: bool = False
    ) -> Posted:
        """See Store."""
        check_post(entity, event_id, len(body))
        existing = self._inbox[entity].get(event_id)
        if existing is not None:
            if not replace:
                return Posted(False, existing.body)
            del self._inbox[entity][event_id]
        self._revision += 1
        item = InboxItem(entity, event_id, body, self._now_ms(), self._revision)
        self._inbox[entity][event_id] = item
        self._note_due(entity)
        for observer in self.observers:
            observer.posted(item)
        return Posted(True)

    @async_site("store.commit")
    async def commit(self, commit: Commit) -> Head:
        """See Store."""
        check_commit(commit)
        self._check_preconditions(commit)
        now, known = self._now_ms(), self._heads.get(commit.head.entity)
        head = changed(
            commit.head,
            labels=dict(commit.head.labels),
            created_ms=known.created_ms if known else now,
            updated_ms=now,
        )
        self._heads[head.entity] = head
        self._listed.put(known, head)
        for item in commit.consumed:
            del self._inbox[item.entity][item.event_id]
        self._note_due(head.entity)
        self._segments[head.entity, head.version] = commit.segment
        self._write_rows(head.entity, commit.rows)
        self._documents.update(commit.documents)
        for observer in self.observers:
            observer.committed(commit, head)
        return head

    @async_site("store.rows")
    async def rows(
        self, entity: str, keys: Sequence[str] | None = None, *, after: str = "", limit: int = 1000
    ) -> dict[str, bytes]:
        """See Store."""
        rows = self._rows.get(entity, {})
        if keys is None:
            following = sorted(key for key in rows if key > after)[:limit]
            keys = list(one_page(following, lambda key: len(rows[key])))
        return {key: rows[key] for key in keys if key in rows}

    @async_site("store.row_of_each")
    async def row_of_each(self, entities: Sequence[str], key: str) -> dict[str, bytes]:
        """See Store."""
        mine = ((entity, self._rows.get(entity, {})) for entity in entities)
        return {entity: rows[key] for entity, rows in mine if key in rows}

    @async_site("store.count_rows")
    async def count_rows(self, entity: str) -> int:
        """See Store."""
        return len(self._rows.get(entity, {}))

    @async_site("store.document")
    async def document(self, collection: str, key: str) -> bytes | None:
        """See Store."""
        return self._documents.get((collection, key))

    @async_site("store.segments")
    async def segments(self, entity: str, *, after: int = 0, limit: int = 100) -> list[bytes]:
        """See Store."""
        head = self._heads.get(entity)
        last = min(head.version if head else 0, after + limit)
        versions = range(max(after, 0) + 1, last + 1)
        return list(one_page((self._segments[entity, version] for version in versions), len))

    @async_site("store.list_heads")
    async def list_heads(
        self,
        scope_prefix: str,
        *,
        statuses: Sequence[str] = (),
        labels: Mapping[str, str] | None = None,
        before: tuple[int, str] | None = None,
        limit: int = 50,
    ) -> list[Head]:
        """See Store. Answers no state, so that no caller comes to rely on it."""
        wanted = (labels or {}).items()
        places = self._listed.newest_first(scope_prefix, statuses, before)
        heads = (self._heads[entity] for _, entity in places)
        found = (head for head in heads if wanted <= head.labels.items())
        return [changed(head, state=b"", owed=b"") for head in islice(found, limit)]

    @async_site("store.overdue")
    async def overdue(self, before_ms: int, limit: int) -> list[str]:
        """See Store; the longest overdue first."""
        return self._due.before(before_ms, limit)

    @async_site("store.acquire_lease")
    async def acquire_lease(self, name: str, holder: str, ttl_ms: int) -> Lease | None:
        """See Store. A grant that had lapsed gets a new token even for its own holder."""
        check_id("lease", name)
        now, current = self._now_ms(), self._leases.get(name)
        is_valid = current is not None and bool(current.holder) and current.expires_ms > now
        token = current.token if current else 0
        if is_valid and current is not None and current.holder != holder:
            return None
        lease = Lease(name, holder, token if is_valid else token + 1, now + ttl_ms)
        self._leases[name] = lease
        for observer in self.observers:
            observer.leased(lease)
        return lease

    @async_site("store.release_lease")
    async def release_lease(self, lease: Lease) -> None:
        """See Store."""
        current = self._leases.get(lease.name)
        if current is not None and current.token == lease.token:
            self._leases[lease.name] = Lease(lease.name, "", lease.token, 0)

    def _check_preconditions(self, commit: Commit) -> None:
        if commit.fence is not None:
            name, token = commit.fence
            lease = self._leases.get(name)
            if lease is None or not lease.holder or lease.token != token:
                raise contention.stale_fence(name, token)
        entity, known = commit.head.entity, self._heads.get(commit.head.entity)
        version = known.version if known else 0
        if version != commit.expected_version:
            raise contention.stale_head(entity, commit.expected_version, version)
        for item in commit.consumed:
            found = self._inbox.get(entity, {}).get(item.event_id)
            if found is None or found.revision != item.revision:
                raise contention.stale_item(entity, item.event_id)
        for collection, key in commit.documents:
            if (collection, key) in self._documents:
                raise contention.document_exists(collection, key)

    def _now_ms(self) -> int:
        self._last_ms = max(self._last_ms, self._clock.now_ms())
        return self._last_ms

    def _note_due(self, entity: str) -> None:
        """Since when the entity waits: its oldest event, its debt, its timer."""
        items, head = self._inbox.get(entity), self._heads.get(entity)
        times = [next(iter(items.values())).posted_ms] if items else []
        if items is not None and not items:
            del self._inbox[entity]
        if head is not None:
            times += [ms for ms in (head.owed_since_ms, head.timer_ms) if ms]
        self._due.set(entity, min(times, default=None))

    def _write_rows(self, entity: str, changes: Mapping[str, bytes | None]) -> None:
        rows = self._rows[entity] if changes else {}
        for key, body in changes.items():
            if body is None:
                rows.pop(key, None)
            else:
                rows[key] = body
