"""Objects on threads of their own: bounded, beside those of the loop, closed with their owner."""

from __future__ import annotations

import asyncio
import contextvars
import threading

import pytest

from arco_flow.adapters.memory.objects import MemoryObjects
from arco_flow.adapters.threaded import THREADS, ThreadedObjects

REQUEST = contextvars.ContextVar("REQUEST", default="")


class Slow(MemoryObjects):
    """Every read waits until it is let go. full: released by each that waits."""

    def __init__(self):
        super().__init__()
        self.go = threading.Event()
        self.full = threading.Semaphore(0)
        self.requests = []

    def get(self, key):
        self.requests.append(REQUEST.get())
        self.full.release()
        assert self.go.wait(30)
        return super().get(key)


@pytest.fixture
def slow():
    found = Slow()
    yield found
    found.go.set()


@pytest.fixture
def objects(slow):
    found = ThreadedObjects(slow)
    yield found
    slow.go.set()
    found.close()


def until_full(slow):
    for _ in range(THREADS):
        assert slow.full.acquire(timeout=30)


def test_so_many_calls_wait_at_one_time_and_no_more(slow, objects):
    async def main():
        reads = [asyncio.ensure_future(objects.get("a")) for _ in range(THREADS + 5)]
        await asyncio.to_thread(until_full, slow)
        assert len(slow.requests) == THREADS
        slow.go.set()
        assert await asyncio.gather(*reads) == [None] * (THREADS + 5)

    asyncio.run(main())


def test_a_store_that_hangs_leaves_the_threads_of_the_loop_alone(slow, objects):
    async def main():
        reads = [asyncio.ensure_future(objects.get("a")) for _ in range(THREADS + 5)]
        await asyncio.to_thread(until_full, slow)
        assert await asyncio.wait_for(asyncio.to_thread(lambda: "a token"), 30) == "a token"
        slow.go.set()
        await asyncio.gather(*reads)

    asyncio.run(main())


def test_what_waits_is_cancelled_when_it_is_closed_and_what_runs_ends(slow, objects):
    async def main():
        reads = [asyncio.ensure_future(objects.get("a")) for _ in range(THREADS + 2)]
        await asyncio.to_thread(until_full, slow)
        objects.close()
        slow.go.set()
        ends = await asyncio.gather(*reads, return_exceptions=True)
        assert ends[:THREADS] == [None] * THREADS
        assert [type(end) for end in ends[THREADS:]] == [asyncio.CancelledError] * 2
        with pytest.raises(RuntimeError, match="shutdown"):
            await objects.get("a")

    asyncio.run(main())


def test_a_call_belongs_to_the_request_that_makes_it(slow, objects):
    slow.go.set()

    async def main():
        REQUEST.set("run 5")
        await objects.get("a")

    asyncio.run(main())
    assert slow.requests == ["run 5"]
