"""The real clock and the virtual one."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from arco_flow.adapters.local.clock import SystemClock
from arco_flow.adapters.memory.clock import VirtualClock
from arco_flow.adapters.ulid import encode_ulid
from arco_flow.domain.errors import InvalidInput


class StoppedClock(SystemClock):
    now = 1_000

    def now_ms(self):
        return self.now


def test_the_text_of_an_id_is_crockfords_base32():
    # The example of the ULID specification, lower-case.
    assert encode_ulid(1_469_918_176_385, 0)[:10] == "01aryz6s41"
    assert encode_ulid(0, 0) == "0" * 26
    assert encode_ulid(2**48 - 1, 2**80 - 1) == "7" + "z" * 25


def test_ids_grow_and_are_unique_between_threads():
    clock = SystemClock()
    with ThreadPoolExecutor(4) as threads:
        batches = list(threads.map(lambda _: [clock.new_id() for _ in range(2_000)], range(4)))
    assert all(batch == sorted(batch) for batch in batches)
    ids = {one for batch in batches for one in batch}
    assert len(ids) == 8_000
    assert all(re.fullmatch(r"[0-9a-hjkmnp-tv-z]{26}", one) for one in ids)


def test_ids_grow_when_the_clock_is_set_back():
    clock = StoppedClock()
    ids = [clock.new_id(), clock.new_id()]
    clock.now = 500
    ids.append(clock.new_id())
    clock.now = 2_000
    ids.append(clock.new_id())
    assert ids == sorted(set(ids))


def test_ids_grow_past_the_end_of_a_milliseconds_room():
    clock = StoppedClock()
    clock.new_id()
    clock._low = 2**80 - 1
    before = encode_ulid(1_000, 2**80 - 1)
    assert before < clock.new_id() < clock.new_id()


def test_virtual_time_moves_when_it_is_told_to():
    clock = VirtualClock(1_000)
    assert clock.advance(5) == clock.now_ms() == 1_005
    with pytest.raises(InvalidInput, match="set_to"):
        clock.advance(-1)
    clock.set_to(10)
    assert clock.now_ms() == 10


def test_virtual_ids_are_the_same_every_time():
    def ids():
        clock = VirtualClock()
        return [clock.new_id(), clock.new_id(), clock.advance(1) and clock.new_id()]

    assert ids() == ids() == sorted(set(ids()))
