"""The one atomic write of an entity: its documents, its guards, and what a refusal means.

    head         exists=False, or update_time of the version that the commit was computed from
    segment      created, with the token of its writer
    documents    created
    consumed     deleted at the update_time that was seen, which is the item's revision
    rows         set or deleted
    fence        a write that changes nothing to the grant of the token, which must be there

No read lock is taken and nothing is read before, but for the update time of a head that this
process has not loaded. A grant is a document of its own beside the lease (see firestore_leases),
because renewals change the lease and must not fail the commits that are made under it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from arco_flow.adapters import contention
from arco_flow.adapters.gcp.firestore_calls import FirestoreCalls
from arco_flow.adapters.gcp.firestore_names import (
    DOCUMENTS,
    GRANTS,
    HEADS,
    INBOX,
    ROWS,
    SEGMENTS,
    grant_id,
    owned_id,
    segment_id,
)
from arco_flow.adapters.gcp.firestore_queries import marks_of
from arco_flow.adapters.gcp.firestore_wire import (
    Plain,
    changing,
    creating,
    deleting,
    ms_of,
    setting,
    texts_of,
    unchanged_since,
    us_of,
)
from arco_flow.adapters.gcp.firestore_writes import WRITER, LostRace, send, writer_token
from arco_flow.domain.errors import Contended
from arco_flow.ports.store import Commit, Head, InboxItem

_HEAD_FIELDS = (
    "version", "status", "labels", "marks", "state", "owed", "owed_since_ms", "timer_ms"
)  # fmt: skip
_REMEMBERED = 4096


class Seen(NamedTuple):
    """A head as this process last read or wrote it. update_us: the guard of its next version."""

    version: int
    update_us: int
    created_ms: int


class Commits:
    """Writes commits; remembers which version of a head it saw last, and when that was written."""

    def __init__(self, calls: FirestoreCalls) -> None:
        self._calls = calls
        self._seen: dict[str, Seen] = {}

    def head_of(self, document: Any) -> Head:
        """The head in a document; what is needed to write its next version is remembered."""
        fields = document.fields
        entity = document.name.rpartition("/")[2]
        head = Head(
            entity=entity,
            version=fields["version"].integer_value,
            status=fields["status"].string_value,
            state=fields["state"].bytes_value,
            owed=fields["owed"].bytes_value,
            owed_since_ms=fields["owed_since_ms"].integer_value,
            labels=texts_of(fields["labels"]),
            timer_ms=fields["timer_ms"].integer_value,
            created_ms=ms_of(fields["created"].timestamp_value),
            updated_ms=ms_of(fields["updated"].timestamp_value),
        )
        self._remember(entity, Seen(head.version, us_of(document.update_time), head.created_ms))
        return head

    async def apply(self, commit: Commit) -> Head:
        """Apply it whole or not at all. Raises as Store.commit does."""
        base = await self._base(commit)
        attempt = _Attempt(self._calls, commit, base)
        try:
            results = await send(self._calls, attempt.writes, attempt.landed)
        except LostRace as error:
            self._seen.pop(commit.head.entity, None)
            raise await attempt.cause() from error
        if results is None:
            return await self._read_back(commit)
        updated_ms = self._calls.time.stamped_ms(attempt.writes[0], results[0])
        created_ms = base.created_ms if base else updated_ms
        update_us = us_of(results[0].update_time)
        self._remember(commit.head.entity, Seen(commit.head.version, update_us, created_ms))
        return _stored(commit.head, created_ms, updated_ms)

    async def _base(self, commit: Commit) -> Seen | None:
        """The version that the commit goes on from; None for the first. Versions only grow, so
        what was seen of a later one is enough to refuse."""
        entity, expected = commit.head.entity, commit.expected_version
        if expected == 0:
            return None
        seen = self._seen.get(entity)
        if seen is None or seen.version < expected:
            path = f"{HEADS}/{entity}"
            found = await self._calls.get([path], ("version", "created"))
            if path in found:
                document = found[path]
                seen = Seen(
                    document.fields["version"].integer_value,
                    us_of(document.update_time),
                    ms_of(document.fields["created"].timestamp_value),
                )
                self._remember(entity, seen)
        if seen is None or seen.version != expected:
            raise contention.stale_head(entity, expected, seen.version if seen else 0)
        return seen

    async def _read_back(self, commit: Commit) -> Head:
        """The head after a commit that had landed unheard; others may have gone on from it."""
        entity, version = commit.head.entity, commit.head.version
        segment = f"{SEGMENTS}/{segment_id(entity, version)}"
        found = await self._calls.get([f"{HEADS}/{entity}", segment])
        head = self.head_of(found[f"{HEADS}/{entity}"])
        if head.version == version:
            return head
        return _stored(commit.head, head.created_ms, ms_of(found[segment].update_time))

    def _remember(self, entity: str, seen: Seen) -> None:
        # The last answer counts, even one that was overtaken: it costs a read, and what is kept of
        # a database that was restored since would cost every commit.
        self._seen.pop(entity, None)
        self._seen[entity] = seen
        if len(self._seen) > _REMEMBERED:
            del self._seen[next(iter(self._seen))]


class _Attempt:
    """A commit on its way: its writes, and what can be read back of it."""

    def __init__(self, calls: FirestoreCalls, commit: Commit, base: Seen | None) -> None:
        self._calls = calls
        self._commit = commit
        self._token = writer_token()
        self._read: dict[str, Any] | None = None
        head = commit.head
        self._head = f"{HEADS}/{head.entity}"
        self._segment = f"{SEGMENTS}/{segment_id(head.entity, head.version)}"
        self._grant = f"{GRANTS}/{grant_id(*commit.fence)}" if commit.fence else ""
        self._documents = {
            key: f"{DOCUMENTS}/{owned_id(*key, colons=0)}" for key in commit.documents
        }
        self.writes = self._all_writes(base)

    async def landed(self) -> bool:
        """Whether the segment of this version was written by this attempt."""
        paths = [self._segment, self._head] + ([self._grant] if self._grant else [])
        self._read = await self._calls.get(paths, ("version", WRITER))
        segment = self._read.get(self._segment)
        return segment is not None and segment.fields[WRITER].string_value == self._token

    async def cause(self) -> Contended:
        """Which precondition did not hold, looked for in the order of every store."""
        commit, entity = self._commit, self._commit.head.entity
        if self._read is None:
            await self.landed()
        read = self._read or {}
        if commit.fence and self._grant not in read:
            return contention.stale_fence(*commit.fence)
        version = read[self._head].fields["version"].integer_value if self._head in read else 0
        if version != commit.expected_version:
            return contention.stale_head(entity, commit.expected_version, version)
        stale = await self._stale_item()
        if stale is not None:
            return contention.stale_item(entity, stale.event_id)
        found = await self._calls.get(list(self._documents.values()), (WRITER,))
        for key, path in self._documents.items():
            if path in found:
                return contention.document_exists(*key)
        return contention.locked(entity)

    async def _stale_item(self) -> InboxItem | None:
        items = {f"{INBOX}/{owned_id(i.entity, i.event_id)}": i for i in self._commit.consumed}
        found = await self._calls.get(list(items), (WRITER,))
        for path, item in items.items():
            if path not in found or us_of(found[path].update_time) != item.revision:
                return item
        return None

    def _all_writes(self, base: Seen | None) -> Sequence[Any]:
        commit, entity = self._commit, self._commit.head.entity
        name = self._calls.name
        segment: dict[str, Plain] = {"body": commit.segment, WRITER: self._token}
        writes = [self._head_write(base), creating(name(self._segment), segment)]
        for key, body in commit.documents.items():
            writes.append(creating(name(self._documents[key]), {"body": body, WRITER: self._token}))
        for row, body_or_none in commit.rows.items():
            path = name(f"{ROWS}/{owned_id(entity, row)}")
            if body_or_none is None:
                writes.append(deleting(path))
            else:
                writes.append(setting(path, {"key": row, "body": body_or_none}))
        for item in commit.consumed:
            path = name(f"{INBOX}/{owned_id(entity, item.event_id)}")
            writes.append(unchanged_since(deleting(path), item.revision))
        if commit.fence:
            fence = changing(name(self._grant), {"token": commit.fence[1]}, ("token",))
            fence.current_document.exists = True
            writes.append(fence)
        return writes

    def _head_write(self, base: Seen | None) -> Any:
        head, time = self._commit.head, self._calls.time
        fields: dict[str, Plain] = {
            "version": head.version,
            "status": head.status,
            "labels": head.labels,
            "marks": marks_of(head.entity, head.labels),
            "state": head.state,
            "owed": head.owed,
        }
        # Absent rather than 0: what is absent is in no index, and so never overdue.
        fields |= {"owed_since_ms": head.owed_since_ms} if head.owed_since_ms else {}
        fields |= {"timer_ms": head.timer_ms} if head.timer_ms else {}
        name = self._calls.name(self._head)
        if base is None:
            write = creating(name, fields)
            time.stamp(write, "updated")
            time.stamp(write, "created")
        else:
            write = unchanged_since(changing(name, fields, _HEAD_FIELDS), base.update_us)
            time.stamp(write, "updated")
        return write


def _stored(head: Head, created_ms: int, updated_ms: int) -> Head:
    return Head(
        head.entity, head.version, head.status, head.state, head.owed, head.owed_since_ms,
        dict(head.labels), head.timer_ms, created_ms, updated_ms,
    )  # fmt: skip
