"""How many operations the adapters made, by the kinds that are paid for."""

from __future__ import annotations

from collections import Counter
from threading import Lock

KINDS = (
    "document_reads", "document_writes", "document_deletes",
    "tasks", "publishes",
    "object_reads", "object_writes", "object_deletes",
)  # fmt: skip
"""Firestore counts documents (an empty answer is one read); Cloud Tasks counts calls (a list of
tasks created in one call: each); Pub/Sub messages; Storage requests, where lists are writes."""


class OperationCounts:
    """One per process, shared by its adapters. Safe to share between threads."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = Lock()

    def add(self, kind: str, number: int = 1) -> None:
        """Count so many operations of a kind of KINDS."""
        with self._lock:
            self._counts[kind] += number

    def so_far(self) -> dict[str, int]:
        """All kinds, with their numbers since the start."""
        with self._lock:
            return {kind: self._counts[kind] for kind in KINDS}
