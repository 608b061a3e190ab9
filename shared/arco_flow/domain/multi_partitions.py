"""Partitions with several dimensions: every combination of the keys of each.

A key for people is the keys of the dimensions, in the order of their names, joined by `|`. The
canonical form has one part per dimension, named after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from math import prod
from typing import Any, ClassVar

from arco_flow.domain.errors import DefinitionError, InvalidInput
from arco_flow.domain.name_partitions import DynamicPartitions, StaticPartitions
from arco_flow.domain.partition_base import (
    PartitionContext,
    PartitionsDefinition,
    nearest_listed,
)
from arco_flow.domain.partition_keys import (
    MAX_DIMENSIONS,
    DimensionValue,
    check_dimension_name,
    decode_partition_key,
    encode_partition_key,
)
from arco_flow.domain.partition_parts import RESERVED, SEPARATOR, check_part
from arco_flow.domain.time_partitions import TimePartitions


@dataclass(frozen=True, slots=True)
class MultiPartitions:
    """The product of one or more named dimensions, each of any kind but multi itself.

    Raises DefinitionError for no dimension, a name that is not `[a-z][a-z0-9_]*`, and fixed keys
    that hold one of `| [ ] ,`; keys that are registered are looked at when they are, and those
    that are there when the definition becomes a dimension, when it is deployed.
    """

    kind: ClassVar[str] = "multi"

    dims: Mapping[str, PartitionsDefinition]
    _names: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.dims, Mapping) or not self.dims:
            raise DefinitionError(
                "MultiPartitions: no dimensions",
                fix="MultiPartitions({'date': DailyPartitions(…), 'region': StaticPartitions(…)})",
            )
        if len(self.dims) > MAX_DIMENSIONS:
            raise DefinitionError(
                f"MultiPartitions: {len(self.dims)} dimensions, at most {MAX_DIMENSIONS} fit into "
                "a key",
                fix="join some of them in the keys of one StaticPartitions",
            )
        for name, definition in self.dims.items():
            _check_dimension(name, definition)
        ordered = {name: self.dims[name] for name in sorted(self.dims)}
        object.__setattr__(self, "dims", ordered)
        object.__setattr__(self, "_names", tuple(ordered))

    def __hash__(self) -> int:
        return hash(tuple(self.dims.items()))

    @property
    def dimension_names(self) -> tuple[str, ...]:
        """The names of the dimensions, sorted: the order of the parts of a key."""
        return self._names

    @property
    def time_dimension(self) -> str | None:
        """The name of the one dimension that is by time; None when there is none or several."""
        found = [name for name, part in self.dims.items() if isinstance(part, TimePartitions)]
        return found[0] if len(found) == 1 else None

    def split(self, key: str) -> dict[str, str]:
        """The key of every dimension. Raises InvalidInput when the number of parts is wrong."""
        parts = key.split(SEPARATOR) if isinstance(key, str) else []
        if len(parts) != len(self._names):
            raise InvalidInput(
                f"'{key}' is no key of {len(self._names)} dimensions",
                fix=f"join one key each of {', '.join(self._names)} by '{SEPARATOR}'",
                reason="UNKNOWN_PARTITION",
            )
        return dict(zip(self._names, parts, strict=True))

    def join(self, keys: Mapping[str, str]) -> str:
        """The key for people of one key per dimension. Raises InvalidInput for other names."""
        if set(keys) != set(self._names):
            raise InvalidInput(
                f"dimensions {sorted(keys)} given, {list(self._names)} expected",
                reason="UNKNOWN_DIMENSION",
            )
        return SEPARATOR.join(keys[name] for name in self._names)

    def keys(self, ctx: PartitionContext) -> list[str]:
        """Every existing combination; the last dimension changes fastest."""
        parts = (self.dims[name].keys(ctx) for name in self._names)
        return [SEPARATOR.join(combination) for combination in product(*parts)]

    def count(self, ctx: PartitionContext) -> int:
        """How many combinations exist."""
        return prod(part.count(ctx) for part in self.dims.values())

    def page(self, low: int, high: int, ctx: PartitionContext) -> list[str]:
        """The combinations at the places [low, high): those of each dimension are counted, and
        only what is answered is made."""
        low, high = max(low, 0), min(high, self.count(ctx))
        if low >= high:
            return []
        columns: list[list[str]] = []
        repeats = 1
        for part in reversed(list(self.dims.values())):
            columns.append(_column(part, low, high, repeats, ctx))
            repeats *= part.count(ctx)
        return [SEPARATOR.join(parts) for parts in zip(*reversed(columns), strict=True)]

    def place(self, key: str, ctx: PartitionContext) -> int | None:
        """The place of a combination, None when a part does not exist."""
        parts = key.split(SEPARATOR) if isinstance(key, str) else []
        if len(parts) != len(self._names):
            return None
        found = 0
        for definition, part in zip(self.dims.values(), parts, strict=True):
            place = definition.place(part, ctx)
            if place is None:
                return None
            found = found * definition.count(ctx) + place
        return found

    def has(self, key: str, ctx: PartitionContext) -> bool:
        """Whether a key exists: every part does."""
        parts = key.split(SEPARATOR) if isinstance(key, str) else []
        if len(parts) != len(self._names):
            return False
        pairs = zip(self.dims.values(), parts, strict=True)
        return all(definition.has(part, ctx) for definition, part in pairs)

    def first(self, ctx: PartitionContext) -> str | None:
        """The first key, or None."""
        return _joined([part.first(ctx) for part in self.dims.values()])

    def last(self, ctx: PartitionContext) -> str | None:
        """The last key, or None."""
        return _joined([part.last(ctx) for part in self.dims.values()])

    def range(self, start: str, end: str, ctx: PartitionContext) -> list[str]:
        """The product of the ranges of every dimension. Raises InvalidInput."""
        low, high = self.split(start), self.split(end)
        parts = [self.dims[name].range(low[name], high[name], ctx) for name in self._names]
        return [SEPARATOR.join(combination) for combination in product(*parts)]

    def nearest(self, text: str, ctx: PartitionContext) -> str | None:
        """The existing key most like a text, dimension by dimension; None when none is close."""
        parts, found = text.split(SEPARATOR), None
        if len(parts) == len(self._names):
            pairs = zip(self.dims.values(), parts, strict=True)
            found = _joined(
                [part if dim.has(part, ctx) else dim.nearest(part, ctx) for dim, part in pairs]
            )
        return found or nearest_listed(self, text, ctx)

    def value(self, key: str) -> DimensionValue:
        """A multi-dimensional key has no single value: raises InvalidInput; see split()."""
        raise InvalidInput(
            f"'{key}' has one value per dimension", fix="use split() and canonical()"
        )

    def key_of(self, value: DimensionValue) -> str:
        """A single value is no multi-dimensional key: raises InvalidInput; see from_canonical()."""
        raise InvalidInput(f"{value!r} is the value of one dimension", fix="use from_canonical()")

    def canonical(self, key: str) -> str:
        """One typed part per dimension, under its name. Raises InvalidInput."""
        parts = self.split(key)
        return encode_partition_key({name: self.dims[name].value(parts[name]) for name in parts})

    def from_canonical(self, text: str) -> str:
        """Inverse of canonical(). Raises InvalidInput."""
        dims = decode_partition_key(text)
        if tuple(dims) != self._names:
            raise InvalidInput(f"'{text}' is no key of the dimensions {', '.join(self._names)}")
        return self.join({name: self.dims[name].key_of(value) for name, value in dims.items()})

    def to_wire(self) -> dict[str, Any]:
        """JSON of the definition."""
        return {"kind": self.kind, "dims": {name: d.to_wire() for name, d in self.dims.items()}}


def _column(
    part: PartitionsDefinition, low: int, high: int, repeats: int, ctx: PartitionContext
) -> list[str]:
    """The keys of one dimension in the combinations at the places [low, high).

    repeats: how many combinations in a row have the same key. After the last key the first follows.
    """
    count = part.count(ctx)
    first, last = low // repeats, (high - 1) // repeats
    if last - first + 1 >= count:
        known, start = part.page(0, count, ctx), 0
    elif first % count <= last % count:
        known, start = part.page(first % count, last % count + 1, ctx), first % count
    else:
        known = [*part.page(first % count, count, ctx), *part.page(0, last % count + 1, ctx)]
        start = first % count
    return [known[(place // repeats - start) % count] for place in range(low, high)]


def _joined(parts: list[str | None]) -> str | None:
    found = [part for part in parts if part is not None]
    return SEPARATOR.join(found) if len(found) == len(parts) else None


def _check_dimension(name: str, definition: PartitionsDefinition) -> None:
    try:
        check_dimension_name(name)
    except InvalidInput as error:
        raise DefinitionError(f"MultiPartitions: {error.message}", fix=error.fix) from error
    if not isinstance(definition, (TimePartitions, StaticPartitions, DynamicPartitions)):
        raise DefinitionError(
            f"MultiPartitions: dimension '{name}' is {type(definition).__name__}",
            fix="use partitions by time, static or dynamic ones",
        )
    if isinstance(definition, StaticPartitions):
        try:
            for key in definition.keys_in_order:
                check_part(key, name)
        except InvalidInput as error:
            raise DefinitionError(f"MultiPartitions: {error.message}", fix=error.fix) from error
    elif isinstance(definition, TimePartitions) and RESERVED & set(definition.windows.fmt):
        raise DefinitionError(
            f"MultiPartitions: fmt of dimension '{name}' holds one of | [ ] ,",
            fix="these join and list keys: use other characters, for example fmt='%Y-%m-%d'",
        )
