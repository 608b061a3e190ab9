"""The asset graph agrees with graphlib, names whole cycles, and is quick enough."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arco_flow.domain.errors import DefinitionError, InvalidInput
from arco_flow.domain.graph import AssetGraph

DIAMOND = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"], "lonely": []}


@st.composite
def acyclic(draw: st.DrawFn) -> dict[str, list[str]]:
    size = draw(st.integers(0, 14))
    names = draw(st.permutations([f"n{number}" for number in range(size)]))
    return {
        name: draw(st.lists(st.sampled_from(names[:place]), max_size=4)) if place else []
        for place, name in enumerate(names)
    }


def any_graph() -> st.SearchStrategy[dict[str, list[str]]]:
    names = [f"n{number}" for number in range(7)]
    upstream = st.lists(st.sampled_from(names), max_size=3)
    return st.fixed_dictionaries(dict.fromkeys(names, upstream))


def reached_by_hand(edges: dict[str, list[str]], starts: set[str], depth: int) -> set[str]:
    reached: set[str] = set()
    frontier = set(starts)
    for _ in range(depth):
        frontier = {target for key in frontier for target in edges[key]}
        reached |= frontier
    return reached


@given(acyclic())
def test_every_asset_comes_after_its_upstream(dependencies: dict[str, list[str]]) -> None:
    graph = AssetGraph(dependencies)
    order = graph.topological_order()
    place = {key: number for number, key in enumerate(order)}
    assert sorted(order) == sorted(dependencies)
    assert all(place[up] < place[key] for key, ups in dependencies.items() for up in ups)


@given(acyclic())
def test_layers_are_the_generations_of_graphlib(dependencies: dict[str, list[str]]) -> None:
    sorter = TopologicalSorter(dependencies)
    sorter.prepare()
    generations = []
    while sorter.is_active():
        ready = sorter.get_ready()
        generations.append(tuple(sorted(ready)))
        sorter.done(*ready)
    assert AssetGraph(dependencies).layers() == tuple(generations)


@given(any_graph())
def test_a_cycle_is_found_exactly_when_graphlib_finds_one(
    dependencies: dict[str, list[str]],
) -> None:
    try:
        TopologicalSorter(dependencies).prepare()
    except CycleError:
        with pytest.raises(DefinitionError) as caught:
            AssetGraph(dependencies)
        path = caught.value.details["path"]
        assert isinstance(path, list)
        assert path[0] == path[-1] == min(path)
        assert len(set(path)) == len(path) - 1
        steps = pairwise(path)
        assert all(before in dependencies[after] for before, after in steps)
    else:
        AssetGraph(dependencies)


@given(acyclic(), st.data())
def test_reach_equals_walking_by_hand(
    dependencies: dict[str, list[str]], data: st.DataObject
) -> None:
    graph = AssetGraph(dependencies)
    starts = data.draw(st.sets(st.sampled_from(sorted(dependencies)))) if dependencies else set()
    depth = data.draw(st.one_of(st.none(), st.integers(0, 5)))
    steps = len(dependencies) if depth is None else depth
    downstream = {key: list(graph.downstream(key)) for key in graph.keys}
    assert set(graph.ancestors(starts, depth)) == reached_by_hand(dependencies, starts, steps)
    assert set(graph.descendants(starts, depth)) == reached_by_hand(downstream, starts, steps)


@given(acyclic(), st.randoms(use_true_random=False))
def test_the_order_of_declaration_changes_nothing(
    dependencies: dict[str, list[str]], random: object
) -> None:
    shuffled = list(dependencies.items())
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    first = AssetGraph(dependencies)
    second = AssetGraph({key: [*reversed(ups), *ups] for key, ups in shuffled})
    assert first == second
    assert hash(first) == hash(second)
    assert first.topological_order() == second.topological_order()


def test_neighbours_layers_roots_and_sinks_of_a_diamond() -> None:
    graph = AssetGraph(DIAMOND)
    assert graph.upstream("d") == ("b", "c")
    assert graph.downstream("a") == ("b", "c")
    assert graph.layers() == (("a", "lonely"), ("b", "c"), ("d",))
    assert graph.topological_order() == ("a", "lonely", "b", "c", "d")
    assert graph.roots() == ("a", "lonely")
    assert graph.sinks() == ("lonely", "d")
    assert graph.ancestors("d") == ("a", "b", "c")
    assert graph.descendants(["a", "b"], depth=1) == ("b", "c", "d")
    assert graph.ancestors(["d"], depth=0) == ()


def test_roots_and_sinks_among_some_look_through_the_assets_between() -> None:
    graph = AssetGraph(DIAMOND)
    assert graph.roots(["a", "d"]) == ("a",)
    assert graph.sinks(["a", "d"]) == ("d",)
    assert graph.roots(["b", "c"]) == ("b", "c")


def test_sorting_keys_drops_repeats_and_follows_the_data() -> None:
    assert AssetGraph(DIAMOND).sort(["d", "a", "d", "b"]) == ("a", "b", "d")


def test_a_cycle_is_named_from_start_to_start() -> None:
    with pytest.raises(DefinitionError, match="a → b → c → a") as caught:
        AssetGraph({"b": ["a"], "c": ["b", "x"], "a": ["c"], "x": [], "after": ["c"]})
    assert caught.value.details["path"] == ["a", "b", "c", "a"]


def test_an_asset_that_reads_itself_is_the_shortest_cycle() -> None:
    with pytest.raises(DefinitionError, match="a → a"):
        AssetGraph({"a": ["a"]})


def test_an_undefined_upstream_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(DefinitionError, match=r"'raw\.event'.*did you mean 'raw\.events'\?"):
        AssetGraph({"raw.events": [], "stg.events": ["raw.event"]})


def test_text_in_place_of_a_list_of_upstream_is_refused() -> None:
    with pytest.raises(DefinitionError, match="not a list"):
        AssetGraph({"a": [], "b": "a"})


@pytest.mark.parametrize("ask", ["upstream", "downstream", "ancestors", "descendants"])
def test_asking_for_an_unknown_asset_names_the_nearest(ask: str) -> None:
    with pytest.raises(InvalidInput, match="did you mean 'lonely'"):
        getattr(AssetGraph(DIAMOND), ask)("lonly")


def test_a_negative_depth_is_refused() -> None:
    with pytest.raises(InvalidInput, match="negative"):
        AssetGraph(DIAMOND).ancestors("d", depth=-1)


def test_the_graph_can_not_be_changed() -> None:
    graph = AssetGraph(DIAMOND)
    with pytest.raises(AttributeError):
        graph._keys = ()  # type: ignore[misc]
    assert len(graph) == 5
    assert "a" in graph
    assert "z" not in graph
    assert repr(graph) == "AssetGraph(5 assets in 3 layers)"


def test_an_empty_graph_has_no_layers() -> None:
    assert AssetGraph({}).layers() == ()


def test_a_chain_of_ten_thousand_assets_needs_no_recursion() -> None:
    names = [f"n{number:05}" for number in range(10_000)]
    chain = {name: names[place - 1 : place] if place else [] for place, name in enumerate(names)}
    assert AssetGraph(chain).descendants(names[0], depth=None)[-1] == names[-1]
    with pytest.raises(DefinitionError):
        AssetGraph({**chain, names[0]: [names[-1]]})


def test_a_wide_graph_of_ten_thousand_assets_is_ordered() -> None:
    """How long it takes is bench/bench_plan.py's to say, beside graphlib."""
    wide = {
        f"n{number:05}": [f"n{up:05}" for up in {number // 2, number // 3, number // 7} - {number}]
        for number in range(10_000)
    }
    order = AssetGraph(wide).topological_order()
    place = {name: number for number, name in enumerate(order)}
    assert len(place) == 10_000
    assert all(place[up] < place[name] for name, ups in wide.items() for up in ups)
