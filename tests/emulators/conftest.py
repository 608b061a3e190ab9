from __future__ import annotations

import asyncio
import threading

import pytest

from conformance.emulators import all_emulators
from emulators.targets import Target


class Loop:
    """An event loop in a thread, in which servers answer while a test calls them."""

    def __init__(self):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._open = []

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    def enter(self, context):
        """Open an asynchronous context until the loop is closed; its value."""
        opened = asyncio.run_coroutine_threadsafe(self._hold(context), self._loop).result(30)
        self._open.append(opened)
        return opened[0]

    def close(self):
        for _, leave, holder in reversed(self._open):
            self._loop.call_soon_threadsafe(leave.set)
            self.call(_result(holder))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    async def _hold(self, context):
        # One task enters and leaves, because cancel scopes belong to a task.
        entered, leave = asyncio.get_running_loop().create_future(), asyncio.Event()

        async def hold():
            try:
                async with context as value:
                    entered.set_result(value)
                    await leave.wait()
            except BaseException as error:
                if entered.done():
                    raise
                entered.set_exception(error)

        holder = asyncio.create_task(hold())
        return await entered, leave, holder


async def _result(task):
    return await task


@pytest.fixture(scope="module")
def loop():
    running = Loop()
    yield running
    running.close()


@pytest.fixture(scope="session")
def target():
    running = Target()
    yield running
    running.close()


@pytest.fixture
def inbox(target):
    return target.inbox()


@pytest.fixture(scope="session")
def emulators():
    return all_emulators()
