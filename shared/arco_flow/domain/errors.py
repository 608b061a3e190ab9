"""The tree of errors that a person or a caller can meet.

    ArcoError                     everything that this library raises on purpose
    ├── Rejected                  the caller's fault: repeating it can not help
    │   ├── InvalidInput          malformed, unknown or out of range            400
    │   │   └── DefinitionError   wrong use of the SDK, with file and line      400
    │   ├── Unauthenticated       no token, or one that does not verify         401
    │   ├── Forbidden             a good token, for something else              403
    │   ├── NotFound              no such thing in this workspace               404
    │   ├── Conflict              the thing exists with another content         409
    │   ├── Gone                  the attempt is over                           410
    │   └── TooLarge              over a stated limit                           413
    ├── Contended                 lost every race; nothing was written          503
    └── Unavailable               our side or a store: repeat later             503
        └── OutcomeUnknown        it may have been applied: read before acting  503

`http/outcomes.py` is the one table that turns these into status codes and retries.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable, Mapping


class ArcoError(Exception):
    """Base of all errors raised on purpose.

    message: what is wrong, naming the offender.
    where: place it was found (file:line, a JSON path, a column), or None.
    fix: what to do about it, or None.
    reason: stable UPPER_SNAKE word for programs.
    details: every value the message repeats, for programs.
    """

    reason = "ERROR"

    def __init__(
        self,
        message: str,
        *,
        where: str | None = None,
        fix: str | None = None,
        reason: str | None = None,
        details: Mapping[str, object] | None = None,
    ) -> None:
        self.message = message
        self.where = where
        self.fix = fix
        self.reason = reason or type(self).reason
        self.details: dict[str, object] = dict(details or {})
        super().__init__(self.render())

    def render(self) -> str:
        """Up to three lines: what, where, mend."""
        lines = [self.message]
        if self.where:
            lines.append(f"  at {self.where}")
        if self.fix:
            lines.append(f"  fix: {self.fix}")
        return "\n".join(lines)


class Rejected(ArcoError):
    """The caller's fault; the same call would be refused again."""

    reason = "REJECTED"


class InvalidInput(Rejected):
    """Malformed, unknown or out-of-range input. Nothing was changed."""

    reason = "INVALID_ARGUMENT"


class DefinitionError(InvalidInput):
    """A wrong use of the SDK, found while definitions are declared or discovered."""

    reason = "INVALID_DEFINITION"


class Unauthenticated(Rejected):
    """No credential, or one that does not verify."""

    reason = "UNAUTHENTICATED"


class Forbidden(Rejected):
    """A verified credential that does not cover this."""

    reason = "PERMISSION_DENIED"


class NotFound(Rejected):
    """Absent, or of another tenant: the two are answered alike."""

    reason = "NOT_FOUND"


class Conflict(Rejected):
    """The thing exists with another content, or is in a state that excludes the request."""

    reason = "CONFLICT"


class Gone(Rejected):
    """The attempt or task is over; the caller should stop."""

    reason = "GONE"


class TooLarge(Rejected):
    """Over a stated limit; the message names the limit and the way out."""

    reason = "TOO_LARGE"


class Contended(ArcoError):
    """Other writers were first; nothing was written.

    A fold that loses a race wakes its entity again and is answered as done, and who loses the race
    for a run key is told of the winner's run. What is raised in spite of that may be repeated.
    """

    reason = "CONTENDED"


class Unavailable(ArcoError):
    """A dependency or this process can not serve now; nothing was applied. Repeat later."""

    reason = "UNAVAILABLE"


class OutcomeUnknown(Unavailable):
    """The call may have been applied. Read before deciding; never clean up on this."""

    reason = "OUTCOME_UNKNOWN"


MAX_COMPARED_PAIRS = 200_000
"""Of characters, when the name most like another one is looked for: half a second at the worst."""


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate most like `name`, or None when none is close."""
    from difflib import get_close_matches

    compared = _worth_comparing(name, list(candidates))
    found = get_close_matches(name, compared, n=1, cutoff=0.6) if compared else []
    return found[0] if found else None


def _worth_comparing(name: str, candidates: list[str]) -> list[str]:
    """All of a few; of many, those that begin or end most like the name."""
    longest = max(map(len, candidates), default=0)
    most = MAX_COMPARED_PAIRS // max(len(name) * longest, 1)
    if len(candidates) <= most:
        return candidates
    found: list[str] = []
    for step in (1, -1):
        turned = sorted(candidate[::step] for candidate in candidates)
        place = bisect(turned, name[::step])
        found += [text[::step] for text in turned[max(place - most // 4, 0) : place + most // 4]]
    return found


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """`; did you mean 'x'?` or an empty string, to be appended to a message."""
    match = nearest(name, candidates)
    return f"; did you mean '{match}'?" if match else ""
