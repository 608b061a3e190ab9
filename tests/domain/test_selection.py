"""The selection language answers as Dagster's does, but for the differences that are listed."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from arco_flow.domain.errors import InvalidInput
from arco_flow.domain.graph import AssetGraph
from arco_flow.domain.selection import AssetAttributes, parse, select, to_text
from arco_flow.domain.selection_ast import (
    ATTRIBUTES,
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
from arco_flow.domain.selection_lexer import VALUE, tokenize
from arco_flow.domain.selection_parser import MAX_NESTING, MAX_SELECTION_CHARS
from domain.selection_trees import trees_of

VECTORS = json.loads(
    (Path(__file__).parent.parent / "vectors" / "04_asset_selection.json").read_text("utf-8")
)


def attributes_of(asset: dict[str, Any]) -> AssetAttributes:
    partitions = {"daily": "time"}.get(asset.get("partitions", ""), asset.get("partitions", "none"))
    return AssetAttributes(
        group=asset.get("group", "default"),
        tags=asset.get("tags", {}),
        kinds=frozenset(asset.get("kinds", ())),
        owners=frozenset(asset.get("owners", ())),
        is_external=asset.get("external", False),
        partitions=partitions,
    )


GRAPHS = {
    name: (
        AssetGraph({asset["key"]: asset.get("deps", []) for asset in graph["assets"]}),
        {asset["key"]: attributes_of(asset) for asset in graph["assets"]},
    )
    for name, graph in VECTORS["meta"]["graphs"].items()
}

# What docs/dagster-differences.md lists: refused from the old parser, and read by us alone.
REFUSED = re.compile(r"\+\+|^\*[\w/]|[\w/]\*$|^tag:(=|$)")
DAGSTER_VALUE = re.compile(r"[A-Za-z_][A-Za-z0-9_/]*")
DAGSTER_KEY_PATTERN = re.compile(r"[A-Za-z_*][A-Za-z0-9_*/]+")


def select_in(case: dict[str, Any], text: str | None = None) -> list[str]:
    graph, attributes = GRAPHS[case["graph"]]
    include = case.get("include_sources", False)
    return sorted(select(text or case["selection"], graph, attributes, include_external=include))


def quoted_keys(node: Selection) -> Selection:
    """The same selection with every bare key written as `key:…`."""
    match node:
        case Key(key):
            return KeyPattern(key)
        case And(operands) | Or(operands):
            return join(type(node), [quoted_keys(operand) for operand in operands])
        case Not(of) | Roots(of) | Sinks(of):
            return type(node)(quoted_keys(of))
        case Upstream(of, depth) | Downstream(of, depth):
            return type(node)(quoted_keys(of), depth)
        case Around(of, up, down):
            return Around(quoted_keys(of), up, down)
        case _:
            return node


def children(node: Selection) -> tuple[Selection, ...]:
    match node:
        case And(operands) | Or(operands):
            return operands
        case Not() | Roots() | Sinks() | Upstream() | Downstream() | Around():
            return (node.of,)
        case _:
            return ()


def is_read_by_us_only(text: str) -> bool:
    """Whether a bare key, a traversed `*` or an unquoted value is one that Dagster can not read."""
    nodes = [parse(text)]
    for node in nodes:
        nodes.extend(children(node))
    bare = any(isinstance(node, Key) for node in nodes)
    traversals = (Upstream, Downstream, Around)
    star = any(isinstance(node, traversals) and node.of == All() for node in nodes)
    tokens = tokenize(text)
    values = [
        (tokens[place - 2].text, token.text)
        for place, token in enumerate(tokens)
        if token.kind == VALUE
    ]
    return bare or star or not all(is_value_of_dagster(*value) for value in values)


def is_value_of_dagster(attribute: str, value: str) -> bool:
    if attribute == "key" and DAGSTER_KEY_PATTERN.fullmatch(value) and "*" in value:
        return True
    keywords = {*ATTRIBUTES, "sensor", "job", "roots", "sinks", "status", "schedule"}
    return DAGSTER_VALUE.fullmatch(value) is not None and value not in keywords


CASES = VECTORS["cases"]
READ_BY_DAGSTER = [case for case in CASES if case["parser"] == "antlr"]
READ_BY_ITS_OLD_PARSER = [case for case in CASES if case["parser"] == "legacy-fallback"]
READ_BY_NEITHER = [case for case in CASES if case["parser"] == "none"]


@pytest.mark.parametrize("case", READ_BY_DAGSTER, ids=lambda case: case["id"])
def test_what_dagster_reads_is_read_alike(case: dict[str, Any]) -> None:
    if "resolve_error" in case:
        with pytest.raises(InvalidInput, match="not selected by"):
            select_in(case)
    elif case["selection"] == "owner:<null>":
        graph, attributes = GRAPHS[case["graph"]]
        unowned = [key for key in graph.keys if not attributes[key].owners]
        assert select_in(case) == [key for key in unowned if not attributes[key].is_external]
    else:
        assert select_in(case) == case["keys"]


@pytest.mark.parametrize("case", READ_BY_DAGSTER, ids=lambda case: case["id"])
def test_the_canonical_text_is_dagsters_but_for_its_slips(case: dict[str, Any]) -> None:
    if "resolve_error" in case:
        return
    ours = to_text(parse(case["selection"]))
    around = re.fullmatch(r"(\d*\+)(.+) or \2(\+\d*)", case["canonical"])
    if around:
        assert ours == "".join(around.groups())
    elif parse(case["canonical"]) != parse(case["selection"]):
        assert "not (" in ours
        assert ours.replace("not (", "not ").replace(")", "") == case["canonical"].replace(")", "")
    else:
        assert ours == case["canonical"]


@pytest.mark.parametrize("case", READ_BY_ITS_OLD_PARSER, ids=lambda case: case["id"])
def test_a_bare_key_means_the_same_with_and_without_its_attribute(case: dict[str, Any]) -> None:
    text = case["selection"]
    if REFUSED.search(text) or "resolve_error" in case:
        with pytest.raises(InvalidInput):
            select_in(case)
        return
    ours = select_in(case)
    assert ours == select_in(case, to_text(quoted_keys(parse(text))))
    if "+" in text:
        assert set(case["keys"]) <= set(ours)
    else:
        assert ours == case["keys"]


@pytest.mark.parametrize("case", READ_BY_NEITHER, ids=lambda case: case["id"])
def test_what_dagster_can_not_read_is_refused_unless_it_can_mean_one_thing(
    case: dict[str, Any],
) -> None:
    text = case["selection"]
    with contextlib.suppress(InvalidInput):
        tree = parse(text)
        assert is_read_by_us_only(text)
        assert select_in(case) == select_in(case, to_text(quoted_keys(tree)))
        return
    with pytest.raises(InvalidInput) as caught:
        parse(text)
    assert caught.value.reason == "BAD_SELECTION"
    assert caught.value.details["column"] in range(1, len(text) + 2)


SHOP, ITS_ATTRIBUTES = GRAPHS["G1"]
SOURCES, OF_SOURCES = GRAPHS["G2"]


def chosen(text: str) -> tuple[str, ...]:
    return select(text, SHOP, ITS_ATTRIBUTES)


def test_the_answer_is_in_topological_order() -> None:
    assert chosen("+mart/revenue") == ("raw/events", "stg/events", "mart/revenue")
    assert chosen("mart/revenue or raw/events or lonely") == (
        "lonely",
        "raw/events",
        "mart/revenue",
    )


def test_dotted_keys_are_keys_like_any_other() -> None:
    graph = AssetGraph({"raw.events": [], "stg.events": ["raw.events"], "stg.users": []})
    assert select("raw.events+1", graph, {}) == ("raw.events", "stg.events")
    assert select("key:stg.* and not +key:*.users", graph, {}) == ("stg.events",)


def test_bare_keys_take_the_whole_lineage_like_any_operand() -> None:
    assert chosen("+report") == chosen('+key:"report"')
    assert chosen("1+report") == chosen('1+key:"report"')


@pytest.mark.parametrize(
    ("text", "nearest"),
    [("stg/event", "stg/events"), ("not reports", "report"), ("+raw/user", "raw/users")],
)
def test_an_unknown_bare_key_is_answered_with_the_nearest(text: str, nearest: str) -> None:
    with pytest.raises(InvalidInput, match=f"did you mean '{nearest}'"):
        chosen(text)


@pytest.mark.parametrize(
    "text",
    ["group:nope", "kind:nope", "tag:nope", 'key:"nope"', "owner:no@one.org", "partitions:x"],
)
def test_an_unknown_value_selects_nothing(text: str) -> None:
    assert chosen(text) == ()


def test_stars_match_in_every_value() -> None:
    assert chosen('kind:"*y*" and group:"m*"') == ("ml/features", "ml/model")
    assert chosen("kind:py*") == chosen("kind:python")
    assert chosen("owner:team:*") == ("raw/events", "mart/revenue", "mart/sessions")
    assert chosen("tag:tier=*") == chosen("group:ingest or group:staging or group:marts")
    assert chosen("tag:t*=gold") == chosen("group:marts")
    assert chosen("key:m*/*s") == ("mart/sessions", "ml/features", "ml/scores")


def test_null_selects_what_has_none() -> None:
    assert chosen("tag:<null>") == chosen("group:ml or group:bi or group:misc")
    assert chosen("kind:<null>") == ("lonely", "ml/scores")
    assert chosen("partitions:<null>") == chosen("partitions:none") == chosen("*")
    assert chosen("group:<null>") == ()


def test_external_assets_are_seen_when_asked_for() -> None:
    def of(text: str, include: bool) -> set[str]:
        found = select(text, SOURCES, OF_SOURCES, include_external=include)
        return {key for key in found if key.startswith("ext")}

    for text in ("*", "not key:a", "group:src", "+b", "owner:<null>", "tag:<null>"):
        assert of(text, False) == set()
        assert of(text, True) >= {"ext2"}
    assert of("is:external", False) == of("key:ext*", False) == {"ext", "ext2"}
    assert of("ext+1", False) == {"ext", "ext2"}


def test_both_words_for_multi_partitions_are_read() -> None:
    graph = AssetGraph({"a": []})
    attributes = {"a": AssetAttributes(partitions="multi")}
    assert select("partitions:multi", graph, attributes) == ("a",)
    assert select("partitions:multipartitions", graph, attributes) == ("a",)


@pytest.mark.parametrize(
    ("text", "column", "problem", "fix"),
    [
        ("", 1, "expected a key", "'*' selects all"),
        ("group:marts and", 16, "found the end", "ends with a selection"),
        ("(group:marts", 13, "expected ')'", "between two"),
        ("group:marts)", 12, "found ')'", "no '('"),
        (
            "group:marts kind:dbt",
            13,
            "expected 'and', 'or' or the end, found 'kind'",
            "'and' or 'or'",
        ),
        ("group:marts && kind:dbt", 13, "'&' has no meaning", "write 'and'"),
        ("group:marts | kind:dbt", 13, "'|' has no meaning", "write 'or'"),
        ("a, b", 2, "',' has no meaning", "write 'or'"),
        ("!a", 1, "'!' has no meaning", "write 'not'"),
        ("key:n?", 6, "'?' has no meaning", "only '*' is a wildcard"),
        ("key:'a'", 5, "has no meaning", "double quotes"),
        ('key:"a', 5, "has no meaning", "close the double quote"),
        ("ä", 1, "'ä' has no meaning", "in quotes"),
        ("a\x00b", 2, "U+0000 has no meaning", "in quotes"),
        ("group=marts", 6, "found '='", "write group:…"),
        ("++report", 2, "found '+'", "2+x or x+2"),
        ("report++", 8, "found '+'", "2+x or x+2"),
        ("*report", 1, "holds no '*'", "+report or report+"),
        ("stg/*", 1, "holds no '*'", "key:stg/* for keys of this pattern"),
        ("12", 1, "12 is a number", '"12" for a key'),
        ("+2+a", 2, "2 is a number", "2+x"),
        ("99999999999999999999+a", 1, "beyond every graph", "all levels"),
        ("not", 4, "expected a key", "ends with a selection"),
        ("+not a", 2, "found 'not'", '"not" in quotes'),
        ("key:", 5, "a value after 'key:'", 'key:"…"'),
        ("key:<null>", 5, "every asset has a key", 'key:"*"'),
        ("tag:a=", 7, "a value after '='", 'tag:a="…"'),
        ("tag:a=<null>", 7, "has a value or is absent", "not tag:a=*"),
        ("is:extern", 4, "did you mean 'external'?", "materializable"),
        ("is:<null>", 4, "nothing 'is:<null>'", "external"),
        ("status:failed", 1, "not selected by 'status:' here", "known are key:"),
        ("job:daily", 1, "not selected by 'job:' here", "known are key:"),
        ("KEY:a", 1, "did you mean 'key'?", "known are key:"),
        ("grup:a", 1, "did you mean 'group'?", "known are key:"),
        ("sink(a)", 1, "did you mean 'sinks'?", "roots(…) and sinks(…)"),
        ("roots()", 7, "expected a key", "e.g."),
        ("a\n and\n )", 9, "found ')'", "e.g."),
    ],
)
def test_an_error_shows_the_place_and_the_way_out(
    text: str, column: int, problem: str, fix: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(text)
    error = caught.value
    first, shown, caret = error.message.split("\n")
    assert error.details["column"] == column
    assert problem in first
    assert fix in (error.fix or "")
    assert caret.index("^") - 2 == column - 1
    assert len(shown) - 2 == len(text)


def test_a_long_expression_is_cut_around_the_place() -> None:
    text = " or ".join(["group:marts"] * 50) + " or & or " + "group:ml or " * 40
    with pytest.raises(InvalidInput) as caught:
        parse(text)
    _, shown, caret = caught.value.message.split("\n")
    assert shown[caret.index("^")] == "&"
    assert len(shown) < 130
    assert caught.value.details["column"] == text.index("&") + 1


@pytest.mark.parametrize(
    "text",
    ["(" * 100_000, "(" * MAX_SELECTION_CHARS, "not " * 4000 + "a", "roots(" * 2000, "+(" * 5000],
    ids=lambda text: text[:6],
)
def test_endless_nesting_is_refused_and_not_followed(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(text)
    assert isinstance(caught.value.details["column"], int)


@pytest.mark.parametrize("opening", ["(", "not ", "roots(", "+(", "not b and +(a or "])
def test_the_deepest_nesting_is_read_written_and_evaluated(opening: str) -> None:
    closing = ")" * opening.count("(")
    times = MAX_NESTING if opening != "not b and +(a or " else MAX_NESTING // 2
    tree = parse(opening * times + "a" + closing * times)
    assert parse(to_text(tree)) == tree
    select(tree, AssetGraph({"a": [], "b": []}), {})
    with pytest.raises(InvalidInput, match="levels inside each other"):
        parse(opening * (MAX_NESTING + 1) + "a" + closing * (MAX_NESTING + 1))


def test_a_repeated_traversal_costs_no_more_than_its_text() -> None:
    text = "a"
    for _ in range(MAX_NESTING):
        text = f"+({text})+"
    assert len(to_text(parse(text))) < 2 * len(text)


def test_many_stars_are_matched_in_linear_time() -> None:
    graph = AssetGraph({"a" * 250: []})
    assert select(f'key:"{"*a" * 120}*b"', graph, {}) == ()
    assert select(f'key:"{"*a" * 120}*"', graph, {}) == ("a" * 250,)


def test_a_value_that_can_not_be_quoted_can_not_be_written() -> None:
    with pytest.raises(InvalidInput, match="can not be written"):
        to_text(KeyPattern('a"b'))


def test_a_selection_is_text() -> None:
    with pytest.raises(InvalidInput, match="not int"):
        parse(3)  # type: ignore[arg-type]


names = st.one_of(
    st.sampled_from(["a", "b.c", "raw/x", "and", "2024", "roots", "key", "a*b", "é"]),
    st.text(st.characters(exclude_characters='"\\\r\n', exclude_categories=["Cs"]), max_size=6).map(
        lambda text: normalize("NFC", text)
    ),
)
leaves: st.SearchStrategy[Selection] = st.one_of(
    st.builds(All),
    st.builds(Key, names),
    st.builds(KeyPattern, names),
    st.builds(Tag, names, names),
    st.just(Tag(None)),
    st.builds(Attribute, st.sampled_from(["group", "kind", "owner", "partitions"]), names),
    st.builds(Attribute, st.just("is"), st.sampled_from(["external", "materializable"])),
    st.builds(Attribute, st.sampled_from(["group", "kind", "owner"]), st.none()),
)
trees = trees_of(leaves, max_depth=10**6, max_leaves=12)


@given(trees)
@example(Upstream(Upstream(Key("2"), 2), None))
@example(Downstream(Not(All()), 3))
def test_what_is_written_reads_back_as_the_same_tree(tree: Selection) -> None:
    assert parse(to_text(tree)) == tree


PIECES = ["a", "b", "c", "*", "+", "1", "(", ")", "and", "or", "not", "roots(", "sinks(", " "]
MORE_PIECES = ['"', "key:", "group:", "tag:", "=", "<null>", "is:", "x", "\n", "-", "&", "é", ":"]


@given(st.lists(st.sampled_from(PIECES + MORE_PIECES), max_size=14).map("".join))
@example('"2"+')
def test_nothing_but_the_typed_refusal_escapes(text: str) -> None:
    graph = AssetGraph({"a": [], "b": ["a"], "c": ["b"]})
    with contextlib.suppress(InvalidInput):
        tree = parse(text)
        assert parse(to_text(tree)) == tree
        assert set(select(tree, graph, {})) <= {"a", "b", "c"}


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidInput):
        parse(text)


@given(st.text("ab*", max_size=6), st.text("ab", max_size=8))
def test_stars_match_as_a_regular_expression_would(pattern: str, key: str) -> None:
    expected = re.fullmatch(pattern.replace("*", ".*"), key) is not None
    found = select(KeyPattern(pattern), AssetGraph({key: []}), {})
    assert (found == (key,)) is expected


@given(trees.filter(lambda tree: "é" not in repr(tree)))
def test_the_laws_of_sets_hold(tree: Selection) -> None:
    graph, attributes = GRAPHS["G4"]

    def of(node: Selection) -> set[str]:
        return set(select(quoted_keys(node), graph, attributes))

    everything = set(graph.keys)
    assert of(Not(tree)) == everything - of(tree)
    assert of(join(And, [tree, Not(tree)])) == set()
    assert of(join(Or, [tree, Not(tree)])) == everything
    assert of(Upstream(tree, None)) >= of(tree) >= of(Roots(tree))
    assert of(Around(tree, 1, 2)) == of(Upstream(tree, 1)) | of(Downstream(tree, 2))
