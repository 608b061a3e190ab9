"""Work and memory grow with the input as it does, for every decoder and everything that grows."""

from __future__ import annotations

import contextlib
import time
import tracemalloc
from collections.abc import Callable

import pytest

from fuzz.decoders import BY_NAME
from fuzz.inflation import inflations
from fuzz.table import Decoder

SMALL = 2_000
TIMES = 8
LARGE = SMALL * TIMES
GROWTH = 5 * TIMES
"""What eight times the input may cost: a quadratic decoder costs 64 times as much."""
LEAST_SECONDS = 0.001
"""Below it, the clock and the caches are what is measured."""
MEMORY_PER_BYTE = 400
MEMORY_BASE = 4 * 1024 * 1024


def seconds(decoder: Decoder, raw: bytes) -> float:
    started = time.process_time()
    with contextlib.suppress(*decoder.refuses):
        decoder.decode(raw)
    return time.process_time() - started


def is_slow(decoder: Decoder, make: Callable[[int], bytes], size: int = SMALL) -> bool:
    """Whether work grows much faster than input; what seems to is measured again."""
    small, large = make(size), make(size * TIMES)
    best = seconds(decoder, large)
    return best > GROWTH * LEAST_SECONDS and all(
        min(best, seconds(decoder, large)) > GROWTH * seconds(decoder, small) for _ in range(3)
    )


@pytest.mark.parametrize("name", BY_NAME)
def test_work_grows_as_the_input_does(name: str) -> None:
    decoder = BY_NAME[name]
    slow = [what for what, make in inflations(decoder) if is_slow(decoder, make)]
    assert slow == []


def test_a_name_that_occurs_twice_is_found_among_many_in_the_time_that_reading_takes() -> None:
    def last_name_twice(size: int) -> bytes:
        names = [f"name_{number}" for number in range(size // 15)]
        return b"{" + ",".join(f'"{n}":"b"' for n in (*names, names[-1])).encode() + b"}"

    assert not is_slow(BY_NAME["distinct_names"], last_name_twice, 20_000)


@pytest.mark.parametrize("name", BY_NAME)
def test_memory_is_a_multiple_of_the_input(name: str) -> None:
    decoder = BY_NAME[name]
    greedy = []
    for what, make in inflations(decoder):
        if what.endswith((" marks", " directives")):
            continue  # as much as letters in their place
        raw = make(LARGE)
        tracemalloc.start()
        with contextlib.suppress(*decoder.refuses):
            decoder.decode(raw)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        if peak > MEMORY_BASE + MEMORY_PER_BYTE * len(raw):
            greedy.append((what, peak, len(raw)))
    assert greedy == []
