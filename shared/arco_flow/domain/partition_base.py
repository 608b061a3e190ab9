"""What every definition of partitions offers, and the context that decides which ones exist."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

from arco_flow.domain.errors import InvalidInput, nearest
from arco_flow.domain.partition_keys import DimensionValue


@dataclass(frozen=True, slots=True)
class PartitionContext:
    """What the existence of partitions depends on.

    now: an aware datetime, or UTC epoch seconds. dynamic: the registered keys of every dynamic
    definition by its name, in the order in which they were added.
    Raises InvalidInput for a datetime without zone.
    """

    now: datetime | int
    dynamic: Mapping[str, Sequence[str]] = field(default_factory=dict)
    _cache: dict[object, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if isinstance(self.now, datetime):
            if self.now.tzinfo is None:
                raise InvalidInput(f"now ({self.now}) has no zone", fix="use datetime.now(UTC)")
            object.__setattr__(self, "now", int(self.now.timestamp() // 1))
        elif isinstance(self.now, float):
            object.__setattr__(self, "now", int(self.now // 1))

    @property
    def instant(self) -> int:
        """Now, in whole UTC epoch seconds."""
        return self.now if isinstance(self.now, int) else int(self.now.timestamp() // 1)

    def members(self, name: str) -> frozenset[str]:
        """The registered keys of a dynamic definition as a set, made once per context."""
        found: frozenset[str] = self.once(name, lambda: frozenset(self.dynamic.get(name, ())))
        return found

    def once(self, key: object, make: Callable[[], Any]) -> Any:
        """What `make` returns, made once per context and key."""
        if key not in self._cache:
            self._cache[key] = make()
        return self._cache[key]


@runtime_checkable
class PartitionsDefinition(Protocol):
    """What every way of cutting an asset into partitions offers."""

    def keys(self, ctx: PartitionContext) -> list[str]:
        """Every existing key, in order."""

    def count(self, ctx: PartitionContext) -> int:
        """How many keys exist; costs nothing like listing them."""

    def page(self, low: int, high: int, ctx: PartitionContext) -> list[str]:
        """The existing keys at the places [low, high), from 0; fewer at the end. Costs what it
        answers."""

    def place(self, key: str, ctx: PartitionContext) -> int | None:
        """The place of an existing key in order, from 0; None for any other."""

    def has(self, key: str, ctx: PartitionContext) -> bool:
        """Whether a key exists."""

    def first(self, ctx: PartitionContext) -> str | None:
        """The first existing key, or None."""

    def last(self, ctx: PartitionContext) -> str | None:
        """The last existing key, or None."""

    def range(self, start: str, end: str, ctx: PartitionContext) -> list[str]:
        """The keys from `start` to `end`, both included.

        Of a multi-dimensional definition: the product of the ranges of every dimension.
        Raises InvalidInput when one does not exist or they are in the wrong order.
        """

    def nearest(self, text: str, ctx: PartitionContext) -> str | None:
        """The existing key that a person most likely meant, None when none is close."""

    def value(self, key: str) -> DimensionValue:
        """The typed value of a key of one dimension. Raises InvalidInput for no such key."""

    def key_of(self, value: DimensionValue) -> str:
        """Inverse of value(). Raises InvalidInput."""

    def canonical(self, key: str) -> str:
        """The canonical text of a key. Raises InvalidInput for what can be no key here."""

    def from_canonical(self, text: str) -> str:
        """Inverse of canonical(). Raises InvalidInput."""

    def to_wire(self) -> dict[str, Any]:
        """JSON of the definition: text, integers, lists and objects only."""


def require_key(definition: PartitionsDefinition, key: str, ctx: PartitionContext) -> str:
    """`key` when it exists. Raises InvalidInput with the nearest existing key otherwise."""
    if definition.has(key, ctx):
        return key
    raise unknown_key(definition, key, ctx)


def unknown_key(definition: PartitionsDefinition, key: str, ctx: PartitionContext) -> InvalidInput:
    """The error for a key that does not exist: the nearest key and the range of what does."""
    first, last = definition.first(ctx), definition.last(ctx)
    if first is None:
        return InvalidInput(
            f"no partition '{key}': no partition exists yet",
            fix="wait for the first, or add it: arco-flow partitions add DEFINITION KEY",
            reason="UNKNOWN_PARTITION",
        )
    match = definition.nearest(str(key), ctx)
    hint = f"; did you mean '{match}'?" if match else ""
    return InvalidInput(
        f"no partition '{key}' (there are {definition.count(ctx)}, '{first}' to '{last}'){hint}",
        fix="name one that exists; arco-flow partitions list ASSET shows them",
        reason="UNKNOWN_PARTITION",
        details={"key": key, "first": first, "last": last},
    )


def nearest_listed(
    definition: PartitionsDefinition, text: str, ctx: PartitionContext
) -> str | None:
    """The existing key spelled most like a text; None when none is close, or too many exist."""
    if definition.count(ctx) > SUGGEST_FROM:
        return None
    return nearest(text, definition.keys(ctx))


def backwards(start: str, end: str) -> InvalidInput:
    """The error for a range whose end lies before its start."""
    return InvalidInput(
        f"the range from '{start}' to '{end}' runs backwards",
        fix=f"turn it round: from '{end}' to '{start}'",
        reason="BAD_RANGE",
        details={"start": start, "end": end},
    )


SUGGEST_FROM = 2_000
"""Beyond this many keys, comparing all of them costs more than the hint is worth."""
