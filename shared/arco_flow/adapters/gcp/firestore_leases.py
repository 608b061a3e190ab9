"""Leases: who holds what until when, with a token that only grows.

    leases/{name}            holder, token, expires_ms; never deleted, so that its token only grows
    grants/{name}:{token}    there as long as this token is the current grant

A commit made under a lease needs its grant to be there and so needs no read, and a renewal, which
writes the lease alone, fails no commit. Taking over and giving back delete the grant in the same
commit that changes the lease.
"""

from __future__ import annotations

from typing import Any

from arco_flow.adapters.gcp.firestore_calls import FirestoreCalls
from arco_flow.adapters.gcp.firestore_names import GRANTS, LEASES, grant_id
from arco_flow.adapters.gcp.firestore_wire import (
    Plain,
    creating,
    deleting,
    setting,
    unchanged_since,
    us_of,
)
from arco_flow.adapters.gcp.firestore_writes import WRITER, LostRace, send, writer_token
from arco_flow.domain.errors import Unavailable
from arco_flow.ports.store import Lease

_RACES = 8


class Leases:
    """Takes, renews and gives back by conditional commits."""

    def __init__(self, calls: FirestoreCalls) -> None:
        self._calls = calls

    async def acquire(self, name: str, holder: str, ttl_ms: int) -> Lease | None:
        """See Store. A grant that had lapsed gets a new token even for its own holder."""
        for _ in range(_RACES):
            document, current = await self._load(name)
            now_ms = self._calls.time.now_ms()
            if now_ms is None:
                # The read has told it, and this process has stood still since.
                continue
            is_valid = bool(current.holder) and current.expires_ms > now_ms
            if is_valid and current.holder != holder:
                return None
            token = current.token if is_valid else current.token + 1
            lease = Lease(name, holder, token, now_ms + ttl_ms)
            if await self._replace(document, current, lease):
                return lease
        raise Unavailable(f"lease '{name}' is fought over; nobody gets it at the moment")

    async def release(self, lease: Lease) -> None:
        """See Store."""
        for _ in range(_RACES):
            document, current = await self._load(lease.name)
            if document is None or current.token != lease.token or not current.holder:
                return
            if await self._replace(document, current, Lease(lease.name, "", lease.token, 0)):
                return

    async def _load(self, name: str) -> tuple[Any | None, Lease]:
        path = f"{LEASES}/{name}"
        document = (await self._calls.get([path])).get(path)
        if document is None:
            return None, Lease(name, "", 0, 0)
        fields = document.fields
        return document, Lease(
            name,
            fields["holder"].string_value,
            fields["token"].integer_value,
            fields["expires_ms"].integer_value,
        )

    async def _replace(self, document: Any | None, current: Lease, lease: Lease) -> bool:
        """Write the next state of a lease; False when another has written it meanwhile."""
        writer = writer_token()
        fields: dict[str, Plain] = {
            "holder": lease.holder, "token": lease.token, "expires_ms": lease.expires_ms,
            WRITER: writer,
        }  # fmt: skip
        path = f"{LEASES}/{lease.name}"
        name = self._calls.name(path)
        if document is None:
            writes = [creating(name, fields)]
        else:
            writes = [unchanged_since(setting(name, fields), us_of(document.update_time))]
        if current.token and (lease.token != current.token or not lease.holder):
            writes.append(deleting(self._grant(current)))
        if lease.token != current.token:
            writes.append(creating(self._grant(lease), {"token": lease.token, WRITER: writer}))

        async def landed() -> bool:
            found = (await self._calls.get([path], (WRITER,))).get(path)
            return found is not None and found.fields[WRITER].string_value == writer

        try:
            await send(self._calls, writes, landed)
        except LostRace:
            return False
        return True

    def _grant(self, lease: Lease) -> str:
        return self._calls.name(f"{GRANTS}/{grant_id(lease.name, lease.token)}")
