"""What the worker does with one asset: bind, run, and know types and IO of its values."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import pytest

from arco_flow import ArcoError, AssetContext, DailyPartitions, PartitionKey, Resource, asset
from arco_flow.sdk.execution import (
    ResourceSet,
    bind_arguments,
    input_annotation,
    output_io,
    run_asset,
)
from arco_flow.testing import build_context

days = DailyPartitions("2026-01-01")


class Shop(Resource):
    url: str = "x"


@asset(key="t.all_kinds", partitions=days, io="json")
def all_kinds(
    rows: list[int],
    *,
    shop: Annotated[Shop, "the shop"],
    day: PartitionKey,
    context: AssetContext,
    limit: int = 3,
) -> str:
    return f"{rows} {shop.url} {day} {context.asset_key} {limit}"


def test_every_kind_of_parameter_is_bound_by_name() -> None:
    context = build_context(all_kinds, partition_key="2026-01-05")
    with ResourceSet([Shop(url="y")]) as resources:
        arguments = bind_arguments(all_kinds, context, {"rows": [1]}, resources)
        assert set(arguments) == {"rows", "shop", "day", "context"}
        assert run_asset(all_kinds, arguments) == "[1] y 2026-01-05 t.all_kinds 3"
        arguments = bind_arguments(all_kinds, context, {"rows": [1], "limit": 5}, resources)
        assert arguments["limit"] == 5


def test_a_missing_input_is_told() -> None:
    context = build_context(all_kinds, partition_key="2026-01-05")
    with pytest.raises(ArcoError, match=r"asset 't.all_kinds': no value for its input 'rows'"):
        bind_arguments(all_kinds, context, {}, ResourceSet())


def test_async_functions_are_awaited_and_their_errors_come_through() -> None:
    @asset(key="t.slow")
    async def slow(x: int) -> int:
        if x < 0:
            raise ValueError("negative")
        return x + 1

    assert run_asset(slow, {"x": 1}) == 2
    with pytest.raises(ValueError, match="negative"):
        run_asset(slow, {"x": -1})


@asset(key="t.inputs")
def inputs(
    one: dict[str, int],
    many: Sequence[list[int]],
    by_key: Mapping[str, float],
    open_ended,  # type: ignore[no-untyped-def]
    bare: list,  # type: ignore[type-arg]
) -> int:
    return 1


def test_the_type_of_one_loaded_version_depends_on_the_shape() -> None:
    assert input_annotation(inputs, "one", "value") == dict[str, int]
    assert input_annotation(inputs, "many", "sequence") == list[int]
    assert input_annotation(inputs, "by_key", "mapping") is float
    assert input_annotation(inputs, "open_ended", "mapping") is inspect.Parameter.empty
    assert input_annotation(inputs, "bare", "sequence") is inspect.Parameter.empty
    with pytest.raises(ArcoError, match="has no parameter 'nothing'"):
        input_annotation(inputs, "nothing", "value")


def test_the_io_of_an_asset() -> None:
    assert output_io(all_kinds) == "json"
    assert output_io(inputs) == ""


def test_the_return_annotation_is_evaluated() -> None:
    class Local:
        pass

    @asset(key="t.local")
    def local() -> list[Local]:
        return []

    assert local.return_annotation == list[Local]
    assert inputs.return_annotation is int


def test_other_decorators_may_stand_between() -> None:
    def twice(function: Callable[[int], int]) -> Callable[[int], int]:
        @functools.wraps(function)
        def wrapper(*args: int, **kwargs: int) -> int:
            return 2 * function(*args, **kwargs)

        return wrapper

    @asset(key="t.doubled")
    @twice
    def doubled(x: int) -> int:
        return x + 1

    assert [parameter.name for parameter in doubled.parameters] == ["x"]
    assert doubled(1) == 4
    assert run_asset(doubled, {"x": 1}) == 4
    assert (
        doubled.place.line
        == inspect.getsourcelines(test_other_decorators_may_stand_between)[1] + 10
    )


def test_waiting_for_a_coroutine_inside_of_one_is_refused_and_does_not_hang() -> None:
    @asset(key="t.inner")
    async def inner() -> int:
        return 1

    @asset(key="t.outer")
    async def outer() -> object:
        return run_asset(inner, {})

    with pytest.raises(ArcoError, match="waits for another coroutine by a blocking call"):
        run_asset(outer, {})
