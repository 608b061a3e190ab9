"""What the documents are called.

    heads/{entity}                     inbox/{entity}:{event id}
    segments/{entity}:{version}        rows/{entity}:{row key}
    documents/{collection}:{key}       leases/{name}     grants/{name}:{token}

Inbox, segments and rows of an entity are one range of document names, in the order of what comes
after the colon. An id that would be over Firestore's 1,500 bytes, or could be read in two ways,
has a digest in it: what is over the limit keeps its order only up to the place of the digest.
"""

from __future__ import annotations

from hashlib import sha256

from arco_flow.adapters.limits import ID_LIMIT_BYTES

HEADS = "heads"
INBOX = "inbox"
SEGMENTS = "segments"
ROWS = "rows"
DOCUMENTS = "documents"
LEASES = "leases"
GRANTS = "grants"

ENTITY_COLONS = 3
"""Colons of an entity (`tenant:workspace:kind:name`): where its part of an id ends."""

_OWNER_BYTES = 700
_DIGEST = "~h="


def owned_id(owner: str, name: str, *, colons: int = ENTITY_COLONS) -> str:
    """`{owner}:{name}`, for an owner that has so many colons itself."""
    prefix = f"{_owner_part(owner, colons)}:"
    room = ID_LIMIT_BYTES - len(prefix.encode())
    raw = name.encode()
    if len(raw) <= room:
        return prefix + name
    digest = _DIGEST + sha256(raw).hexdigest()
    return prefix + raw[: room - len(digest)].decode(errors="ignore") + digest


def owned_range(owner: str, *, colons: int = ENTITY_COLONS) -> tuple[str, str]:
    """The first id that can be the owner's, and the first after all of them."""
    part = _owner_part(owner, colons)
    return f"{part}:", f"{part};"


def segment_id(entity: str, version: int) -> str:
    """Id of a ledger segment."""
    return owned_id(entity, f"{version:010}")


def grant_id(lease: str, token: int) -> str:
    """Id of the document that is there as long as this token of a lease is the current grant."""
    return owned_id(lease, f"{token:010}", colons=0)


def _owner_part(owner: str, colons: int) -> str:
    # `__` may begin no id that also ends so, and what follows the owner is not ours to choose.
    is_plain = owner.count(":") == colons and len(owner.encode()) <= _OWNER_BYTES
    if is_plain and not owner.startswith("__"):
        return owner
    return "h=" + sha256(owner.encode()).hexdigest()
