"""The document store: heads, inboxes, ledger segments, rows, reservations and leases.

Its one atomic write is `commit`, guarded by preconditions and free of read locks. All times are
the store's (UTC epoch milliseconds).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Head:
    """One entity's current document.

    version: of the last commit, 1 for the first; the precondition of the next.
    status: for lists. labels: few short strings for lists and filters (never the state).
    state: packed by the entity's codec. owed: encoded effects not known to be submitted.
    owed_since_ms: when the oldest debt was committed, 0 without debt.
    timer_ms: when the entity's armed timer is due, 0 without one.
    created_ms, updated_ms: store times, filled in by the store on commit.
    """

    entity: str
    version: int
    status: str
    state: bytes
    owed: bytes = b""
    owed_since_ms: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    timer_ms: int = 0
    created_ms: int = 0
    updated_ms: int = 0


@dataclass(frozen=True, slots=True)
class InboxItem:
    """An event that arrived and is not folded yet.

    revision: changes when the item is replaced; a commit that consumes it names the revision
    it saw, so that a heartbeat that came in between is not lost.
    """

    entity: str
    event_id: str
    body: bytes
    posted_ms: int
    revision: int


@dataclass(frozen=True, slots=True)
class Posted:
    """Outcome of a post: created, or the body that was there first."""

    created: bool
    existing: bytes | None = None


@dataclass(frozen=True, slots=True)
class Commit:
    """One atomic write of an entity.

    expected_version: version of the head it was computed from; 0 = the head must not exist.
    consumed: inbox items that must still exist at the revision seen; they are deleted.
    segment: the ledger segment, created under (entity, head.version).
    rows: documents of the entity to set, or to delete (None).
    documents: (collection, key) -> body, created only if all of them are absent.
    fence: (lease name, token) that must be the current grant, or None.
    """

    head: Head
    expected_version: int
    segment: bytes
    consumed: Sequence[InboxItem] = ()
    rows: Mapping[str, bytes | None] = field(default_factory=dict)
    documents: Mapping[tuple[str, str], bytes] = field(default_factory=dict)
    fence: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """A grant: who holds it, its ever increasing fencing token, when it ends (store time)."""

    name: str
    holder: str
    token: int
    expires_ms: int


class Store(Protocol):
    """Everything durable but objects and queues.

    Errors: Contended (a precondition failed; nothing was written), TooLarge (a document over
    900 KiB, a commit over 8 MiB), Unavailable (nothing was written), OutcomeUnknown.
    """

    async def now_ms(self) -> int:
        """The store's clock."""
        ...

    async def load(self, entity: str) -> Head | None:
        """The head, or None."""
        ...

    async def load_many(self, entities: Sequence[str]) -> dict[str, Head]:
        """The heads that exist among these."""
        ...

    async def inbox(self, entity: str, limit: int) -> list[InboxItem]:
        """Waiting events in order of their ids."""
        ...

    async def post(
        self, entity: str, event_id: str, body: bytes, *, replace: bool = False
    ) -> Posted:
        """Create an inbox item if absent, or overwrite it when `replace`."""
        ...

    async def commit(self, commit: Commit) -> Head:
        """Apply one commit whole or not at all; answers the head as stored."""
        ...

    async def rows(
        self, entity: str, keys: Sequence[str] | None = None, *, after: str = "", limit: int = 1000
    ) -> dict[str, bytes]:
        """Rows by key (all of them, whatever the number); or, with keys None, the next `limit`
        rows after a key, in key order, or fewer: up to the one that reaches PAGE_BYTES."""
        ...

    async def row_of_each(self, entities: Sequence[str], key: str) -> dict[str, bytes]:
        """The row of one key, by entity, of those that have it."""
        ...

    async def count_rows(self, entity: str) -> int:
        """How many rows the entity has."""
        ...

    async def document(self, collection: str, key: str) -> bytes | None:
        """A document created by a commit, or None."""
        ...

    async def segments(self, entity: str, *, after: int = 0, limit: int = 100) -> list[bytes]:
        """The next `limit` ledger segments of versions > after, in order, or fewer: up to the one
        that reaches PAGE_BYTES."""
        ...

    async def list_heads(
        self,
        scope_prefix: str,
        *,
        statuses: Sequence[str] = (),
        labels: Mapping[str, str] | None = None,
        before: tuple[int, str] | None = None,
        limit: int = 50,
    ) -> list[Head]:
        """Heads whose entity starts with the prefix (`tenant:workspace:kind:`), newest first by
        (created_ms, entity); `before` continues after the last one of a page. `state` and `owed`
        may be empty bytes in the answer."""
        ...

    async def overdue(self, before_ms: int, limit: int) -> list[str]:
        """Entities with an inbox item, a debt or a due timer older than this: the sweeper's
        work."""
        ...

    async def acquire_lease(self, name: str, holder: str, ttl_ms: int) -> Lease | None:
        """Take or renew a lease; None while another holder's is valid. A take-over raises the
        token; a renewal keeps it."""
        ...

    async def release_lease(self, lease: Lease) -> None:
        """Give it back early, if it is still ours."""
        ...
