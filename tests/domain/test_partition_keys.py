"""The canonical text of a partition key: one key, one text, and nothing else is read."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone
from enum import IntEnum
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from arco_flow.domain.errors import InvalidInput
from arco_flow.domain.partition_keys import decode_partition_key, encode_partition_key

CASES = json.loads(
    (Path(__file__).parents[1] / "vectors" / "partition_key_cases.json").read_text("utf-8")
)
READ = {
    "date": date.fromisoformat,
    "int64": int,
    "bool": lambda text: text == "true",
    "string": str,
    "timestamp": datetime.fromisoformat,
    "null": lambda text: None,
}

names = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
values = st.one_of(
    st.text(),
    st.integers(-(2**63), 2**63 - 1),
    st.booleans(),
    st.dates(),
    st.datetimes(timezones=st.just(UTC)),
    st.none(),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_the_fixtures_of_the_earlier_system_hold(case: dict) -> None:
    dims = {name: READ[d["type"]](d["value"]) for name, d in case["dimensions"].items()}
    assert encode_partition_key(dims) == case["expected_canonical"]
    assert decode_partition_key(case["expected_canonical"]) == dims


def typed(dims: dict) -> list:
    """True is 1 in Python, but not in a key."""
    return [(name, type(value), value) for name, value in dims.items()]


@given(st.dictionaries(names, values, max_size=4))
def test_decoding_inverts_encoding(dims: dict) -> None:
    from unicodedata import normalize

    text = encode_partition_key(dims)
    normal = {n: normalize("NFC", v) if isinstance(v, str) else v for n, v in dims.items()}
    assert typed(decode_partition_key(text)) == typed(dict(sorted(normal.items())))
    assert encode_partition_key(decode_partition_key(text)) == text


ALPHABET = "abz_019=:,sibdtn-+TZ.é "


@given(st.one_of(st.text(), st.text(ALPHABET), st.from_regex(r"a=[sibdtnx]:[-\w:.+]{0,30}")))
@example("a=s:\ud800")
@example("a=i:" + "9" * 5000)
@example("a=i:٣")
@example("a=d:２０２６-01-01")
def test_the_decoder_raises_nothing_but_invalid_input(text: str) -> None:
    try:
        dims = decode_partition_key(text)
    except InvalidInput:
        return
    assert encode_partition_key(dims) == text


@pytest.mark.parametrize(
    "text",
    [
        "b=i:1,a=i:1",
        "a=i:1,a=i:2",
        "a=i:1,a=i:1",
        "a=i:+5",
        "a=i:005",
        "a=i:-0",
        "a=i:",
        "a=i:9223372036854775808",
        "a=i:-9223372036854775809",
        "a=b:True",
        "a=b:1",
        "a=d:2026-1-1",
        "a=d:20260101",
        "a=d:2025-02-29",
        "a=d:0000-01-01",
        "a=t:2026-01-01T00:00:00Z",
        "a=t:2026-01-01T00:00:00.000000+00:00",
        "a=t:2026-01-01T24:00:00.000000Z",
        "a=t:2026-01-01 00:00:00.000000Z",
        "a=n:",
        "a=n:None",
        "a=s:dGVzdA==",
        "a=s:dGVzdB",  # stray bits after the last byte
        "a=s:d",
        "a=s:+/",
        "a=s:_w",  # not UTF-8
        "a=s:ZcyB",  # e and a combining accent: not NFC
        "a=x:1",
        "a=:1",
        "=i:1",
        "A=i:1",
        "1a=i:1",
        "a-b=i:1",
        "a=i:1,",
        ",a=i:1",
        "a=i:1 ",
        "a=i:1\n",
        "a",
        ",".join(f"a{number:03}=i:1" for number in range(65)),
    ],
)
def test_other_spellings_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="partition key"):
        decode_partition_key(text)


def test_bounds_are_exact() -> None:
    for number in (-(2**63), 2**63 - 1, 0, -1):
        assert decode_partition_key(encode_partition_key({"a": number})) == {"a": number}
    for number in (-(2**63) - 1, 2**63):
        with pytest.raises(InvalidInput, match="64 bits"):
            encode_partition_key({"a": number})
    for day in (date.min, date.max, date(2024, 2, 29)):
        assert decode_partition_key(encode_partition_key({"a": day})) == {"a": day}


def test_an_enumeration_of_integers_is_checked_quickly_like_an_integer() -> None:
    class Shard(IntEnum):
        LAST = 2**63 - 1

    assert encode_partition_key({"shard": Shard.LAST}) == f"shard=i:{2**63 - 1}"


def test_a_time_is_written_in_utc_and_needs_a_zone() -> None:
    berlin = timezone(timedelta(hours=2))
    text = encode_partition_key({"at": datetime(2026, 7, 1, 2, tzinfo=berlin)})
    assert text == "at=t:2026-07-01T00:00:00.000000Z"
    with pytest.raises(InvalidInput, match="has no zone"):
        encode_partition_key({"at": datetime.fromisoformat("2026-07-01T02:00")})
    with pytest.raises(InvalidInput, match="outside the calendar"):
        encode_partition_key({"at": datetime.max.replace(tzinfo=timezone(timedelta(hours=-1)))})


def test_equal_looking_text_is_one_key() -> None:
    assert encode_partition_key({"a": "é"}) == encode_partition_key({"a": "é"})


@pytest.mark.parametrize("value", [1.5, b"x", (1,), object()])
def test_other_types_are_refused_with_what_is_allowed(value: object) -> None:
    with pytest.raises(InvalidInput, match="use str, int, bool"):
        encode_partition_key({"a": value})  # type: ignore[dict-item]


def test_the_empty_key_is_what_is_not_partitioned() -> None:
    assert encode_partition_key({}) == ""
    assert decode_partition_key("") == {}
