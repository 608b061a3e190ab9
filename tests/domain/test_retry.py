"""Retries wait as long as Dagster's, spread by a hash, and happen only when they can help."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arco_flow.domain.durations import MAX_DURATION_MS
from arco_flow.domain.errors import DefinitionError, InvalidInput
from arco_flow.domain.retry import (
    Backoff,
    ErrorCategory,
    Jitter,
    RetryPolicy,
    base_delay_ms,
    delay_ms,
    error_type_names_of,
    retry_from_wire,
    should_retry,
)
from arco_flow.domain.wire import canonical_json

VECTORS = json.loads(
    (Path(__file__).parent.parent / "vectors" / "05_retry_delays.json").read_text("utf-8")
)["cases"]

policies = st.builds(
    RetryPolicy,
    st.integers(0, 12),
    st.integers(0, 100_000).map(lambda ms: f"{ms}ms"),
    backoff=st.sampled_from(["constant", "linear", "exponential"]),
    max_delay=st.one_of(st.none(), st.integers(100, 10_000)),
    jitter=st.sampled_from(["none", "full", "plus_minus"]),
    on=st.lists(st.sampled_from(["TIMEOUT", "ValueError", "pkg.mod.Error"])),
)


def policy_of(case: dict[str, Any]) -> RetryPolicy:
    backoff: Any = (case["backoff"] or "constant").lower()
    jitter: Any = (case["jitter"] or "none").lower()
    return RetryPolicy(case["max_retries"], case["delay"], backoff=backoff, jitter=jitter)


@pytest.mark.parametrize("case", VECTORS, ids=lambda case: case["id"])
def test_waits_agree_with_dagster(case: dict[str, Any]) -> None:
    if "error" in case:
        with pytest.raises(DefinitionError, match="without a delay"):
            policy_of(case)
        return
    policy = policy_of(case)
    for number, seconds in enumerate(case.get("delays_by_attempt", []), 1):
        assert delay_ms(policy, number, "att_1") == round(seconds * 1000)
    for bound in case.get("bounds_by_attempt", []):
        assert base_delay_ms(policy, bound["attempt"]) == bound["base"] * 1000
        waits = {delay_ms(policy, bound["attempt"], f"att_{seed}") for seed in range(50)}
        assert bound["min"] * 1000 <= min(waits) < max(waits) <= bound["max"] * 1000
    if "attempts_total" in case:
        assert attempts(policy) == case["attempts_total"]


def attempts(policy: RetryPolicy) -> int:
    number = 1
    while should_retry(policy, number, "USER_CODE"):
        number += 1
    return number


@given(policies, st.integers(1, 30), st.text(max_size=10))
def test_a_wait_is_in_its_bounds_and_the_same_every_time(
    policy: RetryPolicy, number: int, seed: str
) -> None:
    wait = delay_ms(policy, number, seed)
    base = base_delay_ms(policy, number)
    spread = {"none": (base, base), "full": (0, base)}
    low, high = spread.get(policy.jitter, (base - policy.delay_ms, base + policy.delay_ms))
    assert max(0, low) <= wait <= high
    assert policy.max_delay_ms is None or wait <= policy.max_delay_ms
    assert wait == delay_ms(policy, number, seed)


def test_full_jitter_is_spread_evenly_over_attempts() -> None:
    policy = RetryPolicy(3, "10s", jitter="full")
    waits = [delay_ms(policy, 1, f"att_{number}") for number in range(2000)]
    assert 4_700 < sum(waits) / len(waits) < 5_300
    assert min(waits) < 100
    assert max(waits) > 9_900


def test_the_cap_holds_every_wait_down() -> None:
    policy = RetryPolicy(5, "10s", backoff="exponential", max_delay="1m")
    assert [delay_ms(policy, n, "a") for n in range(1, 6)] == [10_000, 30_000, 60_000] + [
        60_000
    ] * 2


def test_a_policy_reads_as_it_is_written() -> None:
    policy = RetryPolicy(
        max_retries=3,
        delay="10s",
        backoff="exponential",
        max_delay="5m",
        jitter="full",
        on=(TimeoutError, "requests.ConnectionError", "INFRASTRUCTURE", ErrorCategory.TIMEOUT),
    )
    assert policy.to_wire() == {
        "maxRetries": 3,
        "delayMs": 10_000,
        "backoff": "exponential",
        "maxDelayMs": 300_000,
        "jitter": "full",
        "on": ["INFRASTRUCTURE", "TIMEOUT", "builtins.TimeoutError", "requests.ConnectionError"],
    }


@given(policies)
def test_the_wire_form_brings_the_policy_back_and_enters_fingerprints(policy: RetryPolicy) -> None:
    wire = json.loads(canonical_json(policy.to_wire()))
    assert retry_from_wire({**wire, "fieldOfTomorrow": 1}) == policy
    assert hash(retry_from_wire(wire)) == hash(policy)


@pytest.mark.parametrize(
    ("wire", "problem"),
    [
        ({"delayMs": 1.5}, "'delayMs'"),
        ({"delayMs": "10"}, "'delayMs'"),
        ({"delayMs": -1}, "'delayMs'"),
        pytest.param({"delayMs": 10**5000}, "'delayMs'", id="huge"),
        ({"maxDelayMs": True}, "'maxDelayMs'"),
        ({"maxRetries": "3"}, "max_retries"),
        ({"backoff": ["linear"]}, "backoff"),
        ({"on": "TIMEOUT"}, "'on'"),
        ({"on": [3]}, "names no error"),
    ],
)
def test_a_malformed_wire_form_is_refused(wire: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        retry_from_wire(wire)
    assert problem in caught.value.message


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"max_retries": -1}, "not in 0…230"),
        ({"max_retries": 1001}, "not in 0…230"),
        ({"max_retries": 2.0}, "no whole number"),
        ({"max_retries": True}, "no whole number"),
        ({"delay": "10"}, "no unit"),
        ({"delay": "1s", "backoff": "expo"}, "backoff='expo' is not known"),
        ({"delay": "1s", "backoff": "exponentiel"}, "did you mean 'exponential'?"),
        ({"delay": "1s", "jitter": "half"}, "jitter='half' is not known"),
        ({"jitter": "full"}, "jitter='full' without a delay"),
        ({"delay": "10s", "max_delay": "5s"}, "max_delay 5s is shorter than delay 10s"),
        ({"max_retries": 60, "delay": 1, "backoff": "exponential"}, "longer than 3650d"),
        ({"on": [3]}, "names no error"),
        ({"on": [int]}, "names no error"),
        ({"on": "not a name"}, "no name of a class"),
        ({"on": "timeout"}, "no category"),
        ({"on": "CANCELLED"}, "never retried"),
    ],
)
def test_a_wrong_policy_is_refused_by_name(arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        RetryPolicy(**arguments)
    assert problem in caught.value.message
    assert caught.value.fix


def test_a_long_exponential_policy_is_fine_with_a_cap() -> None:
    policy = RetryPolicy(230, 1, backoff="exponential", max_delay="1h")
    assert delay_ms(policy, 230, "a") == 3_600_000 < MAX_DURATION_MS


def test_the_first_retry_has_number_one() -> None:
    with pytest.raises(InvalidInput, match="number 1"):
        delay_ms(RetryPolicy(), 0, "a")


@pytest.mark.parametrize(
    ("category", "again"),
    [
        ("USER_CODE", True),
        ("INFRASTRUCTURE", True),
        ("TIMEOUT", True),
        ("DATA_QUALITY", False),
        ("CONFIGURATION", False),
        ("CANCELLED", False),
        (None, True),
        ("CATEGORY_OF_TOMORROW", True),
    ],
)
def test_what_another_try_can_mend_is_retried(category: str | None, again: bool) -> None:
    assert should_retry(RetryPolicy(1), 1, category) is again
    assert should_retry(RetryPolicy(1), 2, category) is False


class FlakyError(ConnectionResetError):
    pass


@pytest.mark.parametrize(
    ("on", "again"),
    [
        (FlakyError, True),
        (OSError, True),
        ("IOError", True),
        ("ConnectionError", True),
        (f"{__name__}.FlakyError", True),
        ("elsewhere.FlakyError", False),
        (ValueError, False),
        ("USER_CODE", True),
        ("TIMEOUT", False),
        ([ValueError, "FlakyError"], True),
    ],
)
def test_on_names_what_is_retried(on: Any, again: bool) -> None:
    names = error_type_names_of(FlakyError)
    assert should_retry(RetryPolicy(1, on=on), 1, "USER_CODE", names) is again


def test_a_lost_worker_is_retried_under_class_names_only_when_asked() -> None:
    assert not should_retry(RetryPolicy(1, on=ValueError), 1, "INFRASTRUCTURE")
    assert should_retry(RetryPolicy(1, on=[ValueError, "INFRASTRUCTURE"]), 1, "INFRASTRUCTURE")


def test_bad_data_is_retried_when_named() -> None:
    assert should_retry(RetryPolicy(1, on="DATA_QUALITY"), 1, "DATA_QUALITY")


def test_what_the_code_says_outweighs_the_policy_but_not_its_number_nor_a_cancel() -> None:
    policy = RetryPolicy(1, on=ValueError)
    assert should_retry(policy, 1, "CONFIGURATION", retryable=True)
    assert not should_retry(policy, 1, "USER_CODE", ["builtins.ValueError"], retryable=False)
    assert not should_retry(policy, 2, "USER_CODE", retryable=True)
    assert not should_retry(policy, 1, "CANCELLED", retryable=True)


def test_the_words_of_backoff_and_jitter_are_typed() -> None:
    backoff: Backoff = "linear"
    jitter: Jitter = "plus_minus"
    assert RetryPolicy(2, 1, backoff=backoff, jitter=jitter) == RetryPolicy(
        2, "1s", backoff="linear", jitter="plus_minus"
    )
