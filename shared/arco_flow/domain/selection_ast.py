"""What a selection expression means: a small tree of frozen nodes.

`selection_parser` makes it from text, `selection_print` writes it back in canonical form, and
`selection` evaluates it. Equal trees select the same assets in every graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

AttributeName = Literal["group", "kind", "owner", "is", "partitions"]

ATTRIBUTES: Final = ("key", "group", "tag", "kind", "owner", "is", "partitions")
"""What may stand before a colon."""
IS_VALUES: Final = ("external", "materializable")


@dataclass(frozen=True, slots=True)
class All:
    """`*`: every asset that can be materialized."""


@dataclass(frozen=True, slots=True)
class Key:
    """A bare key. It must exist: a slip of the pen is an error, not an empty selection."""

    key: str


@dataclass(frozen=True, slots=True)
class KeyPattern:
    """`key:…`: every asset whose key matches, `*` standing for any text. It may match nothing."""

    pattern: str


@dataclass(frozen=True, slots=True)
class Tag:
    """`tag:key=value`; `tag:key` asks for an empty value, key None (`<null>`) for no tags."""

    key: str | None
    value: str = ""


@dataclass(frozen=True, slots=True)
class Attribute:
    """`group:`, `kind:`, `owner:`, `is:` or `partitions:`; value None (`<null>`) when absent."""

    name: AttributeName
    value: str | None


@dataclass(frozen=True, slots=True)
class Not:
    """Every asset that can be materialized, but those of `of`."""

    of: Selection


@dataclass(frozen=True, slots=True)
class And:
    """What is in all of two or more operands, none of which is an And."""

    operands: tuple[Selection, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """What is in one of two or more operands, none of which is an Or."""

    operands: tuple[Selection, ...]


@dataclass(frozen=True, slots=True)
class Upstream:
    """`[depth]+of`: these and what lies up to `depth` steps upstream, None for all of it."""

    of: Selection
    depth: int | None


@dataclass(frozen=True, slots=True)
class Downstream:
    """`of+[depth]`: these and what lies up to `depth` steps downstream, None for all of it."""

    of: Selection
    depth: int | None


@dataclass(frozen=True, slots=True)
class Around:
    """`[up]+of+[down]`: upstream and downstream of the same assets."""

    of: Selection
    up: int | None
    down: int | None


@dataclass(frozen=True, slots=True)
class Roots:
    """`roots(of)`: those of `of` that have no ancestor in `of`."""

    of: Selection


@dataclass(frozen=True, slots=True)
class Sinks:
    """`sinks(of)`: those of `of` that have no descendant in `of`."""

    of: Selection


Selection = (
    All
    | Key
    | KeyPattern
    | Tag
    | Attribute
    | Not
    | And
    | Or
    | Upstream
    | Downstream
    | Around
    | Roots
    | Sinks
)


def join(kind: type[And] | type[Or], operands: list[Selection]) -> Selection:
    """`operands` under one And or Or, nested ones of the same kind dissolved; one stays itself."""
    flat: list[Selection] = []
    for operand in operands:
        flat.extend(operand.operands if isinstance(operand, kind) else (operand,))
    return flat[0] if len(flat) == 1 else kind(tuple(flat))
