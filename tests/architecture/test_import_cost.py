"""Declaring assets costs a project next to nothing, and the command line answers at once.

Figures are processor time over that of a bare interpreter, the least of several runs, with byte
code compiled before: what a busy machine adds is not counted against us.
"""

from __future__ import annotations

import compileall
import os
import resource
import subprocess
import sys

import pytest

from architecture.sources import PACKAGE, ROOT

RUNS = 9
IMPORT_MILLISECONDS = 50
ASSETS_MILLISECONDS = 75
"""Of a file that declares assets: `import arco_flow` loads names when they are first used, so
this is what a project really pays."""
HELP_MILLISECONDS = 60

EVERY_NAME = "import arco_flow; [getattr(arco_flow, name) for name in arco_flow.__all__]"
AN_ASSET = """
from arco_flow import AssetContext, DailyPartitions, Resource, RetryPolicy, asset, env

class Shop(Resource):
    url: str = env("SHOP_URL")

@asset(key="sales.orders", partitions=DailyPartitions("2026-01-01"), retry=RetryPolicy(2))
def orders(context: AssetContext, shop: Shop) -> list:
    return []

@asset(key="sales.revenue", partitions=DailyPartitions("2026-01-01"))
def revenue(orders: list = orders.out) -> int:
    return len(orders)

@revenue.check(blocking=True)
def is_positive(value: int) -> bool:
    return value > 0
"""
HEAVY = (
    "pydantic",
    "google",
    "grpc",
    "pandas",
    "polars",
    "pyarrow",
    "numpy",
    "click",
    "rich",
    "asyncio",
    "sqlite3",
    "http.client",
)


@pytest.fixture(scope="module", autouse=True)
def _byte_code():
    compileall.compile_dir(PACKAGE, quiet=2)


def _environment():
    return {**os.environ, "PYTHONPATH": str(ROOT / "shared"), "PYTHONDONTWRITEBYTECODE": ""}


def _spent(*arguments):
    """Processor seconds of one child, user and system."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, *arguments],
        env=_environment(),
        check=True,
        stdout=subprocess.DEVNULL,
        cwd=ROOT,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _milliseconds_over_bare(*arguments):
    # Alternated, so that a machine that slows down slows both.
    pairs = [(_spent("-c", "pass"), _spent(*arguments)) for _ in range(RUNS)]
    return 1000 * (min(spent for _, spent in pairs) - min(bare for bare, _ in pairs))


def _loaded(code):
    """Names of the modules that an interpreter has loaded after the code."""
    listed = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"],
        env=_environment(),
        check=True,
        capture_output=True,
        text=True,
    )
    return set(listed.stdout.split())


@pytest.mark.parametrize("code", ["import arco_flow", EVERY_NAME, AN_ASSET])
def test_the_sdk_loads_nothing_heavy(code):
    # functions-framework has every interpreter of its environment make the namespace `google`.
    loaded = _loaded(code) - _loaded("")
    assert not [name for name in loaded if name in HEAVY or name.partition(".")[0] in HEAVY]


def test_the_package_is_imported_within_its_budget():
    assert _milliseconds_over_bare("-c", "import arco_flow") <= IMPORT_MILLISECONDS


def test_assets_are_declared_within_their_budget():
    assert _milliseconds_over_bare("-c", AN_ASSET) <= ASSETS_MILLISECONDS


def test_help_is_there_within_its_budget():
    shown = subprocess.run(
        [sys.executable, "-m", "arco_flow.cli", "--help"],
        env=_environment(),
        check=True,
        capture_output=True,
        text=True,
    )
    assert "Commands:" in shown.stdout
    assert _milliseconds_over_bare("-m", "arco_flow.cli", "--help") <= HELP_MILLISECONDS
