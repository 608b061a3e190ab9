"""A guarded write, sent until its outcome is known.

Its preconditions make it safe to send again: a precondition that does not hold any more never will
again, because versions, update times and tokens only move on, so that it is applied at most once.
An inbox item is the exception: one that was consumed can be created again by an attempt that lands
late, and one that is replaced has no precondition. What folds it must tell that it has seen it.
Every document that it creates carries the token of its writer, so that a write which has landed
unheard is told from one that has lost a race.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from arco_flow.adapters.gcp.failures import ApiError, Fate, failure, fate_of
from arco_flow.adapters.gcp.firestore_calls import FirestoreCalls
from arco_flow.domain.errors import OutcomeUnknown, Unavailable

WRITER = "writer"
"""The field that holds the token."""
_WHAT = "Firestore Commit"


class LostRace(Exception):
    """A precondition did not hold, or locks were never free; nothing was written."""


def writer_token() -> str:
    """A token that no other write has."""
    return os.urandom(9).hex()


async def send(
    calls: FirestoreCalls, writes: Sequence[Any], landed: Callable[[], Awaitable[bool]]
) -> Any | None:
    """Apply the writes; answers their results, or None when an earlier attempt had landed.

    landed: reads back whether the token of these writes is there. Raises LostRace, Unavailable
    (nothing was written), OutcomeUnknown, InvalidInput, TooLarge.
    """
    is_doubtful, attempts = False, calls.pace.attempts
    for attempt in range(attempts):
        try:
            return await calls.commit(writes)
        except ApiError as error:
            fate, last = fate_of(error), error
        if fate is Fate.REFUSED:
            raise failure(last, _WHAT, maybe_applied=is_doubtful) from last
        if fate is Fate.PRECONDITION:
            break
        is_doubtful = is_doubtful or fate is Fate.UNKNOWN
        if attempt == attempts - 1 and fate is Fate.NOT_APPLIED and not is_doubtful:
            break
        # Also after the last attempt: what is in doubt may land before it is read back, and who
        # finds locks that are never free begins again, which others that met them do too.
        await calls.pace.pause(attempt)
    if (fate is Fate.PRECONDITION or is_doubtful) and await _landed(landed):
        return None
    if fate is Fate.PRECONDITION or (fate is Fate.LOCKED and not is_doubtful):
        raise LostRace from last
    raise failure(last, _WHAT, maybe_applied=is_doubtful) from last


async def _landed(landed: Callable[[], Awaitable[bool]]) -> bool:
    try:
        return await landed()
    except Unavailable as error:
        raise OutcomeUnknown(
            f"a commit may have landed and can not be read back: {error.message}"
        ) from error
