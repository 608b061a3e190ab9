"""Selections mean the same however they are written, and what a naive reader would select."""

from __future__ import annotations

from functools import reduce
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from arco_flow.domain.graph import AssetGraph
from arco_flow.domain.selection import AssetAttributes, parse, select, to_text
from arco_flow.domain.selection_ast import (
    All,
    And,
    Around,
    Attribute,
    Downstream,
    Key,
    KeyPattern,
    Not,
    Or,
    Roots,
    Selection,
    Sinks,
    Tag,
    Upstream,
    join,
)
from domain.selection_trees import trees_of
from properties.budget import examples

KEYS = ("a.a", "a.b", "b.a", "b.b", "c.c", "c.d")
Edges = dict[str, list[str]]


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Edges, dict[str, AssetAttributes]]:
    """A random acyclic graph of all keys, and what each asset is labelled with."""
    order = draw(st.permutations(KEYS))
    edges = {
        key: sorted(draw(st.sets(st.sampled_from(order[:place]), max_size=2))) if place else []
        for place, key in enumerate(order)
    }
    attributes = {
        key: AssetAttributes(
            group=draw(st.sampled_from(["x", "y"])),
            tags=draw(st.dictionaries(st.sampled_from("pq"), st.sampled_from(["", "1"]))),
            kinds=frozenset(draw(st.sets(st.sampled_from(["dbt", "python"])))),
            is_external=draw(st.integers(0, 5)) == 0,
        )
        for key in KEYS
    }
    return edges, attributes


LEAVES: st.SearchStrategy[Selection] = st.one_of(
    st.builds(All),
    st.builds(Key, st.sampled_from(KEYS)),
    st.builds(KeyPattern, st.sampled_from(["a.*", "*.a", "*", "z", "a.b"])),
    st.builds(Attribute, st.just("group"), st.sampled_from(["x", "y", "z"])),
    st.builds(Attribute, st.just("kind"), st.sampled_from(["dbt", "python", None])),
    st.builds(Attribute, st.just("is"), st.sampled_from(["external", "materializable"])),
    st.builds(Tag, st.sampled_from(["p", "q"]), st.sampled_from(["", "1", "*"])),
    st.just(Tag(None)),
)


TREES = trees_of(LEAVES, max_depth=3, max_leaves=6)


class Naive:
    """An evaluator that walks the edges one step at a time and remembers nothing."""

    def __init__(self, edges: Edges, attributes: dict[str, AssetAttributes]) -> None:
        self.up = edges
        self.down = {key: [k for k in KEYS if key in edges[k]] for key in KEYS}
        self.attributes = attributes
        self.visible = {key for key in KEYS if not attributes[key].is_external}

    def of(self, tree: Selection) -> set[str]:
        return getattr(self, f"_{type(tree).__name__.lower()}")(tree)

    def _steps(self, start: set[str], edges: Edges, depth: int | None) -> set[str]:
        reached = set(start)
        for _ in range(len(KEYS) if depth is None else depth):
            reached |= {target for key in reached for target in edges[key]}
        return reached

    def _all(self, _: Any) -> set[str]:
        return set(self.visible)

    def _key(self, tree: Key) -> set[str]:
        return {tree.key}

    def _keypattern(self, tree: KeyPattern) -> set[str]:
        return {key for key in KEYS if _fits(tree.pattern, key)}

    def _tag(self, tree: Tag) -> set[str]:
        def has(tags: Any) -> bool:
            if tree.key is None:
                return not tags
            return any(_fits(tree.key, k) and _fits(tree.value, v) for k, v in tags.items())

        return {key for key in self.visible if has(self.attributes[key].tags)}

    def _attribute(self, tree: Attribute) -> set[str]:
        if tree.name == "is":
            return {k for k in KEYS if self.attributes[k].is_external is (tree.value == "external")}
        if tree.name == "group":
            return {key for key in self.visible if self.attributes[key].group == tree.value}
        kinds = {key: self.attributes[key].kinds for key in self.visible}
        return {k for k, of in kinds.items() if tree.value in of or (tree.value is None and not of)}

    def _not(self, tree: Not) -> set[str]:
        return self.visible - self.of(tree.of)

    def _and(self, tree: And) -> set[str]:
        return reduce(set.intersection, map(self.of, tree.operands))

    def _or(self, tree: Or) -> set[str]:
        return reduce(set.union, map(self.of, tree.operands))

    def _upstream(self, tree: Upstream) -> set[str]:
        return self._steps(self.of(tree.of), self.up, tree.depth) & self.visible

    def _downstream(self, tree: Downstream) -> set[str]:
        return self._steps(self.of(tree.of), self.down, tree.depth)

    def _around(self, tree: Around) -> set[str]:
        start = self.of(tree.of)
        up = self._steps(start, self.up, tree.up) & self.visible
        return up | self._steps(start, self.down, tree.down)

    def _roots(self, tree: Roots) -> set[str]:
        return self._ends(self.of(tree.of), self.down)

    def _sinks(self, tree: Sinks) -> set[str]:
        return self._ends(self.of(tree.of), self.up)

    def _ends(self, chosen: set[str], edges: Edges) -> set[str]:
        beyond = {key for one in chosen for key in self._steps(set(edges[one]), edges, None)}
        return chosen - beyond


def _fits(pattern: str, text: str) -> bool:
    first, star, last = pattern.partition("*")
    if not star:
        return pattern == text
    return text.startswith(first) and text.endswith(last)


def chosen(tree: Selection | str, world: tuple[Edges, dict[str, AssetAttributes]]) -> set[str]:
    edges, attributes = world
    return set(select(tree, AssetGraph(edges), attributes))


@examples(120)
@given(TREES, worlds())
def test_a_selection_is_what_a_naive_reader_selects(tree: Selection, world: Any) -> None:
    assert chosen(tree, world) == Naive(*world).of(tree)


@examples(50)
@given(TREES, worlds())
def test_what_is_selected_comes_in_an_order_that_can_be_run(tree: Selection, world: Any) -> None:
    found = select(tree, AssetGraph(world[0]), world[1])
    assert len(set(found)) == len(found)
    for place, key in enumerate(found):
        assert not set(world[0][key]) & set(found[place + 1 :])


def written(tree: Selection, draw: Any) -> str:
    """The selection with parentheses, spaces and words in capitals where they change nothing."""

    def inner(part: Selection) -> str:
        return written(part, draw)

    space = draw(st.sampled_from([" ", "  ", "\n", "\t"]))
    match tree:
        case And(operands) | Or(operands):
            word = draw(st.sampled_from(["and", "AND"] if isinstance(tree, And) else ["or", "OR"]))
            text = f"{space}{word}{space}".join(f"({inner(operand)})" for operand in operands)
        case Not(of):
            text = f"{draw(st.sampled_from(['not', 'NOT']))}{space}({inner(of)})"
        case Upstream(of, depth):
            text = f"{'' if depth is None else depth}+({inner(of)})"
        case Downstream(of, depth):
            text = f"({inner(of)})+{'' if depth is None else depth}"
        case Around(of, up, down):
            low, high = ("" if depth is None else depth for depth in (up, down))
            text = f"{low}+({inner(of)})+{high}"
        case Roots(of) | Sinks(of):
            text = f"{type(tree).__name__.lower()}({space}{inner(of)})"
        case _:
            text = to_text(tree)
    return f"({space}{text}{space})" if draw(st.booleans()) else text


@examples(100)
@given(TREES, st.data())
def test_parentheses_and_spaces_that_are_not_needed_change_nothing(
    tree: Selection, data: st.DataObject
) -> None:
    assert parse(written(tree, data.draw)) == parse(to_text(tree))


@examples(50)
@given(TREES, TREES, worlds())
def test_complements_and_de_morgans_laws(one: Selection, two: Selection, world: Any) -> None:
    visible = chosen(All(), world)
    assert chosen(Not(Not(one)), world) == chosen(one, world) & visible
    either, both = join(Or, [one, two]), join(And, [one, two])
    assert chosen(Not(either), world) == chosen(join(And, [Not(one), Not(two)]), world)
    assert chosen(Not(both), world) == chosen(join(Or, [Not(one), Not(two)]), world)
    assert chosen(join(And, [one, Not(one)]), world) == set()
    assert chosen(join(Or, [one, Not(one)]), world) >= visible


@examples(40)
@given(TREES, worlds(), st.integers(0, 3))
def test_more_steps_reach_more_and_no_steps_reach_nothing_else(
    tree: Selection, world: Any, depth: int
) -> None:
    start = chosen(tree, world)
    visible = chosen(All(), world)
    assert chosen(Upstream(tree, 0), world) == start & visible
    for kind in (Upstream, Downstream):
        near, far = (chosen(kind(tree, steps), world) for steps in (depth, depth + 1))
        assert near <= far <= chosen(kind(tree, None), world)
