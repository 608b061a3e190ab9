"""A downstream partition reads an upstream one exactly when it is downstream of it."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import assume, given
from hypothesis import strategies as st

from arco_flow.domain.errors import DefinitionError
from arco_flow.domain.partition_mappings import (
    PartitionMapping,
    downstream_of,
    infer_mapping,
    mapping_from_wire,
    upstream_of,
    validate_mapping,
)
from arco_flow.domain.partition_sets import PartitionSet
from arco_flow.domain.partitions import (
    MultiPartitions,
    PartitionContext,
    PartitionsDefinition,
    StaticPartitions,
    TimePartitions,
)
from properties.budget import examples
from properties.partition_spaces import CHANGES, NAMED, ZONES, Space, space, spaces, times

MOST = 40
"""Keys of a side that are held against each other: all pairs are looked at."""
LONGEST = 5_000
"""Keys of a side at all: months later, the product of three hourly dimensions fills any memory."""


class Edge:
    """Two definitions, the mapping between them, and what exists of both."""

    def __init__(
        self,
        rule: PartitionMapping,
        up: PartitionsDefinition | None,
        down: PartitionsDefinition | None,
        ctx: PartitionContext,
    ) -> None:
        self.rule, self.up, self.down, self.ctx = rule, up, down, ctx
        self.ups, self.downs = (self._first(side) for side in (up, down))

    def _first(self, side: PartitionsDefinition | None) -> list[str]:
        if side is None:
            return [""]
        assume(side.count(self.ctx) <= LONGEST)
        return side.keys(self.ctx)[:MOST]

    def __repr__(self) -> str:
        return f"Edge({self.rule}, {self.up}, {self.down}, {self.ctx.now})"

    def reads(self, key: str) -> set[str]:
        """The existing upstream keys that a downstream key reads."""
        return set(upstream_of(self.rule, self.down, self.up, [key], self.ctx).existing)

    def read_by(self, key: str) -> set[str]:
        """The existing downstream keys that read an upstream key."""
        return set(downstream_of(self.rule, self.up, self.down, [key], self.ctx))


OFFSETS = st.tuples(st.integers(-3, 3), st.integers(-3, 3))


@st.composite
def windows(draw: st.DrawFn) -> PartitionMapping:
    before, after = draw(OFFSETS)
    return PartitionMapping.time_window(
        start_offset=before, end_offset=after, allow_nonexistent_upstream=draw(st.booleans())
    )


@st.composite
def timed_edges(draw: st.DrawFn) -> Edge:
    """Two definitions by time of one zone, of equal or different size."""
    zone, start = draw(st.sampled_from(ZONES)), draw(st.sampled_from(CHANGES))
    up, down = draw(times(zone, start)), draw(times(zone, start))
    ctx = draw(st.sampled_from([up.ctx, down.ctx]))
    return Edge(draw(windows()), up.made, down.made, ctx)


@st.composite
def named_edges(draw: st.DrawFn) -> Edge:
    """Every mapping that does not look at time, between any two definitions, or none."""
    up, down = draw(spaces), draw(spaces)
    sides = [draw(st.sampled_from([side.made, side.made, None])) for side in (up, down)]
    ctx = draw(st.sampled_from([up.ctx, down.ctx]))
    some = st.lists(st.sampled_from([*up.keys[:5], "absent"]), max_size=4)
    table = st.dictionaries(
        st.sampled_from([*up.keys[:5], "absent"]),
        st.lists(st.sampled_from([*down.keys[:5], "absent"]), max_size=3),
        max_size=4,
    )
    rule = draw(
        st.one_of(
            st.sampled_from([PartitionMapping.all(), PartitionMapping.last()]),
            some.map(PartitionMapping.specific),
            table.map(PartitionMapping.static),
        )
    )
    return Edge(rule, *sides, ctx)


@st.composite
def identical_edges(draw: st.DrawFn) -> Edge:
    """Definitions of one kind with common and with other keys."""
    one = draw(spaces)
    two = one
    if isinstance(one.made, StaticPartitions):
        two = space(StaticPartitions(draw(st.permutations(NAMED))[:4]), 0)
    elif isinstance(one.made, TimePartitions):
        two = draw(times(one.made.timezone))
        assume(type(one.made) is type(two.made))
    return Edge(PartitionMapping.identity(), one.made, two.made, one.ctx)


@st.composite
def grid_edges(draw: st.DrawFn) -> Edge:
    """Dimensions on one side or on both, mapped one by one."""
    zone, start = draw(st.sampled_from(ZONES)), draw(st.sampled_from(CHANGES))
    upper, lower = draw(times(zone, start)), draw(times(zone, start))
    names = [
        StaticPartitions(draw(st.permutations(NAMED))[: draw(st.integers(1, 3))]) for _ in "ud"
    ]
    up = MultiPartitions({"date": upper.made, "name": names[0]})
    down = MultiPartitions({"day": lower.made, "name": names[1]})
    shape = draw(st.sampled_from(["both", "up", "down", "crossed"]))
    ctx = draw(st.sampled_from([upper.ctx, lower.ctx]))
    if shape == "up":
        return Edge(PartitionMapping.single_dimension("date"), up, lower.made, ctx)
    if shape == "down":
        return Edge(PartitionMapping.single_dimension("day"), upper.made, down, ctx)
    if shape == "crossed":
        both = PartitionMapping.all() if draw(st.booleans()) else PartitionMapping.last()
        return Edge(
            PartitionMapping.dimensions({"date": ("name", both), "name": ("name", both)}),
            up, down, ctx,
        )  # fmt: skip
    dims = {"date": ("day", draw(windows())), "name": PartitionMapping.identity()}
    chosen = draw(st.sets(st.sampled_from(sorted(dims)), min_size=1))
    rule = PartitionMapping.dimensions({name: dims[name] for name in chosen})
    return Edge(rule, up, down, ctx)


edges = st.one_of(timed_edges(), named_edges(), identical_edges(), grid_edges())


@examples(100)
@given(edges)
def test_to_read_and_to_be_read_by_are_one_relation(edge: Edge) -> None:
    reads = {(up, down) for down in edge.downs for up in edge.reads(down)}
    read_by = {(up, down) for up in edge.ups for down in edge.read_by(up)}
    ups, downs = set(edge.ups), set(edge.downs)
    assert {pair for pair in reads if pair[0] in ups} == {p for p in read_by if p[1] in downs}


@examples(40)
@given(edges, st.data())
def test_a_set_reads_what_its_keys_read(edge: Edge, data: st.DataObject) -> None:
    keys = data.draw(st.sets(st.sampled_from(edge.downs))) if edge.downs else set()
    mapped = upstream_of(edge.rule, edge.down, edge.up, PartitionSet.of(edge.down, keys), edge.ctx)
    single = [upstream_of(edge.rule, edge.down, edge.up, [key], edge.ctx) for key in keys]
    if edge.down is not None and edge.up is not None:
        assert set(mapped.existing) == set().union(*(one.existing for one in single))
        assert set(mapped.nonexistent) == set().union(*(one.nonexistent for one in single))
    back = downstream_of(edge.rule, edge.up, edge.down, mapped.existing, edge.ctx)
    assert {key for key in keys if edge.reads(key)} <= set(back)


@examples(40)
@given(edges)
def test_what_is_read_exists_and_what_is_missing_does_not(edge: Edge) -> None:
    for key in edge.downs[:10]:
        mapped = upstream_of(edge.rule, edge.down, edge.up, [key], edge.ctx)
        if edge.up is not None:
            assert all(edge.up.has(up, edge.ctx) for up in mapped.existing)
            assert not any(edge.up.has(up, edge.ctx) for up in mapped.nonexistent)
        assert len(set(mapped.nonexistent)) == len(mapped.nonexistent)


def _overlapping(made: TimePartitions, start: int, end: int) -> Iterator[int]:
    """Numbers, before the first and after the last as well, of windows that share a second."""
    first, last = (made.windows.starting_before(at) for at in (start, end))
    for number in range(first - 3, last + 3):
        low, high = made.windows.window(number)
        if low < end and start < high:
            yield number


@examples(40)
@given(timed_edges())
def test_windows_are_read_that_overlap_those_between_the_offsets(edge: Edge) -> None:
    up, down, rule = edge.up, edge.down, edge.rule
    assert isinstance(up, TimePartitions)
    assert isinstance(down, TimePartitions)
    count = up.count(edge.ctx)
    for key in edge.downs[:8]:
        number = down.number(key)
        needed: set[int] = set()
        for other in range(number + rule.start_offset, number + rule.end_offset + 1):
            needed.update(_overlapping(up, *down.windows.window(other)))
        mapped = upstream_of(rule, down, up, [key], edge.ctx)
        assert set(mapped.existing) == {up.windows.key(n) for n in needed if 0 <= n < count}
        missing = {up.windows.key(n) for n in needed if not 0 <= n < count}
        if rule.allow_nonexistent_upstream:
            assert not mapped.nonexistent
        elif rule.start_offset == rule.end_offset == 0:
            assert set(mapped.nonexistent) == missing
        else:
            assert set(mapped.nonexistent) <= missing, "what offsets push over the edge is not"


@examples(40)
@given(spaces, st.data())
def test_an_asset_without_partitions_reads_the_last_or_the_named_ones_when_told_so(
    of: Space, data: st.DataObject
) -> None:
    named = data.draw(st.lists(st.sampled_from([*of.keys, "absent"]), unique=True))
    for rule, want in (
        (PartitionMapping.last(), of.keys[-1:]),
        (PartitionMapping.specific(named), [key for key in named if key in of.keys]),
        (PartitionMapping.all(), of.keys),
        (PartitionMapping.identity(), of.keys),
    ):
        edge = Edge(rule, of.made, None, of.ctx)
        assert edge.reads("") == set(want)
        assert {up for up in edge.ups if edge.read_by(up)} == set(want) & set(edge.ups)


@examples(40)
@given(edges)
def test_a_mapping_comes_back_from_its_wire_form(edge: Edge) -> None:
    assert mapping_from_wire(edge.rule.to_wire()) == edge.rule


@examples(40)
@given(spaces, spaces, st.sampled_from([True, False]))
def test_an_inferred_mapping_holds_or_is_refused_for_its_definitions(
    one: Space, two: Space, is_same: bool
) -> None:
    up, down = one.made, one.made if is_same else two.made
    rule = infer_mapping(up, down)
    ctx = PartitionContext(one.ctx.instant, one.ctx.dynamic)
    try:
        validate_mapping(rule, up, down)
    except DefinitionError:
        return
    edge = Edge(rule, up, down, ctx)
    for key in edge.downs[:5]:
        assert key in {down for up_key in edge.reads(key) for down in edge.read_by(up_key)} | {key}
        if is_same:
            assert edge.reads(key) == {key}
