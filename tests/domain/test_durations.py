"""Durations read from seconds and from text are whole milliseconds, or a clear refusal."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arco_flow.domain.durations import MAX_DURATION_MS, format_duration, parse_duration_ms
from arco_flow.domain.errors import InvalidInput


@pytest.mark.parametrize(
    ("value", "milliseconds"),
    [
        (0, 0),
        (10, 10_000),
        (0.2, 200),
        (0.1, 100),
        (1e-3, 1),
        ("500ms", 500),
        ("10s", 10_000),
        ("5m", 300_000),
        ("2h", 7_200_000),
        ("1d", 86_400_000),
        ("1h30m", 5_400_000),
        ("1.5s", 1_500),
        (" 10s ", 10_000),
        ("1m500ms", 60_500),
        ("0s", 0),
    ],
)
def test_spans_are_read(value: float | str, milliseconds: int) -> None:
    assert parse_duration_ms(value) == milliseconds


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("10", "no unit after '10'"),
        ("ten seconds", "can not be read from 'ten seconds'"),
        ("10 s", "can not be read"),
        ("10m5h", "'h' after a unit that is not larger"),
        ("5s5s", "'s' after a unit that is not larger"),
        ("", "is empty"),
        ("-5s", "is negative"),
        (-1, "is negative"),
        (-0.5, "is negative"),
        (float("nan"), "no finite number"),
        (float("inf"), "no finite number"),
        (0.0001, "finer than a millisecond"),
        ("0.5ms", "finer than a millisecond"),
        pytest.param(10**5000, "(a number of thousands of digits) is longer", id="huge"),
        pytest.param(-(10**5000), "is negative", id="huge and negative"),
        (1e12, "is longer than 3650d"),
        ("9" * 70 + "s", "has 71 characters"),
        ("٣s", "can not be read"),
        (True, "is bool"),
        (None, "is NoneType"),
        ([10], "is list"),
    ],
)
def test_other_values_are_refused_with_a_hint(value: object, problem: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_duration_ms(value, name="delay")  # type: ignore[arg-type]
    assert problem in caught.value.message
    assert caught.value.message.startswith("delay ")
    assert caught.value.fix is not None
    assert "10s" in caught.value.fix


@given(st.integers(0, MAX_DURATION_MS))
def test_formatting_and_parsing_are_inverse(milliseconds: int) -> None:
    assert parse_duration_ms(format_duration(milliseconds)) == milliseconds


@given(st.integers(0, 10**9))
def test_a_float_of_seconds_means_its_shortest_decimal(milliseconds: int) -> None:
    assert parse_duration_ms(milliseconds / 1000) == milliseconds


@given(st.one_of(st.text(max_size=80), st.floats(), st.integers()))
def test_nothing_but_the_typed_refusal_escapes(value: float | str) -> None:
    with contextlib.suppress(InvalidInput):
        assert parse_duration_ms(value) >= 0


def test_formatting_a_negative_span_is_refused() -> None:
    with pytest.raises(InvalidInput, match="negative"):
        format_duration(-1)
