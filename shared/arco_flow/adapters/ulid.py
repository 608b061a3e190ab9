"""The text form of sortable ids: 48 bits of milliseconds, 80 bits that only ever grow."""

from __future__ import annotations

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
RANDOM_BITS = 80


def encode_ulid(now_ms: int, low: int) -> str:
    """26 lower-case Crockford base32 characters; `low` has at most 80 bits."""
    number = (now_ms << RANDOM_BITS) | low
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))
