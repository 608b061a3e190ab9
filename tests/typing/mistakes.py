"""Mistakes of users; a type checker must refuse every line that is marked, and no other."""

from __future__ import annotations

from arco_flow import CheckResult, Resource, asset, env, load_asset_value
from arco_flow.testing import materialize_to_memory


@asset
def numbers() -> list[int]:
    return [1]


@asset
def edge_of_another_type(x: str = numbers.out) -> int:  # mistake: edge
    return len(x)


@numbers.check(blocking=True)  # mistake: check
def check_of_another_type(value: dict[str, int]) -> CheckResult:
    return CheckResult(bool(value))


@numbers.check  # mistake: second parameter of a check
def check_with_a_stranger(value: list[int], shop: int) -> bool:
    return len(value) == shop


text: str = materialize_to_memory(numbers)[numbers]  # mistake: result

stored: str = load_asset_value(numbers)  # mistake: stored value

numbers(1)  # mistake: arguments


@asset(retries=3)  # mistake: keyword
def misspelt() -> int:
    return 1


@asset
def window_of_another_type(x: list[str] = numbers[-6:]) -> int:  # mistake: window
    return len(x)


class Shop(Resource):
    url: str = env("SHOP_URL")


Shop(ulr="x")  # mistake: field
