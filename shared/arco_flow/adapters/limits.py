"""Sizes and ids that every store refuses alike, so that what runs on a laptop runs on Firestore.

Firestore stops at 1 MiB per document and 10 MiB per commit; ours are lower, because names, index
entries and framing count there too. Its rules for the id of a document are taken over as they are.
"""

from __future__ import annotations

from arco_flow.domain.errors import InvalidInput, TooLarge
from arco_flow.ports.store import Commit

DOCUMENT_LIMIT_BYTES = 900 * 1024
COMMIT_LIMIT_BYTES = 8 * 1024 * 1024
ID_LIMIT_BYTES = 1500


def check_document(what: str, size: int) -> int:
    """The size, in bytes. Raises TooLarge over 900 KiB."""
    if size > DOCUMENT_LIMIT_BYTES:
        raise TooLarge(
            f"{what} is {size:,} bytes; a document holds {DOCUMENT_LIMIT_BYTES:,} at most",
            fix="keep large content in an object and store its key, or split the work",
            details={"what": what, "size": size, "limit": DOCUMENT_LIMIT_BYTES},
        )
    return size


def check_id(what: str, text: str) -> str:
    """The id of a document. Raises InvalidInput for what Firestore would refuse: no text, over
    1,500 bytes of UTF-8, `.`, `..`, `__x__`, with a slash, a NUL or half of a surrogate pair."""
    if text.isascii():
        size = len(text)
    else:
        size = len(text.encode(errors="replace"))
    is_reserved = text in (".", "..") or (text[:2] == "__" == text[-2:] and size >= 4)
    if not 0 < size <= ID_LIMIT_BYTES or is_reserved or _holds_forbidden(text):
        shown = text if len(text) <= 80 else text[:77] + "..."
        raise InvalidInput(
            f"{shown!r} can not be the id of a document ({what})",
            fix=f"1 to {ID_LIMIT_BYTES:,} bytes without '/' and NUL, not '.', '..' or '__x__';"
            " hash what may hold anything",
            details={"what": what, "size": size},
        )
    return text


def check_post(entity: str, event_id: str, size: int) -> None:
    """Raises TooLarge for an event over the limit, InvalidInput for an id."""
    check_id("entity", entity)
    check_id("event", event_id)
    check_document(f"event '{event_id}' of '{entity}'", size)


def check_commit(commit: Commit) -> None:
    """Raises TooLarge over a limit, InvalidInput for an id and for a commit that contradicts
    itself."""
    head = commit.head
    check_id("entity", head.entity)
    if head.version != commit.expected_version + 1:
        raise InvalidInput(
            f"version {head.version} of '{head.entity}' does not follow {commit.expected_version}",
            fix="a commit's head has the version it expects plus one",
        )
    if any(item.entity != head.entity for item in commit.consumed):
        raise InvalidInput(f"a commit of '{head.entity}' consumes events of another entity")
    size = _commit_size(commit)
    if size > COMMIT_LIMIT_BYTES:
        raise TooLarge(
            f"the commit of '{head.entity}' is {size:,} bytes; one holds"
            f" {COMMIT_LIMIT_BYTES:,} at most",
            fix="fold fewer events at once, or keep large content in objects",
            details={"entity": head.entity, "size": size, "limit": COMMIT_LIMIT_BYTES},
        )


def _commit_size(commit: Commit) -> int:
    head = commit.head
    labels = sum(len(name) + len(value) for name, value in head.labels.items())
    size = check_document(f"the head of '{head.entity}'", len(head.state) + len(head.owed) + labels)
    size += check_document(f"the ledger segment of '{head.entity}'", len(commit.segment))
    for key, row in commit.rows.items():
        check_id("row", key)
        size += check_document(f"row '{key}' of '{head.entity}'", len(row or b""))
    for (collection, key), body in commit.documents.items():
        check_id("collection", collection)
        check_id("document", key)
        size += check_document(f"document '{collection}/{key}'", len(body))
    return size


def _holds_forbidden(text: str) -> bool:
    if "/" in text or "\0" in text:
        return True
    return not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text)
