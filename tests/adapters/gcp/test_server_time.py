"""The time learned from answers: never later than the server's, never going back."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from arco_flow.adapters.gcp.server_time import ANCHOR_MS, ServerTime

START_MS = 1_800_000_000_000


class World:
    """A server's clock, a process clock that stood at 0 when it began, and answers between."""

    def __init__(self):
        self.passed_us = 0
        self.time = ServerTime(lambda: self.passed_us * 1000)

    @property
    def server_us(self):
        return START_MS * 1000 + self.passed_us

    def answer(self, way_back_us):
        told = Timestamp()
        told.FromMicroseconds(self.server_us)
        self.passed_us += way_back_us
        self.time.observe(told)


def test_nothing_is_known_before_the_first_answer():
    assert World().time.now_ms() is None


def test_time_goes_on_between_answers_and_is_unknown_again_when_they_cease():
    world = World()
    world.answer(2_000)
    assert world.time.now_ms() == START_MS
    world.passed_us += 5_000_000
    assert world.time.now_ms() == START_MS + 5_000
    world.passed_us += ANCHOR_MS * 1000 - 5_000_000 - 1
    assert world.time.now_ms() is not None
    world.passed_us += 1
    assert world.time.now_ms() is None
    world.answer(1_000)
    assert world.time.now_ms() == world.server_us // 1000 - 1


def test_a_slow_answer_does_not_set_back_what_a_quick_one_told():
    world = World()
    world.answer(1_000)
    world.answer(3_000_000)
    assert world.time.now_ms() == world.server_us // 1000 - 1


def test_a_process_that_was_frozen_learns_the_time_from_its_next_answer():
    world = World()
    world.answer(1_000)
    told = Timestamp()
    told.FromMilliseconds(START_MS + 3_600_000)
    world.time.observe(told)
    assert world.time.now_ms() == START_MS + 3_600_000


@given(st.lists(st.tuples(st.integers(0, 20_000_000), st.integers(0, 5_000_000)), max_size=20))
def test_the_time_is_never_ahead_of_the_server_and_behind_by_a_way_back_only(steps):
    world, latest = World(), 0
    for idle_us, way_back_us in steps:
        world.passed_us += idle_us
        world.answer(way_back_us)
        told = world.time.now_ms()
        assert latest <= told <= world.server_us // 1000
        assert told >= (world.server_us - way_back_us) // 1000
        latest = told
