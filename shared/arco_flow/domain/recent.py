"""Ids of the events that were applied last, for entities whose events change something each time.

A write to a store that is far away may arrive twice: once when it is answered, and once more by a
request that broke down before and was on its way still. If the event was folded in between, it
waits again. What has a state to look at tells by that; a deployment or a change of keys has none.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

REMEMBERED: Final = 64
"""More than an entity takes in while a broken request is on its way; about 2 KiB of its head."""


def remembered(known: tuple[str, ...], applied: Iterable[str]) -> tuple[str, ...]:
    """The ids to keep, the oldest first, after these were applied too."""
    return (*known, *applied)[-REMEMBERED:]
