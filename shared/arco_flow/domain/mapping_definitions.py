"""Which partitions of an upstream asset a partition of a downstream asset reads, and back.

Written by people as one of the constructors of PartitionMapping; what is not written is inferred
(infer_mapping). upstream_of and downstream_of apply it to sets (domain/mapping_rules.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from arco_flow.domain.errors import DefinitionError, InvalidInput, did_you_mean
from arco_flow.domain.partitions import (
    MultiPartitions,
    PartitionsDefinition,
    StaticPartitions,
    TimePartitions,
)

_KINDS = (
    "identity",
    "time_window",
    "all",
    "last",
    "specific",
    "static",
    "dimensions",
    "single_dimension",
)


@dataclass(frozen=True, slots=True)
class PartitionMapping:
    """How the partitions of two assets correspond. Make one with a constructor below.

    kind and the fields are what the constructors fill; equal mappings are equal values.
    """

    kind: str
    start_offset: int = 0
    end_offset: int = 0
    allow_nonexistent_upstream: bool = False
    keys: tuple[str, ...] = ()
    table: tuple[tuple[str, tuple[str, ...]], ...] = ()
    dims: tuple[tuple[str, str, PartitionMapping], ...] = ()
    dimension: str | None = None

    @classmethod
    def identity(cls) -> PartitionMapping:
        """A partition reads the one of the same key."""
        return cls("identity")

    @classmethod
    def time_window(
        cls,
        *,
        start_offset: int = 0,
        end_offset: int = 0,
        allow_nonexistent_upstream: bool = False,
    ) -> PartitionMapping:
        """A partition reads every upstream window that overlaps its own, widened by offsets.

        Offsets count downstream windows: start_offset=-1 adds the one before, and with
        end_offset=-1 as well it is read instead. What offsets push beyond the upstream's first
        or last partition is not required. allow_nonexistent_upstream: neither is anything else.
        """
        for name, value in (("start_offset", start_offset), ("end_offset", end_offset)):
            if type(value) is not int:
                raise DefinitionError(f"PartitionMapping.time_window: {name} {value!r} is no int")
        return cls("time_window", start_offset, end_offset, allow_nonexistent_upstream)

    @classmethod
    def all(cls) -> PartitionMapping:
        """Every partition reads all upstream partitions."""
        return cls("all")

    @classmethod
    def last(cls) -> PartitionMapping:
        """Every partition reads the last existing upstream partition."""
        return cls("last")

    @classmethod
    def specific(cls, keys: Iterable[str]) -> PartitionMapping:
        """Every partition reads these upstream partitions."""
        if isinstance(keys, str):
            raise DefinitionError(
                f"PartitionMapping.specific: '{keys}' is text, not a list", fix=f"write ['{keys}']"
            )
        return cls("specific", keys=tuple(dict.fromkeys(keys)))

    @classmethod
    def static(cls, table: Mapping[str, str | Iterable[str]]) -> PartitionMapping:
        """A table {upstream key: downstream key, or a list of them}."""
        rows = (
            (up, (down,) if isinstance(down, str) else tuple(dict.fromkeys(down)))
            for up, down in table.items()
        )
        return cls("static", table=tuple(rows))

    @classmethod
    def dimensions(
        cls, dims: Mapping[str, PartitionMapping | tuple[str, PartitionMapping]]
    ) -> PartitionMapping:
        """Per dimension: {upstream dimension: mapping, or (downstream dimension, mapping)}.

        Upstream dimensions that are left out are read whole.
        """
        rows = (
            (up, up, item) if isinstance(item, PartitionMapping) else (up, item[0], item[1])
            for up, item in dims.items()
        )
        return cls("dimensions", dims=tuple(sorted(rows, key=lambda row: row[0])))

    @classmethod
    def single_dimension(cls, name: str | None = None) -> PartitionMapping:
        """One side has dimensions, the other corresponds to the dimension `name` of them.

        Without a name, the dimension that is equal to the other side, or else its only one by
        time, is taken.
        """
        return cls("single_dimension", dimension=name)

    def to_wire(self) -> dict[str, Any]:
        """JSON of the mapping; fields at their default are left out."""
        wire: dict[str, Any] = {"kind": self.kind}
        for name in ("start_offset", "end_offset", "allow_nonexistent_upstream", "dimension"):
            if getattr(self, name) not in (0, None):
                wire[name] = getattr(self, name)
        if self.keys:
            wire["keys"] = list(self.keys)
        if self.table:
            wire["table"] = [[up, list(down)] for up, down in self.table]
        if self.dims:
            wire["dims"] = [[up, down, mapping.to_wire()] for up, down, mapping in self.dims]
        return wire


def mapping_from_wire(wire: Mapping[str, Any]) -> PartitionMapping:
    """Inverse of PartitionMapping.to_wire(). Raises InvalidInput for anything else."""
    try:
        if wire["kind"] not in _KINDS:
            raise InvalidInput(
                f"unknown partition mapping {wire['kind']!r}"
                f"{did_you_mean(str(wire['kind']), _KINDS)}"
            )
        mapping = PartitionMapping(
            wire["kind"],
            _typed(int, wire.get("start_offset", 0)),
            _typed(int, wire.get("end_offset", 0)),
            _typed(bool, wire.get("allow_nonexistent_upstream", False)),
            _texts(wire.get("keys", [])),
            tuple((_typed(str, up), _texts(down)) for up, down in wire.get("table", [])),
            tuple(
                (_typed(str, up), _typed(str, down), mapping_from_wire(part))
                for up, down, part in wire.get("dims", [])
            ),
            None if wire.get("dimension") is None else _typed(str, wire["dimension"]),
        )
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise InvalidInput(f"malformed partition mapping: {error!r}") from error
    if len({up for up, _, _ in mapping.dims}) < len(mapping.dims):
        raise InvalidInput("malformed partition mapping: an upstream dimension is mapped twice")
    return mapping


T = TypeVar("T")


def _typed(kind: type[T], value: object) -> T:
    """The value when it is of exactly that type: true is no integer, 1.0 is none either."""
    if type(value) is not kind:
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value


def _texts(value: object) -> tuple[str, ...]:
    return tuple(_typed(str, item) for item in _typed(list, value))


def infer_mapping(
    upstream: PartitionsDefinition | None, downstream: PartitionsDefinition | None
) -> PartitionMapping:
    """The mapping of an edge for which none is written.

    Either side not partitioned: all. One side with dimensions of which exactly one fits the
    other side: that dimension. Both by time: overlapping windows. Otherwise: identity.
    """
    if upstream is None or downstream is None:
        return PartitionMapping.all()
    multi, single = _multi_and_single(upstream, downstream)
    if multi is not None and single is not None:
        if len(_fitting_dimensions(multi, single)) == 1:
            return PartitionMapping.single_dimension()
    elif isinstance(upstream, TimePartitions) and isinstance(downstream, TimePartitions):
        return PartitionMapping.time_window()
    return PartitionMapping.identity()


def dimension_of(
    mapping: PartitionMapping, upstream: PartitionsDefinition, downstream: PartitionsDefinition
) -> str:
    """The dimension that a single_dimension mapping stands for. Raises DefinitionError."""
    multi, single = _multi_and_single(upstream, downstream)
    if multi is None or single is None:
        raise DefinitionError(
            "a single-dimension mapping needs dimensions on one side and none on the other",
            fix="use PartitionMapping.dimensions({…}) between two with dimensions",
        )
    if mapping.dimension is not None:
        if mapping.dimension not in multi.dims:
            raise _no_dimension(mapping.dimension, multi)
        return mapping.dimension
    found = _fitting_dimensions(multi, single)
    if len(found) != 1:
        problem = f"{' and '.join(found)} fit" if found else "none fits"
        raise DefinitionError(
            f"which of the dimensions {', '.join(multi.dims)} is meant? {problem}",
            fix=f"name it: PartitionMapping.single_dimension('{next(iter(multi.dims))}')",
        )
    return found[0]


def _multi_and_single(
    upstream: PartitionsDefinition, downstream: PartitionsDefinition
) -> tuple[MultiPartitions | None, PartitionsDefinition | None]:
    """(the side with dimensions, the other side), or (None, None) when both or neither has."""
    if isinstance(upstream, MultiPartitions) != isinstance(downstream, MultiPartitions):
        if isinstance(upstream, MultiPartitions):
            return upstream, downstream
        if isinstance(downstream, MultiPartitions):
            return downstream, upstream
    return None, None


def _fitting_dimensions(multi: MultiPartitions, single: PartitionsDefinition) -> list[str]:
    equal = [name for name, part in multi.dims.items() if part == single]
    if equal or not isinstance(single, TimePartitions):
        return equal
    return [name for name, part in multi.dims.items() if isinstance(part, TimePartitions)]


def validate_mapping(
    mapping: PartitionMapping,
    upstream: PartitionsDefinition | None,
    downstream: PartitionsDefinition | None,
) -> None:
    """Raises DefinitionError when a mapping can not hold between two definitions."""
    if upstream is None or downstream is None or mapping.kind in ("all", "last"):
        return
    if mapping.kind == "identity":
        _check_identity(upstream, downstream)
    elif mapping.kind == "time_window":
        check_time_window(upstream, downstream)
    elif mapping.kind == "specific":
        _check_specific(mapping, upstream)
    elif mapping.kind == "static":
        _check_table(mapping, upstream, downstream)
    elif mapping.kind == "single_dimension":
        name = dimension_of(mapping, upstream, downstream)
        parts = (
            d.dims[name] if isinstance(d, MultiPartitions) else d for d in (upstream, downstream)
        )
        one, two = parts
        validate_mapping(infer_mapping(one, two), one, two)
    else:
        _check_dimensions(mapping, upstream, downstream)


def _check_identity(upstream: PartitionsDefinition, downstream: PartitionsDefinition) -> None:
    kinds = [type(side).__name__ for side in (upstream, downstream)]
    if kinds[0] != kinds[1]:
        raise DefinitionError(
            f"{kinds[0]} upstream and {kinds[1]} downstream share no keys",
            fix="give the edge a mapping, for example PartitionMapping.all() or .last()",
        )


def check_time_window(upstream: PartitionsDefinition, downstream: PartitionsDefinition) -> None:
    """Raises DefinitionError unless both are by time and in the same zone."""
    for side, definition in (("upstream", upstream), ("downstream", downstream)):
        if not isinstance(definition, TimePartitions):
            raise DefinitionError(
                f"a time-window mapping needs partitions by time; {side} there is "
                f"{type(definition).__name__}",
                fix="use PartitionMapping.all(), .last() or .single_dimension(…)",
            )
    zones = [d.timezone for d in (upstream, downstream) if isinstance(d, TimePartitions)]
    if zones[0] != zones[1]:
        raise DefinitionError(
            f"timezone '{zones[0]}' upstream and '{zones[1]}' downstream differ: "
            "their windows can not be matched",
            fix="give both the same timezone, or map with PartitionMapping.all()",
        )


def _check_specific(mapping: PartitionMapping, upstream: PartitionsDefinition) -> None:
    if isinstance(upstream, StaticPartitions):
        for key in mapping.keys:
            _check_key("upstream", upstream, key)


def _check_table(
    mapping: PartitionMapping, upstream: PartitionsDefinition, downstream: PartitionsDefinition
) -> None:
    for up, down in mapping.table:
        if isinstance(upstream, StaticPartitions):
            _check_key("upstream", upstream, up)
        if isinstance(downstream, StaticPartitions):
            for key in down:
                _check_key("downstream", downstream, key)


def _check_key(side: str, definition: StaticPartitions, key: str) -> None:
    if key not in definition.places:
        raise DefinitionError(
            f"the mapping names '{key}', which is no {side} partition"
            f"{did_you_mean(key, definition.keys_in_order)}"
        )


def _check_dimensions(
    mapping: PartitionMapping, upstream: PartitionsDefinition, downstream: PartitionsDefinition
) -> None:
    if not isinstance(upstream, MultiPartitions) or not isinstance(downstream, MultiPartitions):
        raise DefinitionError(
            "a mapping by dimensions needs dimensions on both sides",
            fix="use PartitionMapping.single_dimension(…) when one side has none",
        )
    for up, down, part in mapping.dims:
        if up not in upstream.dims:
            raise _no_dimension(up, upstream)
        if down not in downstream.dims:
            raise _no_dimension(down, downstream)
        validate_mapping(part, upstream.dims[up], downstream.dims[down])


def _no_dimension(name: str, multi: MultiPartitions) -> DefinitionError:
    return DefinitionError(
        f"no dimension '{name}'{did_you_mean(name, multi.dims)}",
        fix=f"one of {', '.join(multi.dims)}",
        reason="UNKNOWN_DIMENSION",
    )
