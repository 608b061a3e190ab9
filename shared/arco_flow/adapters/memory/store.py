"""The document store in dictionaries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace as changed

from arco_flow.adapters import contention
from arco_flow.adapters.limits import check_commit, check_document
from arco_flow.adapters.memory.faults import Faults, async_site
from arco_flow.ports.clock import Clock
from arco_flow.ports.store import Commit, Head, InboxItem, Lease, Posted


class MemoryStore:
    """`Store` that forgets with its object: the model that the durable ones are compared with."""

    def __init__(self, clock: Clock, faults: Faults | None = None) -> None:
        self.faults = faults or Faults()
        self._clock = clock
        self._last_ms = 0
        self._revision = 0
        self._heads: dict[str, Head] = {}
        self._inbox: defaultdict[str, dict[str, InboxItem]] = defaultdict(dict)
        self._segments: dict[tuple[str, int], bytes] = {}
        self._rows: defaultdict[str, dict[str, bytes]] = defaultdict(dict)
        self._documents: dict[tuple[str, str], bytes] = {}
        self._leases: dict[str, Lease] = {}

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
        check_document(f"event '{event_id}' of '{entity}'", len(body))
        existing = self._inbox[entity].get(event_id)
        if existing is not None and not replace:
            return Posted(False, existing.body)
        self._revision += 1
        item = InboxItem(entity, event_id, body, self._now_ms(), self._revision)
        self._inbox[entity][event_id] = item
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
        for item in commit.consumed:
            del self._inbox[item.entity][item.event_id]
        self._segments[head.entity, head.version] = commit.segment
        for key, body in commit.rows.items():
            if body is None:
                self._rows[head.entity].pop(key, None)
            else:
                self._rows[head.entity][key] = body
        self._documents.update(commit.documents)
        return head

    @async_site("store.rows")
    async def rows(
        self, entity: str, keys: Sequence[str] | None = None, *, after: str = "", limit: int = 1000
    ) -> dict[str, bytes]:
        """See Store."""
        rows = self._rows.get(entity, {})
        if keys is None:
            keys = sorted(key for key in rows if key > after)[:limit]
        return {key: rows[key] for key in keys if key in rows}

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
        return [self._segments[entity, version] for version in range(max(after, 0) + 1, last + 1)]

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
        found = [
            head
            for head in self._heads.values()
            if head.entity.startswith(scope_prefix)
            and (not statuses or head.status in statuses)
            and wanted <= head.labels.items()
            and (before is None or _age(head) < before)
        ]
        found.sort(key=_age, reverse=True)
        return [changed(head, state=b"", owed=b"") for head in found[:limit]]

    @async_site("store.overdue")
    async def overdue(self, before_ms: int, limit: int) -> list[str]:
        """See Store; the longest overdue first."""
        times = [(item.posted_ms, e) for e, items in self._inbox.items() for item in items.values()]
        for head in self._heads.values():
            times += [(ms, head.entity) for ms in (head.owed_since_ms, head.timer_ms) if ms]
        late = sorted(time for time in times if time[0] < before_ms)
        return list(dict.fromkeys(entity for _, entity in late))[:limit]

    @async_site("store.acquire_lease")
    async def acquire_lease(self, name: str, holder: str, ttl_ms: int) -> Lease | None:
        """See Store. A grant that had lapsed gets a new token even for its own holder."""
        now, current = self._now_ms(), self._leases.get(name)
        is_valid = current is not None and bool(current.holder) and current.expires_ms > now
        token = current.token if current else 0
        if is_valid and current is not None and current.holder != holder:
            return None
        lease = Lease(name, holder, token if is_valid else token + 1, now + ttl_ms)
        self._leases[name] = lease
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


def _age(head: Head) -> tuple[int, str]:
    return head.created_ms, head.entity
