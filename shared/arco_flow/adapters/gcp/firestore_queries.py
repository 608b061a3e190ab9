"""Every query that the Firestore store makes, and the index that it needs.

`firestore.indexes.json` holds these indexes and exempts every other field; a test compares both.
Lists of heads find their scope and labels in one array field, `marks`, because a query may look
into one array only: an index on it serves every label there will ever be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from arco_flow.adapters.gcp.firestore_names import ENTITY_COLONS, HEADS, INBOX
from arco_flow.adapters.gcp.firestore_wire import StructuredQuery, set_ms

_Direction = StructuredQuery.Direction
_Operator = StructuredQuery.FieldFilter.Operator
_AND = StructuredQuery.CompositeFilter.Operator.AND
_NAME = "__name__"
_PLAIN_LABEL_BYTES = 200
MAX_STATUSES = 30
"""Firestore's limit on the values of one `in`."""

LISTED_FIELDS = ("version", "status", "labels", "owed_since_ms", "timer_ms", "created", "updated")
"""Of a head in a list: all but what is large."""


def in_range(
    root: str, collection: str, first: str, end: str, *, after: bool = False, limit: int = 0
) -> Any:
    """Documents of a collection with first <= id < end (or first < id), in the order of ids."""
    query = _of(collection, limit)
    at_first = _Operator.GREATER_THAN if after else _Operator.GREATER_THAN_OR_EQUAL
    _where(query, _NAME, at_first).reference_value = f"{root}/{collection}/{first}"
    _where(query, _NAME, _Operator.LESS_THAN).reference_value = f"{root}/{collection}/{end}"
    _by(query, _NAME, _Direction.ASCENDING)
    return query


def posted_before(
    root: str, before_ms: int, after: tuple[int, str] | None, limit: int, *, from_ms: int = 0
) -> Any:
    """Inbox items that were posted earlier (but not before from_ms), the earliest first; after:
    time and id of the last one of the page before."""
    query = _of(INBOX, limit)
    if from_ms:
        first = _where(query, "posted", _Operator.GREATER_THAN_OR_EQUAL)
        set_ms(first.timestamp_value, from_ms)
    set_ms(_where(query, "posted", _Operator.LESS_THAN).timestamp_value, before_ms)
    _by(query, "posted", _Direction.ASCENDING)
    _by(query, _NAME, _Direction.ASCENDING)
    _only(query, ("posted", "entity"))
    if after is not None:
        _start_after(query, root, INBOX, after)
    return query


def due_before(field: str, before_ms: int, limit: int, *, from_ms: int = 0) -> Any:
    """Heads whose field (`owed_since_ms`, `timer_ms`) holds an earlier time (but none before
    from_ms), the earliest first."""
    query = _of(HEADS, limit)
    if from_ms:
        _where(query, field, _Operator.GREATER_THAN_OR_EQUAL).integer_value = from_ms
    _where(query, field, _Operator.LESS_THAN).integer_value = before_ms
    _by(query, field, _Direction.ASCENDING)
    _by(query, _NAME, _Direction.ASCENDING)
    _only(query, (field,))
    return query


def newest_heads(
    root: str,
    mark: str,
    statuses: Sequence[str],
    before: tuple[int, str] | None,
    limit: int,
) -> Any:
    """Heads with a mark, in one of the statuses (none given: in any), the newest first."""
    query = _of(HEADS, limit)
    _where(query, "marks", _Operator.ARRAY_CONTAINS).string_value = mark
    if len(statuses) == 1:
        _where(query, "status", _Operator.EQUAL).string_value = statuses[0]
    elif statuses:
        wanted = _where(query, "status", _Operator.IN).array_value
        for status in statuses:
            wanted.values.add().string_value = status
    _by(query, "created", _Direction.DESCENDING)
    _by(query, _NAME, _Direction.DESCENDING)
    _only(query, LISTED_FIELDS)
    if before is not None:
        _start_after(query, root, HEADS, before)
    return query


def marks_of(entity: str, labels: Mapping[str, str]) -> list[str]:
    """What a head is listed under: the scopes it is in, and its labels in the narrowest."""
    parts = entity.split(":", ENTITY_COLONS)
    scopes = [":".join(parts[:depth]) + ":" for depth in range(1, len(parts))]
    narrowest = scopes[-1] if len(scopes) == ENTITY_COLONS else ""
    return scopes + [
        label_mark(narrowest, key, value) for key, value in labels.items() if narrowest
    ]


def label_mark(scope: str, key: str, value: str) -> str:
    """What a head with this label is listed under."""
    raw = f"{key}={value}".encode()
    if len(raw) <= _PLAIN_LABEL_BYTES:
        return f"{scope}{key}={value}"
    return f"{scope}=h={sha256(raw).hexdigest()}"


def mark_for(prefix: str, labels: Mapping[str, str]) -> str:
    """The narrowest mark that all heads of the prefix with these labels have; "" = there is
    none, for a prefix without a whole tenant."""
    scope = ":".join(prefix.split(":", ENTITY_COLONS)[:-1])
    scope = f"{scope}:" if scope else ""
    if labels and scope.count(":") == ENTITY_COLONS:
        return label_mark(scope, *next(iter(labels.items())))
    return scope


def _of(collection: str, limit: int) -> Any:
    query = StructuredQuery()
    query.from_.add().collection_id = collection
    if limit:
        query.limit.value = limit
    return query


def _where(query: Any, field: str, operator: Any) -> Any:
    """Add a condition; answers its value, to be filled in."""
    query.where.composite_filter.op = _AND
    condition = query.where.composite_filter.filters.add().field_filter
    condition.field.field_path = field
    condition.op = operator
    return condition.value


def _start_after(query: Any, root: str, collection: str, place: tuple[int, str]) -> None:
    time_ms, document_id = place
    set_ms(query.start_at.values.add().timestamp_value, time_ms)
    query.start_at.values.add().reference_value = f"{root}/{collection}/{document_id}"


def _by(query: Any, field: str, direction: Any) -> None:
    order = query.order_by.add()
    order.field.field_path = field
    order.direction = direction


def _only(query: Any, fields: Sequence[str]) -> None:
    for field in fields:
        query.select.fields.add().field_path = field
