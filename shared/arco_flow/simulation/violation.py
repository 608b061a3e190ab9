"""A promise that was not kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Violation:
    """invariant: name of the check; message: what was found, with the history that shows it."""

    invariant: str
    message: str


class ViolatedError(Exception):
    """Raised inside a check, which is named by who runs it."""


def hold(condition: object, message: Callable[[], str]) -> None:
    """Raises ViolatedError with the message unless the condition is true.

    The message is a function: most of them quote a whole ledger, and most conditions hold.
    """
    if not condition:
        raise ViolatedError(message())
