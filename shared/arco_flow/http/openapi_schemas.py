"""JSON schemas of what requests and answers are made of, in the names of the wire."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, get_args

import msgspec

Kind = type[msgspec.Struct]

_VALUES: Final = {"None": "null", "True": "true", "False": "false"}


def schemas_of(
    kinds: Iterable[Kind], requests: Iterable[Kind]
) -> tuple[Mapping[Kind, dict[str, Any]], dict[str, Any]]:
    """A reference per type, and the components that they refer to, which hold what the types are
    made of, too. requests: those of the types that callers write.

    What is only answered always has all of its fields, unless its type leaves defaults out.
    """
    ordered = sorted(kinds, key=lambda kind: kind.__name__)
    refs, components = msgspec.json.schema_components(
        ordered, ref_template="#/components/schemas/{name}"
    )
    written = _made_of(requests)
    for kind in _made_of(ordered):
        schema = components[kind.__name__]
        _name_as_on_the_wire(kind, schema)
        if kind not in written and not kind.__struct_config__.omit_defaults:
            schema["required"] = list(schema["properties"])
    return dict(zip(ordered, refs, strict=True)), components


def _made_of(kinds: Iterable[Kind]) -> set[Kind]:
    """The types and those of their fields, however deep."""
    found: set[Kind] = set()
    left: list[Any] = list(kinds)
    while left:
        kind = left.pop()
        if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
            left.extend(get_args(kind))
        elif kind not in found:
            found.add(kind)
            left.extend(field.type for field in msgspec.structs.fields(kind))
    return found


def _name_as_on_the_wire(kind: Kind, schema: dict[str, Any]) -> None:
    """Docstrings call fields and values what Python does; callers know those of the JSON."""
    words = {field.name: field.encode_name for field in msgspec.structs.fields(kind)}
    text = inspect.cleandoc(schema["description"])
    schema["description"] = re.sub(r"\w+", lambda m: {**_VALUES, **words}.get(m[0], m[0]), text)
