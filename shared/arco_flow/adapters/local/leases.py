"""Leases in SQLite: a row per name that is never deleted, so that its token only grows."""

from __future__ import annotations

import sqlite3

from arco_flow.ports.store import Lease


def acquire(
    cursor: sqlite3.Cursor, name: str, holder: str, ttl_ms: int, now_ms: int
) -> Lease | None:
    """Take over (token + 1) or renew (same token); None while another's grant is valid.

    A grant that had lapsed is taken over even by its own holder: what it began under the old
    token may be waiting in a queue somewhere, and is refused from now on.
    """
    row = cursor.execute(
        "SELECT holder, token, expires_ms FROM leases WHERE name = ?", (name,)
    ).fetchone()
    current, token, expires_ms = row or ("", 0, 0)
    is_valid = bool(current) and expires_ms > now_ms
    if is_valid and current != holder:
        return None
    lease = Lease(name, holder, token if is_valid else token + 1, now_ms + ttl_ms)
    cursor.execute(
        "INSERT OR REPLACE INTO leases (name, holder, token, expires_ms) VALUES (?, ?, ?, ?)",
        (lease.name, lease.holder, lease.token, lease.expires_ms),
    )
    return lease


def release(cursor: sqlite3.Cursor, lease: Lease) -> None:
    """Give back, when this grant is still the current one. The token stays behind."""
    cursor.execute(
        "UPDATE leases SET holder = '', expires_ms = 0 WHERE name = ? AND token = ?",
        (lease.name, lease.token),
    )


def current_grant(cursor: sqlite3.Cursor, name: str, token: int) -> bool:
    """Whether this token is of the newest grant and was not given back.

    A grant that ran out counts while nobody else took it: then nobody wrote under a newer one.
    """
    row = cursor.execute(
        "SELECT 1 FROM leases WHERE name = ? AND token = ? AND holder <> ''", (name, token)
    ).fetchone()
    return row is not None
