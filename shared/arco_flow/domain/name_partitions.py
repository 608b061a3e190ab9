"""Partitions by name: a fixed list, or keys that are registered while the system runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from arco_flow.domain.errors import DefinitionError, InvalidInput, nearest
from arco_flow.domain.normal_form import nfc
from arco_flow.domain.partition_base import (
    SUGGEST_FROM,
    PartitionContext,
    backwards,
    require_key,
    unknown_key,
)
from arco_flow.domain.partition_keys import (
    DimensionValue,
    decode_partition_key,
    encode_partition_key,
)

MAX_KEY_BYTES = 3000
"""Of UTF-8, also of a key of several dimensions as people write it. The token of an attempt and the
path of its reports name the task, and servers end a line of a request at 8 KiB."""
_DIMENSION = "key"


def check_name(key: str) -> str:
    """`key` in NFC. Raises InvalidInput for what can not be the name of a partition.

    Refused: control characters, which break logs and terminals, lone surrogates, `...`, which
    stands for a range where people write keys, and what is longer than MAX_KEY_BYTES.
    """
    if not isinstance(key, str):
        raise InvalidInput(f"the partition key {key!r} is no text", fix=f"write '{key}'")
    text = nfc(key)
    bad = "..." in text or any(ord(char) < 32 or 127 <= ord(char) < 160 for char in text)
    if bad or any("\ud800" <= char <= "\udfff" for char in text):
        raise InvalidInput(
            f"partition key {key!r} holds '...' or a character that can not be shown",
            fix="leave out control characters and '...'",
            reason="BAD_PARTITION_KEY",
        )
    check_key_length(text)
    return text


def check_key_length(key: str) -> None:
    """Raises InvalidInput when a key is too long to be told to workers."""
    if len(key) * 4 > MAX_KEY_BYTES and (size := len(key.encode())) > MAX_KEY_BYTES:
        raise InvalidInput(
            f"the partition key '{key[:40]}…' has {size:,} bytes; at most {MAX_KEY_BYTES:,}",
            fix="use a shorter name, such as a hash of it, and store the long one as data",
            reason="BAD_PARTITION_KEY",
        )


class _Names(ABC):
    """What static and dynamic partitions share: a list of names and their places in it."""

    __slots__ = ()

    def keys(self, ctx: PartitionContext) -> list[str]:
        """Every existing key, in order."""
        return list(self.names(ctx))

    @abstractmethod
    def names(self, ctx: PartitionContext) -> Sequence[str]:
        """The existing keys without copying them."""

    def count(self, ctx: PartitionContext) -> int:
        """How many keys exist."""
        return len(self.names(ctx))

    def page(self, low: int, high: int, ctx: PartitionContext) -> list[str]:
        """The keys at the places [low, high)."""
        return list(self.names(ctx)[max(low, 0) : max(high, 0)])

    def first(self, ctx: PartitionContext) -> str | None:
        """The first key, or None."""
        names = self.names(ctx)
        return names[0] if names else None

    def last(self, ctx: PartitionContext) -> str | None:
        """The last key, or None."""
        names = self.names(ctx)
        return names[-1] if names else None

    def nearest(self, text: str, ctx: PartitionContext) -> str | None:
        """The existing key most like a text, None when none is close."""
        names = self.names(ctx)
        return nearest(text, names) if len(names) <= SUGGEST_FROM else None

    def from_canonical(self, text: str) -> str:
        """Inverse of canonical(). Raises InvalidInput."""
        dims = decode_partition_key(text)
        if list(dims) != [_DIMENSION]:
            raise InvalidInput(f"'{text}' is no key of partitions by name")
        return self.key_of(dims[_DIMENSION])

    def key_of(self, value: DimensionValue) -> str:
        """Inverse of value(). Raises InvalidInput."""
        if not isinstance(value, str):
            raise InvalidInput(f"{value!r} is no name of a partition")
        return self.value(value)

    def value(self, key: str) -> str:
        """The key itself, checked."""
        return check_name(key)

    def canonical(self, key: str) -> str:
        """`key=s:…`. Raises InvalidInput for what can be no key here."""
        return encode_partition_key({_DIMENSION: self.value(key)})


@dataclass(frozen=True, slots=True)
class StaticPartitions(_Names):
    """A fixed list of names in the order given. Raises DefinitionError for a repeated one."""

    kind: ClassVar[str] = "static"

    keys_in_order: Sequence[str]
    places: Mapping[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if isinstance(self.keys_in_order, str):
            raise DefinitionError(
                f"StaticPartitions: keys are the text '{self.keys_in_order}', not a list",
                fix=f"write StaticPartitions(['{self.keys_in_order}'])",
            )
        try:
            names = tuple(check_name(key) for key in self.keys_in_order)
        except InvalidInput as error:
            raise DefinitionError(f"StaticPartitions: {error.message}", fix=error.fix) from error
        object.__setattr__(self, "keys_in_order", names)
        object.__setattr__(self, "places", {name: place for place, name in enumerate(names)})
        if len(self.places) != len(names):
            raise DefinitionError(
                f"StaticPartitions: repeated keys {_repeated(names)}",
                fix="name every partition once",
            )

    def names(self, ctx: PartitionContext) -> Sequence[str]:  # noqa: ARG002
        """The keys, in the order given; `ctx` does not matter."""
        return self.keys_in_order

    def has(self, key: str, ctx: PartitionContext) -> bool:  # noqa: ARG002
        """Whether a key is in the list."""
        return key in self.places

    def place(self, key: str, ctx: PartitionContext) -> int | None:  # noqa: ARG002
        """The place of a key in the list, None for any other."""
        return self.places.get(key)

    def value(self, key: str) -> str:
        """The key itself. Raises InvalidInput with the nearest key when it is not in the list."""
        if key not in self.places:
            raise unknown_key(self, str(key), PartitionContext(0))
        return key

    def range(self, start: str, end: str, ctx: PartitionContext) -> list[str]:
        """The keys from `start` to `end` as listed, both included. Raises InvalidInput."""
        low, high = (require_key(self, key, ctx) for key in (start, end))
        return _between(self.keys_in_order, self.places[low], self.places[high])

    def to_wire(self) -> dict[str, Any]:
        """JSON of the definition."""
        return {"kind": self.kind, "keys": list(self.keys_in_order)}

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Self:
        """Inverse of to_wire(). Raises DefinitionError."""
        return cls(wire["keys"])


@dataclass(frozen=True, slots=True)
class DynamicPartitions(_Names):
    """Keys registered under a name at run time; PartitionContext.dynamic holds them.

    Deleting a key does not delete what was materialized for it.
    """

    kind: ClassVar[str] = "dynamic"

    name: str

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name or check_name(self.name) != self.name:
            raise DefinitionError(
                f"DynamicPartitions: {self.name!r} is no name", fix="DynamicPartitions('customers')"
            )

    def names(self, ctx: PartitionContext) -> Sequence[str]:
        """The registered keys in the order in which they were added."""
        return ctx.dynamic.get(self.name, ())

    def has(self, key: str, ctx: PartitionContext) -> bool:
        """Whether a key is registered."""
        return key in ctx.members(self.name)

    def place(self, key: str, ctx: PartitionContext) -> int | None:
        """The place of a key in the order in which they were added, None for any other."""
        return self.names(ctx).index(key) if self.has(key, ctx) else None

    def range(self, start: str, end: str, ctx: PartitionContext) -> list[str]:
        """The keys from `start` to `end` as registered, both included. Raises InvalidInput."""
        names = self.names(ctx)
        low, high = (require_key(self, key, ctx) for key in (start, end))
        return _between(names, names.index(low), names.index(high))

    def to_wire(self) -> dict[str, Any]:
        """JSON of the definition."""
        return {"kind": self.kind, "name": self.name}

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Self:
        """Inverse of to_wire(). Raises DefinitionError."""
        return cls(wire["name"])


def _between(names: Sequence[str], low: int, high: int) -> list[str]:
    if low > high:
        raise backwards(names[low], names[high])
    return list(names[low : high + 1])


def _repeated(names: Iterable[str]) -> list[str]:
    from collections import Counter

    return sorted(name for name, times in Counter(names).items() if times > 1)
