"""How reports are cut into batches decides nothing, and no report that can be read stops a run."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from arco_flow.domain.asset import AssetCatalog, Counters, decide_asset
from arco_flow.domain.decision import Segment, decode_segment, encode_segment
from arco_flow.domain.effects import SendEvent, decode_owed, encode_owed
from arco_flow.domain.events import (
    AnyEvent,
    Event,
    PromotionRequested,
    decode_event,
    encode_event,
)
from arco_flow.domain.ids import Scope
from arco_flow.domain.run import decode_run, encode_run
from arco_flow.domain.run_decide import MAX_REASON_CHARS, decide_run
from domain.runs import Story, manifest_of, plan_of
from domain.test_events import EVENTS
from properties.budget import examples
from properties.test_run_machine import graphs

OUTCOMES = st.sampled_from(["SUCCEEDED", "SUCCEEDED", "FAILED"])


def chunks(draw: st.DrawFn, events: list[Event]) -> list[list[Event]]:
    """The events in any order, cut anywhere."""
    order = draw(st.permutations(events))
    cuts = sorted(draw(st.sets(st.integers(1, max(len(order) - 1, 1)), max_size=3)))
    return [list(order[low:high]) for low, high in zip([0, *cuts], [*cuts, None], strict=True)]


def finished_run(draw: st.DrawFn, edges: Any, fates: dict[tuple[str, int], str]) -> Story:
    """A run whose attempts end as is written, whatever order their reports come in."""
    story = Story(plan_of(manifest_of(edges, retry={"maxRetries": 1})))
    while story.run.live:
        reports = []
        for index in sorted(story.run.live):
            name, attempt = story.plan.shorts[index].removeprefix("t."), story.run.attempts[index]
            reports.append(story.started(name, attempt))
            reports.append(story.finished(name, fates[name, attempt], attempt))
        for chunk in chunks(draw, reports):
            story.fold(*chunk)
    return story


@examples(60)
@given(graphs(), st.lists(OUTCOMES, min_size=8, max_size=8), st.data())
def test_the_end_of_a_run_does_not_depend_on_the_batches_of_its_reports(
    edges: Any, outcomes: list[str], data: st.DataObject
) -> None:
    pairs = [(name, attempt) for name in "abcd" for attempt in (1, 2)]
    fates = dict(zip(pairs, outcomes, strict=True))
    one, two = (finished_run(data.draw, edges, fates) for _ in range(2))
    assert one.states() == two.states()
    assert one.run.attempts == two.run.attempts
    assert one.run.digests == two.run.digests
    assert one.run.state == two.run.state
    assert one.run.is_terminal
    assert promoted(one) == promoted(two)


def promoted(story: Story) -> list[str]:
    """Ids of the promotions that a run has asked for."""
    effects = (effect for decision in story.decisions for effect in decision.effects)
    return sorted(effect.event_id for effect in effects if isinstance(effect, SendEvent))


@examples(60)
@given(graphs(), st.data())
def test_the_order_of_arrival_within_a_batch_changes_nothing(
    edges: Any, data: st.DataObject
) -> None:
    story = Story(plan_of(manifest_of(edges, retry={"maxRetries": 1})))
    name = data.draw(st.sampled_from(sorted(edges)))
    some = [story.started(name), story.heartbeat(name), story.cancel(), story.timer()]
    some.append(story.finished(name, data.draw(OUTCOMES)))
    batch = data.draw(st.lists(st.sampled_from(some), unique_by=lambda event: event.id))
    one = decide_run(story.run, story.plan, batch, story.now_ms)
    two = decide_run(story.run, story.plan, data.draw(st.permutations(batch)), story.now_ms)
    assert (one.state, one.ledger, one.effects) == (two.state, two.ledger, two.effects)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(-1e9, 1e9) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
ERRORS = st.fixed_dictionaries(
    {},
    optional={
        "category": st.sampled_from(["USER_CODE", "TIMEOUT", "CANCELLED", "OF_TOMORROW", ""])
        | JSON,
        "message": st.text(max_size=400) | JSON,
        "types": st.lists(st.text(), max_size=2) | JSON,
        "retryable": st.booleans() | JSON,
        "retryAfterMs": st.integers(-(10**30), 10**30) | JSON,
        "maxRetries": st.integers(-(10**30), 10**30) | JSON,
    },
)
DIGESTS = st.text(max_size=20) | st.sampled_from(["", "zz" * 8, "ab" * 8, "sha256:" + "0" * 64])


@examples(150)
@given(
    outcome=st.sampled_from(["SUCCEEDED", "FAILED", "CANCELLED", "OF_TOMORROW"]),
    digest=DIGESTS,
    error=st.none() | ERRORS,
    checks=st.none() | st.lists(st.dictionaries(st.text(), JSON, max_size=3), max_size=2),
    retries=st.integers(0, 2),
)
def test_whatever_a_report_holds_it_is_folded_and_the_run_can_be_packed(
    outcome: str, digest: str, error: Any, checks: Any, retries: int
) -> None:
    story = Story(plan_of(manifest_of({"a": []}, retry={"maxRetries": retries})))
    story.fold(story.started("a"))
    report = story.finished("a", outcome, digest=digest, error=error, checks=checks)
    decision = story.fold(decode_event(encode_event(report)))
    assert decode_run(encode_run(decision.state)) == decision.state
    segment = Segment(1, story.now_ms, 1, decision.ledger)
    assert decode_segment(encode_segment(segment)) == segment
    assert decode_owed(encode_owed(decision.effects)) == decision.effects
    again = story.fold(report)
    assert [line.disposition for line in again.ledger] == ["ignored"]


@examples(150)
@given(st.lists(EVENTS, min_size=1, max_size=4), st.data())
def test_every_event_of_every_type_gets_a_disposition(
    events: list[AnyEvent], data: st.DataObject
) -> None:
    story = Story(plan_of(manifest_of({"a": [], "b": ["a"]})))
    batch = [story.event(f"e{number}", event) for number, event in enumerate(events)]
    decision = story.fold(*batch)
    inbound = [line for line in decision.ledger if line.disposition != "derived"]
    assert sorted(line.event.id for line in inbound) == sorted(event.id for event in batch)
    assert all(line.reason for line in inbound if line.disposition == "ignored")


def test_a_long_reason_of_a_cancel_is_told_whole_once_and_cut_in_each_task() -> None:
    story = Story(plan_of(manifest_of({f"n{number}": [] for number in range(50)})))
    decision = story.fold(story.cancel("x" * 100_000))
    assert len(encode_segment(Segment(1, 1, 1, decision.ledger))) < 200_000
    assert story.run.cancel_reason == "x" * MAX_REASON_CHARS


@examples(80)
@given(st.data())
def test_racing_promotions_end_the_same_in_any_order_and_any_batches(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 5))
    requests = [
        Event(
            f"promote:att_{number}",
            1,
            "s",
            PromotionRequested(
                partition=data.draw(st.sampled_from(["", "key=s:YQ"])),
                partition_name="",
                run_id=f"run_{data.draw(st.integers(0, 2))}",
                attempt_id=f"att_{number}",
                accepted_ms=data.draw(st.integers(1, 3)),
                code_version_id="cv",
                output={},
            ),
            "test",
        )
        for number in range(count)
    ]
    ends = []
    for _ in range(2):
        catalog = AssetCatalog(Scope("acme", "main"), "t.a", Counters(), {})
        numbers = []
        for chunk in chunks(data.draw, requests):
            decision = decide_asset(catalog, chunk, 5)
            catalog = decision.state
            numbers += [effect.promotion for effect in decision.effects]
        assert numbers == sorted(set(numbers)), "a pointer never moves backwards"
        ends.append({key: row.attempt_id for key, row in catalog.rows.items()})
    assert ends[0] == ends[1]
