"""The refusals of a commit, worded alike by every store.

`details["precondition"]` is `head`, `inbox`, `document` or `fence`; or `lock`, where the database
locks what it writes.
"""

from __future__ import annotations

from arco_flow.domain.errors import Contended


def stale_head(entity: str, expected: int, found: int) -> Contended:
    """The head is at another version than the commit was computed from (0 = there is none)."""
    return Contended(
        f"'{entity}' is at version {found}, not {expected}: another writer committed first",
        details={"precondition": "head", "entity": entity, "expected": expected, "found": found},
    )


def stale_item(entity: str, event_id: str) -> Contended:
    """An inbox item to be consumed is gone, or was replaced since it was read."""
    return Contended(
        f"event '{event_id}' of '{entity}' was consumed or replaced by another writer",
        details={"precondition": "inbox", "entity": entity, "event_id": event_id},
    )


def document_exists(collection: str, key: str) -> Contended:
    """A document that the commit would create is there already."""
    return Contended(
        f"document '{collection}/{key}' exists already",
        details={"precondition": "document", "collection": collection, "key": key},
    )


def stale_fence(name: str, token: int) -> Contended:
    """The lease was taken over or given back: its old holder may not write any more."""
    return Contended(
        f"token {token} of lease '{name}' is no longer the current grant",
        details={"precondition": "fence", "lease": name, "token": token},
    )


def locked(entity: str) -> Contended:
    """Every precondition held when it was read back: others were writing the same documents."""
    return Contended(
        f"'{entity}' is being written by others",
        details={"precondition": "lock", "entity": entity},
    )
