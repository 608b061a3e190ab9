"""The project that `arco-flow init` writes: small, runnable, and an example of each first need."""

from __future__ import annotations

from typing import Final

_ASSETS: Final = '''\
"""Assets are functions: a parameter that is called like an asset receives its value."""

from arco_flow import DailyPartitions, DynamicPartitions, PartitionKey, asset

days = DailyPartitions("2026-01-01")

Order = dict[str, int]


@asset(partitions=days)
def orders(day: PartitionKey) -> list[Order]:
    """The orders of one day. Replace the body by a read from where yours are."""
    print(f"reading the orders of {day}")
    return [{"id": number, "cents": 100 * number} for number in range(1, 11)]


@orders.check(blocking=True)
def amounts_are_positive(found: list[Order]) -> bool:
    """A blocking check stands between the value and everything downstream."""
    return all(order["cents"] > 0 for order in found)


@asset(partitions=days)
def revenue(orders: list[Order]) -> int:
    """Revenue of one day, in cents."""
    return sum(order["cents"] for order in orders)


@asset(partitions=days)
def report(day: PartitionKey, orders: list[Order], revenue: int) -> str:
    """One line on the day, made of two upstream assets."""
    return f"{day}: {len(orders)} orders, {revenue / 100:.2f} EUR"


@asset(partitions=DynamicPartitions("regions"))
def budget(region: PartitionKey) -> int:
    """Partitions that exist when you say so: `arco-flow partitions add regions eu us`."""
    return 500 if region == "eu" else 200
'''

_TESTS: Final = '''\
"""Assets are plain functions, so that tests need no plane, no store and no mocks."""

from arco_flow.testing import materialize_to_memory

from assets import amounts_are_positive, orders, revenue


def test_revenue_is_the_sum_of_the_orders() -> None:
    assert revenue([{"id": 1, "cents": 250}, {"id": 2, "cents": 50}]) == 300


def test_an_order_without_an_amount_is_found() -> None:
    assert not amounts_are_positive([{"id": 7, "cents": 0}])


def test_one_day_from_its_orders_to_its_revenue() -> None:
    result = materialize_to_memory([orders, revenue], partition_key="2026-01-02")
    assert result.ok
    assert result[revenue] == 5500
'''

_PYPROJECT: Final = """\
[project]
name = "{name}"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = ["arco-flow"]

[dependency-groups]
dev = ["arco-flow[dev]", "pytest"]

[tool.arco-flow]
target = "assets.py"

[tool.pytest.ini_options]
pythonpath = ["."]
"""

_GITIGNORE: Final = """\
.arco-flow/
.venv/
__pycache__/
"""

FILES: Final = {
    "assets.py": _ASSETS,
    "test_assets.py": _TESTS,
    "pyproject.toml": _PYPROJECT,
    ".gitignore": _GITIGNORE,
}
"""Path -> content; `{name}` in pyproject.toml is the project's name."""


def starter_files(name: str) -> dict[str, str]:
    """The files of a project of this name."""
    return {
        path: (text.replace("{name}", name) if path == "pyproject.toml" else text)
        for path, text in FILES.items()
    }
