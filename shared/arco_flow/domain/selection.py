"""Select assets by an expression: `group:marts and not +raw.events`.

The language is Dagster's asset selection (1.13); docs/dagster-differences.md lists where and why
we answer otherwise. `parse` and `to_text` are re-exported from their modules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from typing import Final, Literal, assert_never

from arco_flow.domain.graph import AssetGraph
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
)
from arco_flow.domain.selection_parser import parse
from arco_flow.domain.selection_print import to_text

__all__ = ["AssetAttributes", "PartitionsKind", "Selection", "parse", "select", "to_text"]

PartitionsKind = Literal["none", "time", "static", "dynamic", "multi"]

_PARTITIONS_WORDS: Final = {"multipartitions": "multi"}
"""Dagster's word for a kind of partitions, where ours is another; both are read."""


@dataclass(frozen=True, slots=True)
class AssetAttributes:
    """What an asset can be selected by, besides its key and its place in the graph."""

    group: str = "default"
    tags: Mapping[str, str] = field(default_factory=dict)
    kinds: Set[str] = frozenset()
    owners: Set[str] = frozenset()
    is_external: bool = False
    partitions: PartitionsKind = "none"


def select(
    selection: str | Selection,
    graph: AssetGraph,
    attributes: Mapping[str, AssetAttributes],
    *,
    include_external: bool = False,
) -> tuple[str, ...]:
    """The keys that a selection matches, in topological order.

    attributes: by key; an asset without an entry has the defaults.
    include_external: by default `*`, `not`, `+x` and all attributes but `key:`, `is:` and
    `partitions:` pass over external assets, because what is selected is to be materialized.

    Raises InvalidInput for an expression that can not be read and for a bare key that is not in
    the graph. An attribute value that nothing has selects nothing.
    """
    tree = parse(selection) if isinstance(selection, str) else selection
    return graph.sort(_Evaluation(graph, attributes, include_external).of(tree))


class _Evaluation:
    """One evaluation over one graph; equal parts of the expression are evaluated once."""

    __slots__ = ("attributes", "graph", "known", "visible")

    def __init__(
        self,
        graph: AssetGraph,
        attributes: Mapping[str, AssetAttributes],
        include_external: bool,
    ) -> None:
        default = AssetAttributes()
        self.graph = graph
        self.attributes = {key: attributes.get(key, default) for key in graph.keys}
        self.visible = frozenset(
            key for key, its in self.attributes.items() if include_external or not its.is_external
        )
        self.known: dict[Selection, frozenset[str]] = {}

    def of(self, selection: Selection) -> frozenset[str]:
        found = self.known.get(selection)
        if found is None:
            found = self.known[selection] = self.evaluate(selection)
        return found

    def evaluate(self, selection: Selection) -> frozenset[str]:
        match selection:
            case All():
                return self.visible
            case Key(key):
                return frozenset(self.graph.sort([key]))
            case KeyPattern(pattern):
                matches = _matcher(pattern)
                return frozenset(key for key in self.graph.keys if matches(key))
            case Tag() | Attribute():
                return self.with_attribute(selection)
            case Not(of):
                return self.visible - self.of(of)
            case And(operands):
                return frozenset.intersection(*map(self.of, operands))
            case Or(operands):
                return frozenset().union(*map(self.of, operands))
            case Upstream(of, depth):
                return self.upstream(self.of(of), depth)
            case Downstream(of, depth):
                return self.downstream(self.of(of), depth)
            case Around(of, up, down):
                start = self.of(of)
                return self.upstream(start, up) | self.downstream(start, down)
            case Roots(of):
                return frozenset(self.graph.roots(self.of(of)))
            case Sinks(of):
                return frozenset(self.graph.sinks(self.of(of)))
            case _:
                assert_never(selection)

    def upstream(self, start: frozenset[str], depth: int | None) -> frozenset[str]:
        return start.union(self.graph.ancestors(start, depth)) & self.visible

    def downstream(self, start: frozenset[str], depth: int | None) -> frozenset[str]:
        return start.union(self.graph.descendants(start, depth))

    def with_attribute(self, wanted: Tag | Attribute) -> frozenset[str]:
        has = _tag_test(wanted) if isinstance(wanted, Tag) else _attribute_test(wanted)
        everywhere = isinstance(wanted, Attribute) and wanted.name in ("is", "partitions")
        among = self.graph.keys if everywhere else self.visible
        return frozenset(key for key in among if has(self.attributes[key]))


def _tag_test(wanted: Tag) -> Callable[[AssetAttributes], bool]:
    if wanted.key is None:
        return lambda its: not its.tags
    key, value = _matcher(wanted.key), _matcher(wanted.value)
    return lambda its: any(key(name) and value(text) for name, text in its.tags.items())


def _attribute_test(wanted: Attribute) -> Callable[[AssetAttributes], bool]:
    value = wanted.value
    match wanted.name:
        case "is":
            external = value == "external"
            return lambda its: its.is_external is external
        case "partitions":
            kind = "none" if value is None else _PARTITIONS_WORDS.get(value, value)
            return lambda its: its.partitions == kind
        case "group":
            return _any_test(value, lambda its: (its.group,) if its.group else ())
        case "kind":
            return _any_test(value, lambda its: its.kinds)
        case "owner":
            return _any_test(value, lambda its: its.owners)
        case _:
            assert_never(wanted.name)


def _any_test(
    value: str | None, texts: Callable[[AssetAttributes], Set[str] | tuple[str, ...]]
) -> Callable[[AssetAttributes], bool]:
    if value is None:
        return lambda its: not texts(its)
    matches = _matcher(value)
    return lambda its: any(map(matches, texts(its)))


def _matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a text matches a pattern in which `*` stands for any text, in linear time.

    The parts between stars are sought from left to right. A regular expression would try every
    way to share a text between many stars, which one expression can make last for ever.
    """
    first, *inner = pattern.split("*")
    if not inner:
        return pattern.__eq__
    last = inner.pop()

    def matches(text: str) -> bool:
        if len(text) < len(first) + len(last):
            return False
        if not (text.startswith(first) and text.endswith(last)):
            return False
        place, end = len(first), len(text) - len(last)
        for part in inner:
            found = text.find(part, place, end)
            if found < 0:
                return False
            place = found + len(part)
        return True

    return matches
