"""Keys that are parts of others: those of the dimensions of multi-dimensional partitions."""

from __future__ import annotations

from typing import Final

from arco_flow.domain.errors import InvalidInput

SEPARATOR: Final = "|"
RESERVED: Final = frozenset("|[],")
"""Not allowed in keys of a dimension: `|` joins them, the rest is syntax of lists of keys."""


def is_part(key: str) -> bool:
    """Whether a key can be the key of a dimension."""
    return not RESERVED & set(key)


def check_part(key: str, dimension: str) -> str:
    """`key` when it can be the key of a dimension. Raises InvalidInput that names both."""
    if not is_part(key):
        raise InvalidInput(
            f"key '{key}' of dimension '{dimension}' holds one of | [ ] ,",
            fix="these join and list keys: use other characters",
            reason="BAD_PARTITION_KEY",
        )
    return key
