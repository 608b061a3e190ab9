"""Every query has its index, and every index its query; all other fields are exempt."""

from __future__ import annotations

import pytest

from arco_flow.adapters.gcp import firestore_names
from arco_flow.adapters.gcp.firestore_queries import (
    due_before,
    in_range,
    newest_heads,
    posted_before,
)
from conformance.firestore_indexes import INDEXES, index_of, shipped

ROOT = "projects/p/databases/d/documents"
BEFORE = (5, "acme:prod:run:1")
QUERIES = [
    in_range(ROOT, "inbox", "a:", "a;", limit=5),
    in_range(ROOT, "rows", "a:", "a;", after=True),
    in_range(ROOT, "segments", "a:", "a;"),
    posted_before(ROOT, 5, None, 10),
    posted_before(ROOT, 5, BEFORE, 10),
    posted_before(ROOT, 5, BEFORE, 10, from_ms=1),
    due_before("owed_since_ms", 5, 10),
    due_before("owed_since_ms", 5, 10, from_ms=1),
    due_before("timer_ms", 5, 10),
    *(
        newest_heads(ROOT, "acme:", statuses, before, 10)
        for statuses in ([], ["a"], ["a", "b"])
        for before in (None, BEFORE)
    ),
]


@pytest.mark.parametrize("query", QUERIES, ids=range(len(QUERIES)))
def test_a_query_has_its_index(query):
    collection, fields = index_of(query)
    assert shipped(collection, fields), f"no index on {collection}: {fields}"


def test_no_index_is_without_a_query():
    used = {index_of(query) for query in QUERIES}
    single = [
        (override["collectionGroup"], ((override["fieldPath"], index["order"]),))
        for override in INDEXES["fieldOverrides"]
        for index in override["indexes"]
    ]
    composite = [
        (
            index["collectionGroup"],
            tuple(
                (field["fieldPath"], field.get("order") or field["arrayConfig"])
                for field in index["fields"]
                if field["fieldPath"] != "__name__"
            ),
        )
        for index in INDEXES["indexes"]
    ]
    assert not [index for index in single + composite if index not in used]


def test_every_collection_is_exempt_from_indexes_of_its_own_accord():
    collections = {
        value
        for name, value in vars(firestore_names).items()
        if name.isupper() and isinstance(value, str) and not name.startswith("_")
    }
    exempt = {
        override["collectionGroup"]
        for override in INDEXES["fieldOverrides"]
        if override["fieldPath"] == "*" and not override["indexes"]
    }
    assert exempt == collections
