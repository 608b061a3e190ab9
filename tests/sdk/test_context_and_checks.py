"""The context of an attempt, its signals, and data checks."""

from __future__ import annotations

from datetime import timedelta

import pytest

from arco_flow import (
    ArcoError,
    AssetContext,
    AttemptCancelled,
    CheckResult,
    DailyPartitions,
    Failure,
    MultiPartitions,
    PartitionKey,
    RetryRequested,
    StaticPartitions,
    asset,
)
from arco_flow.sdk.execution import run_checks
from arco_flow.testing import MemoryRuntime, build_context

days = DailyPartitions("2026-01-01", timezone="Europe/Berlin")
markets = MultiPartitions({"region": StaticPartitions(["eu", "us"]), "date": days})


def test_a_time_partition_has_a_window_in_its_own_zone() -> None:
    context = build_context(partitions=days, partition_key="2026-03-29")
    window = context.partition_time_window
    assert window.start.isoformat() == "2026-03-29T00:00:00+01:00"
    assert window.end.isoformat() == "2026-03-30T00:00:00+02:00"
    # 23 hours: the clocks go forward that day
    assert window.end.timestamp() - window.start.timestamp() == timedelta(hours=23).total_seconds()
    assert context.partition_key == "2026-03-29"
    assert context.partition_keys == {"date": "2026-03-29"}


def test_a_key_of_several_dimensions_is_a_mapping_too() -> None:
    context = build_context(
        partitions=markets, partition_key={"date": "2026-01-05", "region": "eu"}
    )
    assert context.partition_key == "2026-01-05|eu"
    assert context.partition_keys == {"date": "2026-01-05", "region": "eu"}
    assert context.partition_time_window.start.day == 5
    assert context.partition_keys["date"].window.start.day == 5


def test_a_partition_key_without_definition_or_time_says_so() -> None:
    assert PartitionKey("x") == "x"
    with pytest.raises(ArcoError, match="partition 'x' has no time window"):
        PartitionKey("x").window  # noqa: B018
    with pytest.raises(ArcoError, match="it is one of StaticPartitions"):
        PartitionKey("eu", StaticPartitions(["eu"])).window  # noqa: B018
    with pytest.raises(ArcoError, match="has no partition key: it is not partitioned"):
        build_context().partition_key  # noqa: B018
    assert not build_context().has_partition_key


def test_reported_metadata_may_hold_floats_but_no_nan_and_no_lists() -> None:
    context = build_context()
    context.report(rows=3, share=0.5, ok=True, name="x", nothing=None)
    context.report(rows=4)
    assert context.metadata == {"rows": 4, "share": 0.5, "ok": True, "name": "x", "nothing": None}
    for wrong in (float("nan"), [1], {"a": 1}):
        with pytest.raises(ArcoError, match=r"report\(x="):
            context.report(x=wrong)  # type: ignore[arg-type]


def test_progress_output_and_cancellation_go_to_the_runtime() -> None:
    runtime = MemoryRuntime()
    context = build_context(runtime=runtime, run_tags={"a": "b"}, attempt=2, retry_number=1)
    context.progress(33.9, "a third")
    context.progress(message="no idea")
    assert runtime.progress == [(33, "a third"), (None, "no idea")]
    with pytest.raises(ArcoError, match="percent are from 0 to 100"):
        context.progress(101)
    context.output([1], io="json")
    assert runtime.saved == [[1]]
    assert context.has_output
    with pytest.raises(ArcoError, match=r"context.output\(\) twice"):
        context.output([2])
    context.raise_if_cancelled()
    runtime.cancelled = True
    assert context.cancelled
    with pytest.raises(AttemptCancelled):
        context.raise_if_cancelled()
    assert (context.attempt, context.retry_number, context.run_tags) == (2, 1, {"a": "b"})


def test_signals_carry_what_the_plane_needs() -> None:
    assert RetryRequested(after="10s").after_ms == 10_000
    assert RetryRequested("rate limit", after=0.5).after_ms == 500
    assert RetryRequested().after_ms is None
    failure = Failure("bad rows", metadata={"rows": 3})
    assert (str(failure), failure.retryable, failure.metadata) == ("bad rows", False, {"rows": 3})
    with pytest.raises(ArcoError, match="after 'soon' can not be read"):
        RetryRequested(after="soon")
    assert RetryRequested().max_retries is None
    assert RetryRequested(max_retries=5).max_retries == 5
    for wrong in (0, -1, 231, True, "3"):
        with pytest.raises(ArcoError, match="not a whole number from 1 to 230"):
            RetryRequested(max_retries=wrong)  # type: ignore[arg-type]


@asset(key="t.numbers")
def numbers() -> list[int]:
    return [1, 2]


@numbers.check(blocking=True)
def is_long(value: list[int]) -> CheckResult:
    """At least three."""
    return CheckResult(len(value) > 2, f"{len(value)} rows", {"rows": len(value)})


@numbers.check(severity="warn")
def is_sorted(value: list[int]) -> bool:
    return value == sorted(value)


@numbers.check(blocking=True, name="odd", description="never blocks")
def is_odd(value: list[int]) -> CheckResult:
    return CheckResult(False, severity="warn")


@numbers.check(blocking=True)
def raises(value: list[int]) -> bool:
    return bool(value[99])


@numbers.check
def returns_nonsense(value: list[int]) -> bool:
    return "yes"  # type: ignore[return-value]


def test_checks_run_in_order_and_never_raise() -> None:
    long, ordered, odd, broken, nonsense = run_checks(numbers, [1, 2], build_context())
    assert (long.name, long.passed, long.blocks) == ("is_long", False, True)
    assert (long.description, long.metadata) == ("2 rows", {"rows": 2})
    assert (ordered.passed, ordered.severity, ordered.blocking) == (True, "warn", False)
    assert (odd.name, odd.severity, odd.blocks) == ("odd", "warn", False)
    assert odd.description == "never blocks"
    assert (broken.passed, broken.blocks) == (False, True)
    assert broken.error == "IndexError: list index out of range"
    assert "returned str, not a bool or a CheckResult" in nonsense.error
    assert not nonsense.blocks


def test_a_check_may_ask_for_the_context_or_the_partition_key() -> None:
    @asset(key="t.daily", partitions=days)
    def daily() -> list[int]:
        return [1]

    @daily.check
    def knows_the_day(value: list[int], day: PartitionKey) -> CheckResult:
        return CheckResult(day == "2026-01-05", f"{day.window.start:%A}")

    @daily.check
    def knows_the_attempt(value: list[int], context: AssetContext) -> bool:
        context.report(rows=len(value))
        return context.attempt == 2

    @daily.check
    def has_a_default_of_its_own(value: list[int], least: int = 1) -> bool:
        return len(value) >= least

    context = build_context(daily, partition_key="2026-01-05", attempt=2)
    outcomes = run_checks(daily, [1], context)
    assert [outcome.passed for outcome in outcomes] == [True, True, True]
    assert outcomes[0].description == "Monday"
    assert context.metadata == {"rows": 1}
    assert knows_the_attempt([], build_context()) is False
    assert [check.second for check in daily.checks] == ["partition_key", "context", ""]


def test_a_check_with_parameters_that_nothing_fills_is_refused() -> None:
    def no_value() -> bool:
        return True

    def too_many(value: object, context: AssetContext, day: PartitionKey) -> bool:
        return True

    def keyword(value: object, *, context: AssetContext) -> bool:
        return True

    def stranger(value: object, shop: int) -> bool:
        return True

    def silent(value, other):  # type: ignore[no-untyped-def]
        return True

    for wrong, problem in (
        (no_value, "does not take the asset's value and at most one more"),
        (too_many, "does not take the asset's value and at most one more"),
        (keyword, "has a keyword-only parameter, which nothing fills"),
        (stranger, "has a second parameter 'shop' that is int"),
        (silent, "has a second parameter 'other' that has no annotation"),
    ):
        with pytest.raises(ArcoError, match=problem) as caught:
            numbers.check(wrong)  # type: ignore[call-overload]
        assert f"def {wrong.__name__}(value: …, context: AssetContext)" in str(caught.value.fix)

    def wants_a_day(value: list[int], day: PartitionKey) -> bool:
        return True

    with pytest.raises(ArcoError, match=r"but asset 't.numbers' is not\s+partitioned"):
        numbers.check(wants_a_day)


def test_a_check_stays_a_function() -> None:
    assert is_sorted([2, 1]) is False
    assert numbers.checks[0].description == "At least three."


def test_a_check_may_answer_with_the_bool_of_numpy() -> None:
    import numpy

    @asset(key="t.array")
    def array() -> list[int]:
        return [1]

    @array.check
    def positive(value: list[int]) -> bool:
        return numpy.array(value).min() > 0  # type: ignore[no-any-return]

    (outcome,) = run_checks(array, [1], build_context())
    assert outcome.passed
