"""Sizes that every store refuses alike, so that what runs on a laptop also runs on Firestore.

Firestore stops at 1 MiB per document and 10 MiB per commit; ours are lower, because names, index
entries and framing count there too.
"""

from __future__ import annotations

from arco_flow.domain.errors import InvalidInput, TooLarge
from arco_flow.ports.store import Commit

DOCUMENT_LIMIT_BYTES = 900 * 1024
COMMIT_LIMIT_BYTES = 8 * 1024 * 1024


def check_document(what: str, size: int) -> int:
    """The size, in bytes. Raises TooLarge over 900 KiB."""
    if size > DOCUMENT_LIMIT_BYTES:
        raise TooLarge(
            f"{what} is {size:,} bytes; a document holds {DOCUMENT_LIMIT_BYTES:,} at most",
            fix="keep large content in an object and store its key, or split the work",
            details={"what": what, "size": size, "limit": DOCUMENT_LIMIT_BYTES},
        )
    return size


def check_commit(commit: Commit) -> None:
    """Raises TooLarge over a limit, InvalidInput when the commit contradicts itself."""
    head = commit.head
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
        size += check_document(f"row '{key}' of '{head.entity}'", len(row or b""))
    for (collection, key), body in commit.documents.items():
        size += check_document(f"document '{collection}/{key}'", len(body))
    return size
