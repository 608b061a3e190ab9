"""The rules that the emulators share, without any server."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from grpc import StatusCode
from hypothesis import given
from hypothesis import strategies as st

from arco_emulators.backoff import Backoff, retry_after
from arco_emulators.clock import Alarm, Clock, after
from arco_emulators.faults import Chaos, parsed
from arco_emulators.journal import FileJournal
from arco_emulators.paging import page
from arco_emulators.protos import duration, seconds_of, stamp
from arco_emulators.rpc import Refused
from arco_emulators.tasks.bucket import TokenBucket
from arco_emulators.tasks.graves import Graves
from emulators.targets import SECONDS


def _backoff(**changes):
    rule = {
        "min_seconds": 10,
        "max_seconds": 300,
        "max_doublings": 3,
        "max_attempts": -1,
        "max_duration_seconds": 0,
    }
    return Backoff(**{**rule, **changes})


def test_the_intervals_are_those_of_the_example_in_the_reference():
    intervals = [_backoff().interval(number) for number in range(1, 9)]
    assert intervals == [10, 20, 40, 80, 160, 240, 300, 300]


def test_without_doublings_the_interval_grows_by_the_minimum():
    intervals = [_backoff(max_doublings=0).interval(number) for number in range(1, 5)]
    assert intervals == [10, 20, 30, 40]


@given(st.integers(1, 10_000), st.integers(0, 100))
def test_an_interval_never_shrinks_and_stays_within_its_bounds(failures, doublings):
    rule = _backoff(max_doublings=doublings)
    assert 10 <= rule.interval(failures) <= rule.interval(failures + 1) <= 300


@pytest.mark.parametrize(
    ("limits", "attempts", "age", "exhausted"),
    [
        ({}, 10_000, 1e9, False),
        ({"max_attempts": 3}, 2, 1e9, False),
        ({"max_attempts": 3}, 3, 0, True),
        ({"max_duration_seconds": 60}, 1, 59, False),
        ({"max_duration_seconds": 60}, 1, 60, True),
        ({"max_attempts": 3, "max_duration_seconds": 60}, 3, 59, False),
        ({"max_attempts": 3, "max_duration_seconds": 60}, 2, 60, False),
        ({"max_attempts": 3, "max_duration_seconds": 60}, 3, 60, True),
    ],
)
def test_attempts_end_when_every_limit_that_is_set_is_reached(limits, attempts, age, exhausted):
    assert _backoff(**limits).exhausted(attempts, age) is exhausted


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120),
        (" 5 ", 5),
        ("", 0),
        ("-3", 0),
        ("soon", 0),
        (format_datetime(datetime.fromtimestamp(1_000_060, UTC), usegmt=True), 60),
        (format_datetime(datetime.fromtimestamp(999_000, UTC), usegmt=True), 0),
    ],
)
def test_retry_after_is_a_number_of_seconds_or_a_date(header, seconds):
    assert retry_after(header, 1_000_000) == seconds


def test_a_bucket_is_full_at_first_and_refilled_at_its_rate():
    bucket = TokenBucket(rate=10, burst=3, now=0)
    assert [bucket.take(0) for _ in range(4)] == [True, True, True, False]
    assert bucket.ready_at(0) == pytest.approx(0.1, abs=0.001)
    assert not bucket.take(0.05)
    assert bucket.take(0.11)
    assert [bucket.take(100) for _ in range(4)] == [True, True, True, False]


def test_a_bucket_that_is_slowed_down_comes_back_to_its_rate_bit_by_bit():
    bucket = TokenBucket(rate=8, burst=8, now=0)
    for _ in range(9):
        bucket.slow_down(0)
    assert bucket.take(0)
    assert bucket.ready_at(0) == pytest.approx(1, abs=0.001)
    for _ in range(50):
        bucket.speed_up()
    assert bucket.ready_at(0) == pytest.approx(1 / 8, abs=0.001)


def test_a_bucket_that_is_made_smaller_loses_what_does_not_fit():
    bucket = TokenBucket(rate=100, burst=100, now=0)
    bucket.configure(rate=1, burst=2, now=0)
    assert [bucket.take(0) for _ in range(3)] == [True, True, False]


def test_a_name_is_remembered_for_its_window_and_longer_when_it_ended_again():
    graves = Graves(window=10)
    graves.add("a", 0)
    graves.add("b", 5)
    graves.add("a", 6)
    assert graves.has("a", 15.9)
    assert not graves.has("a", 16)
    assert graves.expire(15) == ["b"]
    assert list(graves) == ["a"]


def test_times_are_truncated_to_the_microsecond():
    assert stamp(1.2345678).nanos == 234_567_000
    assert seconds_of(duration(0.1)) == 0.1
    assert duration(0.0019).nanos == 1_000_000


@given(st.sets(st.text(min_size=1, max_size=5), max_size=20), st.integers(1, 7))
def test_pages_hold_every_name_once_and_in_order(found, size):
    names, token, pages = sorted(found), "", []
    while True:
        shown, token = page(names, size=size, token=token, maximum=1000)
        pages.extend(shown)
        if not token:
            break
    assert pages == names


def test_a_page_is_no_larger_than_its_maximum():
    assert page(["a", "b", "c"], size=0, token="", maximum=2)[0] == ["a", "b"]
    with pytest.raises(Refused) as refused:
        page([], size=1, token="ä", maximum=2)
    assert refused.value.code is StatusCode.INVALID_ARGUMENT


def test_faults_are_written_as_names_and_values():
    knobs = parsed(["duplicate=0.2, delay_ms=0:50", "", "drop=0.1,"])
    assert knobs == {"duplicate": "0.2", "delay_ms": "0:50", "drop": "0.1"}
    faults = Chaos(knobs).faults
    assert (faults.duplicate, faults.delay_ms, faults.drop) == (0.2, (0, 50), 0.1)
    with pytest.raises(ValueError, match="name=value, not as 'often'"):
        parsed(["often"])


def test_faults_that_are_off_draw_nothing_so_that_a_seed_means_the_same():
    def draws(between):
        dice = Chaos({"seed": 3})
        return [(between(dice), dice.strikes(0.5))[1] for _ in range(20)]

    expected = draws(lambda _: None)
    assert draws(lambda dice: dice.strikes(0)) == expected
    assert draws(lambda dice: dice.seconds((0, 0))) == expected
    assert draws(lambda dice: dice.strikes(0.5)) != expected


def test_an_alarm_rings_once_at_the_time_to_which_it_was_moved_last():
    async def rung():
        clock, rings = Clock(), asyncio.Queue()
        alarm = Alarm(clock, lambda: rings.put_nowait(clock.now()))
        alarm.set(clock.now() + 3600)
        due = clock.now() + 0.02
        alarm.set(due)
        at = await rings.get()
        alarm.set(None)
        alarm.close()
        clock.advance(10)
        assert rings.empty()
        return at - due

    assert asyncio.run(rung()) >= -0.005


def test_an_alarm_that_was_set_before_a_jump_of_the_clock_does_not_ring_late():
    async def rung():
        clock, rings = Clock(), asyncio.Queue()

        def ring():
            if clock.now() < due:
                alarm.set(due)
            else:
                rings.put_nowait(clock.now())

        alarm = Alarm(clock, ring)
        due = clock.now() + 60
        alarm.set(due)
        clock.advance(59.98)
        async with asyncio.timeout(SECONDS):
            return await rings.get() - due

    assert asyncio.run(rung()) >= 0


def test_a_jump_of_the_clock_does_what_was_waited_for():
    async def done():
        clock, did = Clock(), []
        after(clock, 60, lambda: did.append(1))
        clock.advance(59)
        before = list(did)
        clock.advance(1)
        clock.advance(100)
        return before, did

    assert asyncio.run(done()) == ([], [1])


def test_a_journal_has_one_record_per_name_and_keeps_it(tmp_path):
    journal = FileJournal(tmp_path / "new" / "journal.db")
    journal.put("a", "task", b"1", {"n": 1})
    journal.put("a", "grave", extra={"ended": 2.5})
    journal.put("b", "task", b"2")
    journal.put("c", "task", b"3")
    journal.drop(["c", "absent"])
    journal.close()
    journal = FileJournal(tmp_path / "new" / "journal.db")
    assert [record[:3] for record in journal.records("task")] == [("b", "task", b"2")]
    assert [record.extra for record in journal.records("grave")] == [{"ended": 2.5}]
    journal.clear()
    assert not list(journal.records("task"))
    journal.close()
