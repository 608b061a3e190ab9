"""Handlers for the suites of the queue and the bus: what is handed to them, and when they end."""

from __future__ import annotations

import asyncio


class Recorder:
    """A handler that notes what it gets and raises what the test has put up."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.got = []

    async def __call__(self, body, delivery):
        self.got.append((body, delivery))
        if self.errors:
            raise self.errors.pop(0)

    @property
    def bodies(self):
        return [body for body, _ in self.got]

    @property
    def attempts(self):
        return [delivery.attempt for _, delivery in self.got]


class Held:
    """A handler whose every delivery waits until the test answers it."""

    def __init__(self):
        self.deliveries = []
        self.most = 0
        self._answers = []
        self._entered = asyncio.Semaphore(0)

    async def __call__(self, body, delivery):
        answer = asyncio.get_running_loop().create_future()
        self.deliveries.append(delivery)
        self._answers.append(answer)
        self.most = max(self.most, self.running)
        self._entered.release()
        await answer

    @property
    def running(self):
        return sum(not answer.done() for answer in self._answers)

    @property
    def attempts(self):
        return [delivery.attempt for delivery in self.deliveries]

    async def wait_for(self, number=1):
        """Until so many more deliveries have come in."""
        for _ in range(number):
            await asyncio.wait_for(self._entered.acquire(), 30)

    def answer(self, number, error=None):
        """End the delivery of this number (0: the first): with success, or with an error."""
        if error is None:
            self._answers[number].set_result(None)
        else:
            self._answers[number].set_exception(error)
