"""The seam for faults: every port call of the memory adapters passes through here.

A call has three moments at which it can go wrong, and a plan may act at each: before it has an
effect (raise Unavailable: not applied), after it (raise OutcomeUnknown: applied, the answer is
lost), and around it, where other coroutines get their turn. At the first two a plan may also
raise SimulatedCrash: the process ends there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class SimulatedCrash(BaseException):
    """The end of the process at this point: no handler of ordinary errors may catch it."""


class Faults:
    """The plan without faults, and the base of all others. Sites are `port.method`."""

    def before(self, site: str) -> None:
        """Called before the effect; raise to prevent it."""

    def after(self, site: str) -> None:
        """Called after the effect; raise to lose the answer."""

    async def pause(self, site: str) -> None:
        """Awaited before the effect, by store and queue also after it; yield to let others run."""


class ScriptedFaults(Faults):
    """Raises given errors at given calls of given sites; counts all calls in `calls`."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self._before: dict[tuple[str, int], BaseException] = {}
        self._after: dict[tuple[str, int], BaseException] = {}

    def fail_before(self, site: str, error: BaseException, *, nth: int = 1) -> None:
        """Prevent the nth call from now on (1 = the next)."""
        self._before[site, self.calls[site] + nth] = error

    def fail_after(self, site: str, error: BaseException, *, nth: int = 1) -> None:
        """Lose the answer of the nth call from now on (1 = the next)."""
        self._after[site, self.calls[site] + nth] = error

    def before(self, site: str) -> None:
        """Raise what is due here."""
        self.calls[site] += 1
        _raise_due(self._before, site, self.calls[site])

    def after(self, site: str) -> None:
        """Raise what is due here."""
        _raise_due(self._after, site, self.calls[site])


class _Faulty(Protocol):
    faults: Faults


S = TypeVar("S", bound=_Faulty)


def sync_site(
    site: str,
) -> Callable[[Callable[Concatenate[S, P], T]], Callable[Concatenate[S, P], T]]:
    """Lead a method through the `faults` of its object."""

    def wrap(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
        @wraps(method)
        def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
            self.faults.before(site)
            result = method(self, *args, **kwargs)
            self.faults.after(site)
            return result

        return call

    return wrap


def async_site(
    site: str,
) -> Callable[
    [Callable[Concatenate[S, P], Awaitable[T]]],
    Callable[Concatenate[S, P], Coroutine[Any, Any, T]],
]:
    """Lead a coroutine method through the `faults` of its object."""

    def wrap(
        method: Callable[Concatenate[S, P], Awaitable[T]],
    ) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
        @wraps(method)
        async def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
            self.faults.before(site)
            await self.faults.pause(site)
            result = await method(self, *args, **kwargs)
            await self.faults.pause(site)
            self.faults.after(site)
            return result

        return call

    return wrap


def _raise_due(plan: dict[tuple[str, int], BaseException], site: str, call: int) -> None:
    error = plan.pop((site, call), None)
    if error is not None:
        raise error
