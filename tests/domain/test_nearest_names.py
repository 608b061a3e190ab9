"""The name that was probably meant: found among many, in a time that does not grow with them."""

from __future__ import annotations

import time

import pytest

from arco_flow.domain.errors import did_you_mean, nearest

PLAIN = [f"shop.orders_{number:05}" for number in range(20_000)]
ALIKE = ["a" * 70 + f"{number:05}" + "b" * 70 for number in range(20_000)]


def seconds(name: str, candidates: list[str]) -> float:
    started = time.process_time()
    nearest(name, candidates)
    return time.process_time() - started


@pytest.mark.parametrize("few", [5, 20_000])
@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("shop.orders_00003x", "shop.orders_00003"),
        ("shp.orders_00003", "shop.orders_00003"),
        ("shop.odrers_00003", "shop.orders_00003"),
        ("hop.orders_00003", "shop.orders_00003"),
    ],
)
def test_a_slip_is_seen_among_few_names_and_among_many(name: str, meant: str, few: int) -> None:
    assert did_you_mean(name, PLAIN[:few]) == f"; did you mean '{meant}'?"


@pytest.mark.parametrize("name", ["zzz", "", "shop.orders_00003" * 1000])
def test_what_is_like_no_name_has_no_hint(name: str) -> None:
    assert did_you_mean(name, PLAIN) == ""
    assert did_you_mean(name, []) == ""


@pytest.mark.parametrize("name", [ALIKE[777].replace("0", "x", 1), "ab" * 70, "a" * 1_000_000])
def test_many_long_names_that_are_alike_take_no_longer_than_many_others(name: str) -> None:
    assert min(seconds(name, ALIKE) for _ in range(3)) < 1
