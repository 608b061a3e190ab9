"""Which index a query needs, and whether we ship it: Google's emulator runs any query."""

from __future__ import annotations

import json
from pathlib import Path

import grpc

import arco_flow.adapters.gcp as adapters
from arco_flow.adapters.gcp.firestore_wire import RunQueryRequest, StructuredQuery

INDEXES = json.loads(
    (Path(adapters.__file__).parent / "firestore.indexes.json").read_text(encoding="utf-8")
)
_OPERATOR = StructuredQuery.FieldFilter.Operator
_EQUALITIES = ("EQUAL", "IN", "ARRAY_CONTAINS")


def index_of(query):
    """(collection, fields of the index that the query needs); no fields: names alone do."""
    [source] = query.from_
    filters = [f.field_filter for f in query.where.composite_filter.filters]
    fields = []
    ranges = set()
    for condition in filters:
        path, operator = condition.field.field_path, _OPERATOR.Name(condition.op)
        if operator not in _EQUALITIES:
            ranges.add(path)
        elif operator == "ARRAY_CONTAINS":
            fields.append((path, "CONTAINS"))
        else:
            fields.append((path, "ASCENDING"))
    orders = [(o.field.field_path, _direction(o.direction)) for o in query.order_by]
    assert ranges <= {orders[0][0]}, "a range goes over the first field of the order"
    assert not query.order_by or orders[-1][0] == "__name__", "ties are in the order of names"
    fields += [order for order in orders if order[0] != "__name__"]
    return source.collection_id, tuple(fields)


def _direction(value):
    return StructuredQuery.Direction.Name(value)


def shipped(collection, fields):
    """Whether the file holds the index."""
    if not fields:
        return True
    if len(fields) == 1:
        [(path, order)] = fields
        return any(
            override["collectionGroup"] == collection
            and override["fieldPath"] == path
            and any(index.get("order") == order for index in override["indexes"])
            for override in INDEXES["fieldOverrides"]
        )
    return any(
        index["collectionGroup"] == collection and _fields_of(index) == fields
        for index in INDEXES["indexes"]
    )


def _fields_of(index):
    return tuple(
        (field["fieldPath"], field.get("order") or field["arrayConfig"])
        for field in index["fields"]
        if field["fieldPath"] != "__name__"
    )


class IndexCheck(grpc.aio.UnaryStreamClientInterceptor):
    """Refuses a query whose index is not shipped, as Firestore would."""

    async def intercept_unary_stream(self, continuation, client_call_details, request):
        if isinstance(request, RunQueryRequest):
            collection, fields = index_of(request.structured_query)
            assert shipped(collection, fields), f"no index on {collection}: {fields}"
        return await continuation(client_call_details, request)
