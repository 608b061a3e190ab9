"""Waits and deadlines: exact, never negative, never beyond ten years, however large the numbers."""

from __future__ import annotations

import contextlib
from fractions import Fraction
from itertools import pairwise
from typing import Any

from hypothesis import assume, example, given
from hypothesis import strategies as st

from arco_flow.domain.durations import (
    MAX_DURATION_MS,
    UNIT_MS,
    format_duration,
    parse_duration_ms,
)
from arco_flow.domain.effects import SetTimer
from arco_flow.domain.errors import DefinitionError, InvalidInput
from arco_flow.domain.manifest import TimeoutsSpec
from arco_flow.domain.retry import (
    MAX_RETRIES,
    RetryPolicy,
    base_delay_ms,
    delay_ms,
    retry_from_wire,
    should_retry,
)
from arco_flow.domain.run import encode_run
from arco_flow.domain.run_deadlines import REDISPATCH_MS
from domain.runs import START_MS, Story, manifest_of, plan_of
from properties.budget import examples

SPANS = st.one_of(
    st.integers(0, 10_000), st.integers(0, MAX_DURATION_MS), st.just(MAX_DURATION_MS), st.just(1)
)


@st.composite
def policies(draw: st.DrawFn) -> RetryPolicy:
    """Any policy that can be written, up to the largest numbers."""
    wire: dict[str, Any] = {
        "maxRetries": draw(st.one_of(st.integers(0, 5), st.integers(0, MAX_RETRIES))),
        "delayMs": draw(SPANS),
        "backoff": draw(st.sampled_from(["constant", "linear", "exponential"])),
        "jitter": draw(st.sampled_from(["none", "full", "plus_minus"])),
    }
    if draw(st.booleans()):
        wire["maxDelayMs"] = draw(SPANS)
    try:
        return retry_from_wire(wire)
    except DefinitionError:
        assume(False)
        raise


NUMBERS = st.one_of(st.integers(1, 10), st.integers(1, MAX_RETRIES))


@examples(120)
@given(policies(), NUMBERS)
def test_the_wait_is_what_the_formula_of_its_backoff_says(policy: RetryPolicy, number: int) -> None:
    factor = {"constant": 1, "linear": number, "exponential": 2**number - 1}[policy.backoff]
    want = factor * policy.delay_ms
    if policy.max_delay_ms is not None:
        want = min(want, policy.max_delay_ms)
    assert base_delay_ms(policy, number) == want


@examples(60)
@given(policies())
def test_waits_never_shrink_and_stay_within_ten_years_for_all_retries_of_the_policy(
    policy: RetryPolicy,
) -> None:
    waits = [base_delay_ms(policy, number) for number in range(1, max(policy.max_retries, 1) + 1)]
    assert all(before <= after for before, after in pairwise(waits))
    assert 0 <= waits[0] <= waits[-1] <= MAX_DURATION_MS


@examples(120)
@given(policies(), NUMBERS, st.text(max_size=6))
def test_jitter_stays_between_nothing_and_the_cap(
    policy: RetryPolicy, number: int, seed: str
) -> None:
    base, wait = base_delay_ms(policy, number), delay_ms(policy, number, seed)
    low, high = {
        "none": (base, base),
        "full": (0, base),
        "plus_minus": (max(0, base - policy.delay_ms), base + policy.delay_ms),
    }[policy.jitter]
    assert low <= wait <= high
    assert policy.max_delay_ms is None or wait <= policy.max_delay_ms


@examples(100)
@given(policies(), st.integers(1, 2 * MAX_RETRIES), st.none() | st.integers(-(10**30), 10**30))
def test_tries_end_at_their_number_whatever_is_asked_for(
    policy: RetryPolicy, attempt: int, asked: int | None
) -> None:
    allowed = policy.max_retries if asked is None else min(asked, MAX_RETRIES)
    again = should_retry(policy, attempt, "USER_CODE", retryable=True, max_retries=asked)
    assert again is (attempt <= allowed)


ASKED = st.one_of(st.none(), st.integers(-5, 5_000), st.integers(-(10**30), 10**30))


@examples(100)
@given(policies(), ASKED)
@example(RetryPolicy(1), 10**30)
@example(RetryPolicy(1), -(10**30))
def test_a_retry_is_due_from_now_on_and_within_ten_years(
    policy: RetryPolicy, asked: int | None
) -> None:
    story = Story(plan_of(manifest_of({"a": []}, retry=policy.to_wire())))
    error: dict[str, Any] = {"category": "USER_CODE", "message": "", "maxRetries": 1}
    if asked is not None:
        error["retryAfterMs"] = asked
    story.fold(story.started("a"))
    story.fold(story.finished("a", "FAILED", error=error))
    for due in story.run.retry_due.values():
        assert story.now_ms < due <= story.now_ms + MAX_DURATION_MS
    if not story.run.retry_due:
        assert asked is None or asked <= 0
        assert story.run.attempts[0] == 2, "it goes on at once"
    if asked is not None and asked > 0:
        assert story.run.retry_due == {0: story.now_ms + min(asked, MAX_DURATION_MS)}
    encode_run(story.run)


TIMEOUTS = st.builds(
    TimeoutsSpec,
    start_ms=st.one_of(st.just(0), SPANS),
    heartbeat_ms=st.integers(1_000, MAX_DURATION_MS),
    execution_ms=st.one_of(st.just(0), SPANS),
)


@examples(80)
@given(TIMEOUTS, st.one_of(st.just(0), SPANS), st.booleans(), st.booleans())
def test_a_timer_is_armed_for_the_earliest_deadline_and_never_for_the_past(
    timeouts: TimeoutsSpec, run_ms: int, is_started: bool, is_cancelled: bool
) -> None:
    deadline_ms = START_MS + run_ms if run_ms else 0
    story = Story(plan_of(manifest_of({"a": []}, timeouts=timeouts)), deadline_ms=deadline_ms)
    deadlines = [START_MS + REDISPATCH_MS]
    deadlines += [START_MS + timeouts.start_ms] if timeouts.start_ms else []
    deadlines += [deadline_ms] if deadline_ms else []
    assert story.run.timer_ms == max(min(deadlines), START_MS)
    if is_started:
        story.fold(story.started("a"))
    if is_cancelled:
        story.fold(story.cancel())
    for decision in story.decisions:
        for effect in decision.effects:
            if isinstance(effect, SetTimer):
                assert START_MS <= effect.at_ms <= START_MS + MAX_DURATION_MS
    if is_started and is_cancelled:
        assert story.run.timer_ms <= story.now_ms + story.run.cancel_grace_ms
    encode_run(story.run)


@examples(60)
@given(TIMEOUTS)
def test_timers_that_fire_bring_every_silent_run_to_its_end(timeouts: TimeoutsSpec) -> None:
    story = Story(plan_of(manifest_of({"a": []}, timeouts=timeouts)))
    story.fold(story.started("a"))
    fired = [story.now_ms]
    for _ in range(8):
        if story.run.is_terminal:
            break
        story.fire_timer()
        fired.append(story.now_ms)
    assert story.run.is_terminal
    assert fired == sorted(fired), "a timer never fires before the one that it follows"


DECIMALS = st.from_regex(r"[0-9]{1,4}\.[0-9]{1,30}", fullmatch=True)
NUMBER = st.one_of(st.integers(0, 5_000).map(str), DECIMALS)
PARTS = st.lists(
    st.tuples(NUMBER, st.sampled_from(sorted(UNIT_MS))),
    min_size=1,
    max_size=3,
)


@examples(150)
@given(PARTS)
@example([("1.0000000000000000000000000000001", "s")])
@example([("0.9999999999999999999999999999999", "s")])
def test_a_span_is_read_exactly_or_refused(parts: list[tuple[str, str]]) -> None:
    text = "".join(number + unit for number, unit in parts)
    exact = sum(Fraction(number) * UNIT_MS[unit] for number, unit in parts)
    sizes = [UNIT_MS[unit] for _, unit in parts]
    in_order = all(before > after for before, after in pairwise(sizes))
    is_legal = exact.denominator == 1 and exact <= MAX_DURATION_MS and in_order and len(text) <= 64
    found = None
    with contextlib.suppress(InvalidInput):
        found = parse_duration_ms(text)
    assert found == (exact if is_legal else None)


@examples(100)
@given(
    st.one_of(
        st.integers(-(10**40), 10**40),
        st.floats(),
        st.floats(0, 4e8).map(lambda value: round(value, 3)),
    )
)
@example(10**400_000)
@example(-(10**400_000))
def test_a_number_of_seconds_is_read_as_its_shortest_decimal_or_refused(value: float) -> None:
    found = None
    with contextlib.suppress(InvalidInput):
        found = parse_duration_ms(value)
    if found is not None:
        assert 0 <= found <= MAX_DURATION_MS
        assert found == Fraction(repr(value)) * 1000
    elif isinstance(value, int):
        assert not 0 <= value <= MAX_DURATION_MS // 1000


@examples(60)
@given(SPANS, SPANS)
def test_spans_are_written_in_one_way_each(one: int, two: int) -> None:
    assert (format_duration(one) == format_duration(two)) is (one == two)
    assert parse_duration_ms(format_duration(one)) == one
