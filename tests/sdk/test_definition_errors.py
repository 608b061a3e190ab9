"""Wrong uses of the SDK: each is told with its place, the offender, and the mend."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from arco_flow import DefinitionError, load_definitions

HEADER = """\
from __future__ import annotations
from collections.abc import Sequence
from arco_flow import *
days = DailyPartitions("2026-01-01")
weeks = WeeklyPartitions("2026-01-01")
"""


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refusal(code: str, header: str = HEADER) -> str:
    """The message of the file sales.py with this code, its line 1 being the sixth."""
    Path("sales.py").write_text(header + textwrap.dedent(code).lstrip("\n"))
    with pytest.raises(DefinitionError) as caught:
        load_definitions("sales.py").validate()
    return str(caught.value)


ORDERS = """
@asset
def orders() -> list[int]:
    return [1]
"""


def test_a_parameter_that_names_no_asset_gets_the_nearest_one() -> None:
    told = refusal(ORDERS + "@asset\ndef revenue(ordres: list[int]) -> int: return 1\n")
    assert told == (
        "asset 'sales.revenue': parameter 'ordres' names no asset, and its type is no resource; "
        "did you mean 'orders'?\n"
        "  at sales.py:10\n"
        "  fix: name the parameter after an asset, or annotate it with a Resource or AssetContext"
    )


def test_an_unknown_dependency_gets_the_nearest_key() -> None:
    told = refusal(ORDERS + "@asset(deps=['sales.order'])\ndef revenue() -> int: return 1\n")
    assert told == (
        "asset 'sales.revenue': deps names 'sales.order', which is not defined; "
        "did you mean 'sales.orders'?\n"
        "  at sales.py:10\n"
        "  fix: correct the key in deps, or declare the asset 'sales.order'"
    )


def test_two_assets_of_one_key_name_both_places() -> None:
    told = refusal(ORDERS + "@asset(key='sales.orders')\ndef again() -> int: return 1\n")
    assert told == (
        "two assets have the key 'sales.orders': the other one is at sales.py:7\n"
        "  at sales.py:10\n"
        "  fix: rename one function, or give it @asset(namespace='…') or @asset(key='…')"
    )


def test_two_assets_of_one_key_in_two_files_name_both_files() -> None:
    for name in ("one.py", "two.py"):
        Path(name).write_text(HEADER + "@asset(key='a.b')\ndef b() -> int: return 1\n")
    with pytest.raises(DefinitionError) as caught:
        load_definitions(".")
    assert "one.py:7" in str(caught.value)
    assert "two.py:7" in str(caught.value)


def test_a_factory_that_repeats_a_key_is_refused_although_the_line_is_the_same() -> None:
    told = refusal("""
    def make():
        @asset(key="a.b")
        def b() -> int:
            return 1
        return b
    made = [make(), make()]
    """)
    assert "two assets have the key 'a.b'" in told


def test_a_cycle_names_its_whole_path() -> None:
    told = refusal("""
    @asset(deps=["sales.c"])
    def a() -> int: return 1
    @asset
    def b(a: int) -> int: return 1
    @asset
    def c(b: int) -> int: return 1
    """)
    assert told == (
        "assets depend on each other in a circle: sales.a → sales.b → sales.c → sales.a\n"
        "  at sales.py:7\n"
        "  fix: each arrow points to the asset that reads the one before it; remove one of them"
    )


def test_an_asset_that_depends_on_itself() -> None:
    told = refusal("@asset(deps=['sales.a'])\ndef a() -> int: return 1\n")
    assert told.startswith(
        "asset 'sales.a': depends on itself, and not on earlier partitions alone\n  at sales.py:7"
    )
    assert "only partitions by time have earlier ones to read" in told


def test_a_float_in_metadata_is_refused_because_it_enters_the_fingerprint() -> None:
    told = refusal("@asset(metadata={'limits': {'low': 0.5}})\ndef a() -> int: return 1\n")
    assert told == (
        "asset 'sales.a': float 0.5 is not allowed in what enters a fingerprint "
        "(in $.metadata.limits.low)\n"
        "  at sales.py:7\n"
        "  fix: write it as a string, or scale it to an integer"
    )


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("def a(*rows): return 1", "asset function 'a' takes '*rows', which nothing can fill"),
        ("def a(**more): return 1", "asset function 'a' takes '**more', which nothing can fill"),
        ("def a(x, /): return 1", "asset function 'a' has the positional-only parameter 'x'"),
        ("def a(): yield 1", "asset function 'a' is a generator"),
        ("async def a(): yield 1", "asset function 'a' is a generator"),
        ("def a(x: list[int] = []): return 1", "parameter 'x' has the mutable default []"),
        ("def Upper(): return 1", "asset function 'Upper' has no legal key"),
        ("class A: ...", "which is no plain function"),
    ],
)
def test_functions_that_can_not_be_assets(code: str, problem: str) -> None:
    told = refusal("@asset\n" + code + "\n")
    assert problem in told.splitlines()[0]
    assert "  at sales.py:" in told


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ("tags={'a b': 'c'}", "has ' '"),
        ("tags={'tier': 0.5}", "is float, not text"),
        ("owners=['ana']", "is no e-mail address and no 'team:…'"),
        ("owners='team:a'", "owners='team:a' is no list"),
        ("kinds='python'", "is one text, not a list of kinds"),
        ("group='a//b'", "has an empty part beside a '/'"),
        ("retry=3", "retry=3 is int"),
        ("timeout='1 hour'", "timeout '1 hour' can not be read"),
        ("timeout=0", "timeout=0 leaves no time"),
        ("heartbeat_timeout='10ms'", "is shorter than 1s"),
        ("priority=0.5", "priority=0.5 is no whole number"),
        ("cpu=0", "cpu=0 is no number of CPUs"),
        ("cpu=True", "cpu=True is no number of CPUs"),
        ("memory='512'", "memory='512' is no amount of memory"),
        ("memory=512", "memory=512 is no amount of memory"),
        ("pool='a pool'", "pool='a pool' is no name of a pool"),
        ("partitions='daily'", "partitions='daily' is str, no definition of partitions"),
        ("kind='table'", "kind='table' is not known"),
        ("deps='orders'", "deps='orders' is no list"),
        ("io=3", "io=3 has no name, save() or load()"),
        ("io='jsn'", "no IO is called 'jsn'; did you mean 'json'?"),
        ("key='a.b', namespace='c'", "is given both key= and namespace="),
        ("key='orders'", "has no namespace"),
        ("retries=3", "@asset has no keyword 'retries'; did you mean 'retry'?"),
        ("description=1", "description=1 is int, not text"),
        ("mappings={'x': PartitionMapping.all()}", "mappings names 'x', which is no dependency"),
        ("mappings={'x': 'all'}", "mappings['x'] is 'all', no PartitionMapping"),
        ("deps=[3]", "deps holds 3, which is no asset and no key"),
    ],
)
def test_keywords_are_checked_and_told_with_the_functions_line(options: str, problem: str) -> None:
    told = refusal(f"@asset({options})\ndef a() -> int:\n    return 1\n")
    assert problem in told.splitlines()[0]
    assert told.splitlines()[1] == "  at sales.py:7"


def test_a_bad_cron_is_told_with_the_line_that_wrote_it() -> None:
    told = refusal("bad = CronPartitions('61 * * * *', start='2026-01-01')\n")
    assert "minute" in told
    assert "  at sales.py:6" in told


def test_two_contexts_are_one_too_many() -> None:
    told = refusal("@asset\ndef a(one: AssetContext, two: AssetContext) -> int: return 1\n")
    assert told == (
        "asset 'sales.a': parameters 'one' and 'two' both ask for the AssetContext\n"
        "  at sales.py:7\n"
        "  fix: keep one of them; the annotation AssetContext is filled once"
    )


def test_an_asset_can_not_be_changed_after_its_declaration() -> None:
    told = refusal(ORDERS + "orders.group = 'x'\n")
    assert told.splitlines()[0] == (
        "asset 'sales.orders' can not be changed after its declaration: group = 'x'"
    )
    assert told.splitlines()[2] == "  fix: give it to the decorator: @asset(group=…)"


def test_annotations_of_edges_by_name_are_compared() -> None:
    told = refusal(ORDERS + "@asset\ndef total(orders: dict[str, int]) -> int: return 1\n")
    assert told == (
        "asset 'sales.total': parameter 'orders' is dict[str, int], but 'sales.orders' returns "
        "list[int] (at sales.py:7)\n"
        "  at sales.py:10\n"
        "  fix: orders: list[int]"
    )


@pytest.mark.parametrize(
    ("returned", "wanted"),
    [
        ("dict[str, int]", "Mapping[str, int]"),
        ("list[int]", "Sequence[int]"),
        ("list[int]", "list[float]"),
        ("int", "float | None"),
        ("Any", "str"),
        ("dict[str, Any]", "Row"),
        ("list[Row]", "list[dict[str, int]]"),
        ("list[int] | None", "list[int]"),
        ("date", "str"),
        ("Later", "str"),
        ("tuple[int, str]", "list[int]"),
    ],
)
def test_annotations_that_may_fit_are_not_refused(returned: str, wanted: str) -> None:
    Path("sales.py").write_text(
        HEADER
        + "from collections.abc import Mapping\n"
        + "from dataclasses import dataclass\nfrom datetime import date\n"
        + "from typing import Any, TYPE_CHECKING\n"
        + "if TYPE_CHECKING:\n    from decimal import Decimal as Later\n"
        + "@dataclass\nclass Row:\n    a: int\n"
        + f"@asset\ndef up() -> {returned}: ...\n"
        + f"@asset\ndef down(up: {wanted}) -> None: ...\n"
    )
    load_definitions("sales.py").validate()


@pytest.mark.parametrize(
    ("returned", "wanted"),
    [
        ("list[int]", "list[str]"),
        ("str", "bytes"),
        ("float", "int"),
        ("dict[str, int]", "dict[str, str]"),
        ("list[list[int]]", "list[list[str]]"),
        ("int | str", "bytes | None"),
        ("None", "int"),
    ],
)
def test_annotations_that_can_not_fit_are_refused(returned: str, wanted: str) -> None:
    told = refusal(
        f"@asset\ndef up() -> {returned}: ...\n@asset\ndef down(up: {wanted}) -> None: ...\n"
    )
    assert "parameter 'up' is" in told


def test_several_partitions_need_a_parameter_that_can_take_them() -> None:
    told = refusal("""
    @asset(partitions=days)
    def orders() -> float: return 1.0
    @asset(partitions=weeks)
    def weekly(orders: float) -> float: return 1.0
    """)
    assert told == (
        "asset 'sales.weekly': parameter 'orders' gets several partitions of 'sales.orders', but "
        "is annotated float\n"
        "  at sales.py:9\n"
        "  fix: orders: Sequence[T] (in partition order) or dict[str, T] (by key)"
    )


def test_a_partition_key_needs_partitions() -> None:
    told = refusal("@asset\ndef a(day: PartitionKey) -> int: return 1\n")
    assert "parameter 'day' asks for the partition key, but the asset is not partitioned" in told


def test_a_window_needs_time_partitions_of_the_same_zone() -> None:
    told = refusal("""
    @asset(partitions=days)
    def orders() -> float: return 1.0
    @asset(partitions=DailyPartitions("2026-01-01", timezone="Europe/Berlin"))
    def rolling(last: Sequence[float] = orders[-6:]) -> float: return 1.0
    """)
    assert "timezone 'UTC' upstream and 'Europe/Berlin' downstream differ" in told


@pytest.mark.parametrize("window", ["[3]", "[-2:1]", "[-1:-3]", "[::2]", "['a':]", "[:-1]"])
def test_windows_that_make_no_sense(window: str) -> None:
    told = refusal(ORDERS + f"wrong = orders{window}\n")
    assert told.startswith("window orders[")
    assert "orders[-6:] is the last seven partitions" in told


def test_a_window_and_a_mapping_on_one_edge() -> None:
    told = refusal("""
    @asset(partitions=days)
    def orders() -> float: return 1.0
    @asset(partitions=days, mappings={"last": PartitionMapping.all()})
    def rolling(last: Sequence[float] = orders[-6:]) -> float: return 1.0
    """)
    assert "'last' has both the window orders[-6:] and a mapping" in told


def test_names_that_fit_several_assets_ask_for_a_typed_edge() -> None:
    told = refusal("""
    @asset(namespace="eu")
    def orders() -> int: return 1
    @asset(key="us.orders")
    def us_orders() -> int: return 1
    @asset
    def total(orders: int) -> int: return 1
    """)
    assert "parameter 'orders' could be any of eu.orders, us.orders" in told


def test_an_activity_has_no_value_to_read() -> None:
    told = refusal("""
    @asset(kind="activity")
    def notify() -> None: ...
    @asset
    def after(notify: str) -> int: return 1
    """)
    assert "asks for the value of the activity 'sales.notify', which has none" in told
    told = refusal("@asset(kind='activity')\ndef notify() -> str: return ''\n")
    assert "is annotated to return a value, which nobody could read" in told


def test_checks_are_checked() -> None:
    head = ORDERS + "@orders.check"
    assert "does not take the asset's value" in refusal(head + "\ndef ok() -> bool: ...\n")
    assert "is a coroutine" in refusal(head + "\nasync def ok(v) -> bool: ...\n")
    assert "severity 'ERROR' is not known; did you mean 'error'?" in refusal(
        head + "(severity='ERROR')\ndef ok(v) -> bool: ...\n"
    )
    assert "has two checks called 'ok'" in refusal(
        head + "\ndef ok(v) -> bool: ...\n@orders.check\ndef ok(v) -> bool: ...\n"
    )


def test_all_problems_are_listed_one_for_each_asset() -> None:
    Path("sales.py").write_text(
        HEADER
        + "@asset\ndef a(nothing: int) -> int: ...\n@asset\ndef b(day: PartitionKey) -> int: ...\n"
    )
    problems = load_definitions("sales.py").problems()
    assert [problem.details["asset"] for problem in problems] == ["sales.a", "sales.b"]


def test_a_missing_resource_names_the_asset_and_the_way_out() -> None:
    told = refusal("""
    class Shop(Resource):
        url: str
    @asset
    def orders(shop: Shop) -> int: return 1
    """)
    assert told == (
        "asset 'sales.orders': resource Shop is needed: Shop needs a value for 'url'\n"
        "  at sales.py:9\n"
        "  fix: Definitions(resources=[Shop(…)]), or give its fields defaults"
    )
