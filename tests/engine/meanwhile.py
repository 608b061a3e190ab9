"""A fault plan that lets something else happen in the middle of a call: races to the step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from arco_flow.adapters.memory.faults import Faults

Work = Callable[[], Awaitable[object]]


class Meanwhile(Faults):
    """Lets something else happen in the middle of the next call of a site, once."""

    def __init__(self) -> None:
        self.site = ""
        self.work: Work | None = None
        self.passed = 0

    def during(self, site: str, work: Work) -> None:
        """Before the call has its effect."""
        self.site, self.work, self.passed = site, work, 0

    def before_the_answer_of(self, site: str, work: Work) -> None:
        """After the call had its effect."""
        self.site, self.work, self.passed = site, work, 1

    async def pause(self, site: str) -> None:
        work = self.work
        if site != self.site or work is None:
            return
        if self.passed:
            self.passed -= 1
            return
        self.work = None
        await work()
