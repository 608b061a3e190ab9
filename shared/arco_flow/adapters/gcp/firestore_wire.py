"""Documents and writes as Firestore's own messages.

The wrappers that the client library hands out cost many times as much to load, to fill and to
read, and a fold of 400 events fills 400 of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from arco_flow.adapters.gcp.messages import message_class

_PACKAGE = "google.firestore.v1"
Write: Any = message_class(f"{_PACKAGE}.Write")
Value: Any = message_class(f"{_PACKAGE}.Value")
StructuredQuery: Any = message_class(f"{_PACKAGE}.StructuredQuery")
CommitRequest: Any = message_class(f"{_PACKAGE}.CommitRequest")
BatchGetDocumentsRequest: Any = message_class(f"{_PACKAGE}.BatchGetDocumentsRequest")
RunQueryRequest: Any = message_class(f"{_PACKAGE}.RunQueryRequest")
RunAggregationQueryRequest: Any = message_class(f"{_PACKAGE}.RunAggregationQueryRequest")

REQUEST_TIME = 1
"""DocumentTransform.FieldTransform.ServerValue.REQUEST_TIME: milliseconds, by the server."""

Plain = bytes | str | int | Sequence[str] | Mapping[str, str]
"""What a field holds. A field that is not there is 0, "" or empty when it is read."""


def setting(name: str, fields: Mapping[str, Plain]) -> Any:
    """A write that replaces the document of this name, or creates it."""
    made = Write()
    made.update.name = name
    for key, plain in fields.items():
        fill(made.update.fields[key], plain)
    return made


def creating(name: str, fields: Mapping[str, Plain]) -> Any:
    """A write that creates the document; the commit fails when there is one."""
    made = setting(name, fields)
    made.current_document.exists = False
    return made


def changing(name: str, fields: Mapping[str, Plain], names: Sequence[str]) -> Any:
    """A write of these fields alone; those of the names that have no value are removed."""
    made = setting(name, fields)
    made.update_mask.field_paths.extend(names)
    return made


def deleting(name: str) -> Any:
    """A write that removes the document, if there is one."""
    made = Write()
    made.delete = name
    return made


def unchanged_since(made: Any, update_us: int) -> Any:
    """The write, but the commit fails when the document was written after this time."""
    made.current_document.update_time.FromMicroseconds(update_us)
    return made


def fill(value: Any, plain: Plain) -> None:
    """Put what is plain into a value of Firestore's."""
    if isinstance(plain, bytes):
        value.bytes_value = plain
    elif isinstance(plain, str):
        value.string_value = plain
    elif isinstance(plain, int):
        value.integer_value = plain
    elif isinstance(plain, Mapping):
        value.map_value.SetInParent()
        for key, text in plain.items():
            value.map_value.fields[key].string_value = text
    else:
        value.array_value.SetInParent()
        for text in plain:
            value.array_value.values.add().string_value = text


def texts_of(value: Any) -> dict[str, str]:
    """A map of texts."""
    return {key: text.string_value for key, text in value.map_value.fields.items()}


def ms_of(timestamp: Any) -> int:
    """UTC epoch milliseconds of a timestamp."""
    return int(timestamp.seconds * 1000 + timestamp.nanos // 1_000_000)


def us_of(timestamp: Any) -> int:
    """UTC epoch microseconds, which is all that Firestore gives."""
    return int(timestamp.seconds * 1_000_000 + timestamp.nanos // 1000)


def set_ms(timestamp: Any, ms: int) -> None:
    """Inverse of ms_of."""
    timestamp.seconds, rest = divmod(ms, 1000)
    timestamp.nanos = rest * 1_000_000
