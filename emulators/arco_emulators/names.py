"""Resource names."""

from __future__ import annotations

import re

LOCATION = r"projects/[A-Za-z0-9.:-]+/locations/[A-Za-z0-9-]+"
_LOCATION = re.compile(LOCATION)
_SHORT_ID = re.compile(r"[A-Za-z0-9-]{1,100}")
_LONG_ID = re.compile(r"[A-Za-z0-9_-]{1,500}")


def is_location(name: str) -> bool:
    """Whether it is `projects/P/locations/L`."""
    return _LOCATION.fullmatch(name) is not None


def is_queue(name: str) -> bool:
    """Whether it is `projects/P/locations/L/queues/Q`."""
    location, slash, queue_id = name.partition("/queues/")
    return bool(slash) and is_location(location) and _SHORT_ID.fullmatch(queue_id) is not None


def is_long_id(text: str) -> bool:
    """Whether it can be the id of a task or a job: letters, digits, hyphens, underscores."""
    return _LONG_ID.fullmatch(text) is not None


def parent_of(name: str, collection: str) -> str:
    """The name before `/collection/...`; empty when there is none."""
    parent, slash, _ = name.partition(f"/{collection}/")
    return parent if slash else ""


def last(name: str) -> str:
    """The id at the end of a name."""
    return name.rpartition("/")[2]
