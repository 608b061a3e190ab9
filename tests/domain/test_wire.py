"""Canonical JSON: the bytes that every fingerprint and id is made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from arco_flow.domain.errors import InvalidInput
from arco_flow.domain.wire import MAX_DEPTH, canonical_json, decode_json, fingerprint

VECTORS = json.loads(
    (Path(__file__).parents[1] / "vectors" / "canonical_json_vectors.json").read_text()
)["vectors"]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_vectors(vector: dict[str, Any]) -> None:
    assert canonical_json(vector["input"]).decode() == vector["expected_canonical"]


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
# RFC 8785 sorts keys by UTF-16 and we by UTF-8: below the surrogates the two agree.
KEYS = st.text(st.characters(max_codepoint=0xD7FF))
LEAVES = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXT
DOCUMENTS = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4)
)


@given(DOCUMENTS)
def test_it_is_rfc_8785_on_our_profile(document: Any) -> None:
    assert canonical_json(document) == rfc8785.dumps(document)


@given(DOCUMENTS)
def test_it_comes_back(document: Any) -> None:
    assert decode_json(canonical_json(document)) == document


def test_keys_are_sorted_by_their_utf8_bytes() -> None:
    """Where UTF-16 order differs: U+FB01 sorts before U+1F600 in UTF-8, after it in UTF-16."""
    assert canonical_json({"\U0001f600": 1, "\ufb01": 2}) == '{"ﬁ":2,"\U0001f600":1}'.encode()


@pytest.mark.parametrize("value", [1.0, 0.5, float("nan"), float("inf"), -0.0])
def test_floats_are_refused_with_their_place(value: float) -> None:
    with pytest.raises(InvalidInput) as caught:
        canonical_json({"a": [{"b": value}]})
    assert caught.value.where == "$.a[0].b"
    assert caught.value.reason == "FLOAT_IN_FINGERPRINT"
    assert "scale it to an integer" in str(caught.value)


@pytest.mark.parametrize("value", [b"x", {1, 2}, object(), {1: 2}, {"a": {None: 1}}, "\ud800"])
def test_what_is_no_json_is_refused(value: object) -> None:
    with pytest.raises(InvalidInput):
        canonical_json(value)


def test_nesting_is_bounded() -> None:
    deep: list[Any] = []
    for _ in range(MAX_DEPTH + 10):
        deep = [deep]
    with pytest.raises(InvalidInput, match="nesting deeper"):
        canonical_json(deep)


def test_a_fingerprint_does_not_depend_on_the_order_of_keys() -> None:
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint({}).startswith("sha256:")


@given(st.binary(max_size=200))
def test_any_bytes_are_json_or_refused(raw: bytes) -> None:
    try:
        decode_json(raw)
    except InvalidInput as error:
        refused = error
    else:
        return
    assert refused.reason == "MALFORMED_JSON"
