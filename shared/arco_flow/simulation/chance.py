"""Chance that can be told again: every decision comes from a seed, a place and a count.

A roll belongs to its place and the number of rolls made there before. So to leave one fault out
moves no other one, which is what lets a failure be shrunk.
"""

from __future__ import annotations

import random
from zlib import crc32

_MASK = (1 << 64) - 1


def stream(seed: int, name: str) -> random.Random:
    """A generator of its own for one purpose, equal in every process."""
    return random.Random(f"{seed}/{name}")


class Dice:
    """Rolls in [0, 1), one sequence per place."""

    def __init__(self, seed: int) -> None:
        self._seed = mixed(seed & _MASK)
        self._rolls: dict[str, int] = {}
        self._places: dict[str, int] = {}

    def roll(self, place: str) -> float:
        """The next roll of a place."""
        count = self._rolls.get(place, 0) + 1
        self._rolls[place] = count
        code = self._places.get(place)
        if code is None:
            code = self._places[place] = crc32(place.encode()) << 32
        return mixed(self._seed ^ code ^ (count * 0x9E3779B97F4A7C15 & _MASK)) / (_MASK + 1)

    def count(self, place: str) -> int:
        """How many rolls a place has had: the number of its latest one."""
        return self._rolls.get(place, 0)


def mixed(number: int) -> int:
    """64 bits that depend on all 64 given ones (the finalizer of splitmix64)."""
    number = ((number ^ number >> 30) * 0xBF58476D1CE4E5B9) & _MASK
    number = ((number ^ number >> 27) * 0x94D049BB133111EB) & _MASK
    return number ^ number >> 31
