"""The memory queue driven without an event loop, as a simulator drives it."""

from __future__ import annotations

import pytest

from arco_flow.adapters.delivery import QueueSettings
from arco_flow.adapters.memory.clock import VirtualClock
from arco_flow.adapters.memory.faults import SimulatedCrash
from arco_flow.adapters.memory.tasks import MemoryTasks
from arco_flow.domain.errors import Conflict, InvalidInput

SETTINGS = QueueSettings(
    max_concurrent=2, min_backoff_ms=100, max_backoff_ms=1_000, dispatch_deadline_ms=5_000
)


class Turn:
    """Awaited: hands control back to whoever drives the coroutine."""

    def __await__(self):
        yield


def drive(work):
    """Run a coroutine to its end; its result."""
    while True:
        try:
            work.send(None)
        except StopIteration as stop:
            return stop.value


class Queue:
    """A queue with one route, whose deliveries go on when the test lets them."""

    def __init__(self, **options):
        self.clock = VirtualClock(0)
        self.tasks = MemoryTasks(self.clock, default=SETTINGS, **options)
        self.tasks.register("work", self.handle)
        self.names, self.errors = [], []

    async def handle(self, body, delivery):
        self.names.append(delivery.name)
        await Turn()
        if self.errors:
            raise self.errors.pop(0)

    def enqueue(self, *names, at_ms=0):
        for name in names:
            assert drive(self.tasks.enqueue("q", name, "work", b"", at_ms=at_ms))

    def begin(self):
        """Take what is due, up to where each handler waits."""
        works = self.tasks.take_due()
        for work in works:
            work.send(None)
        return works


def test_what_is_due_is_taken_up_to_the_limit_and_the_rest_as_places_become_free():
    queue = Queue()
    queue.enqueue("a", "b", "c", "d")
    first, second = queue.begin()
    assert queue.begin() == []
    assert queue.tasks.next_ms() == SETTINGS.dispatch_deadline_ms
    drive(first)
    assert queue.tasks.next_ms() == 0
    [third] = queue.begin()
    drive(second)
    [fourth] = queue.begin()
    drive(fourth)
    drive(third)
    assert queue.names == ["a", "b", "c", "d"]
    assert queue.tasks.pending() == 0
    assert queue.tasks.next_ms() is None


def test_a_deleted_task_leaves_its_place_to_one_that_waits():
    queue = Queue()
    queue.enqueue("a", "b", "c", "d", "e")
    first, second = queue.begin()
    drive(first)
    assert drive(queue.tasks.delete("q", "c"))
    assert drive(queue.tasks.delete("q", "d"))
    [last] = queue.begin()
    drive(last)
    drive(second)
    assert queue.names == ["a", "b", "e"]
    assert queue.tasks.next_ms() is None


def test_the_next_time_tells_of_a_deadline_until_the_delivery_is_over():
    queue = Queue()
    queue.enqueue("a")
    queue.enqueue("b", at_ms=9_000)
    [work] = queue.begin()
    assert queue.tasks.next_ms() == 5_000
    drive(work)
    assert queue.tasks.next_ms() == 9_000


def test_a_deadline_is_a_failure_and_the_late_answer_is_nothing():
    queue = Queue()
    queue.enqueue("a")
    [late] = queue.begin()
    queue.clock.advance(5_000)
    assert queue.begin() == []
    assert queue.tasks.next_ms() == 5_100
    queue.clock.advance(100)
    [again] = queue.begin()
    drive(late)
    assert queue.tasks.pending() == 1
    drive(again)
    assert queue.tasks.pending() == 0
    assert queue.tasks.next_ms() is None


def test_a_queue_may_have_no_deadline():
    queue = Queue(queues={"q": QueueSettings(dispatch_deadline_ms=0)})
    queue.enqueue("a")
    [work] = queue.begin()
    assert queue.tasks.next_ms() is None
    drive(work)


def test_a_deadline_can_not_be_before_the_delivery():
    with pytest.raises(InvalidInput, match="dispatch deadline"):
        QueueSettings(dispatch_deadline_ms=-1)


def test_a_crash_passes_through_and_leaves_the_task_due_at_the_same_attempt():
    queue = Queue()
    queue.enqueue("a")
    queue.errors = [SimulatedCrash()]
    [work] = queue.begin()
    with pytest.raises(SimulatedCrash):
        drive(work)
    assert queue.tasks.next_ms() == 0
    [work] = queue.begin()
    drive(work)
    assert queue.tasks.pending() == 0


@pytest.mark.parametrize("started", [True, False])
def test_a_delivery_that_is_thrown_away_is_made_again(started):
    queue = Queue()
    queue.enqueue("a")
    [work] = queue.begin() if started else queue.tasks.take_due()
    work.close()
    queue.clock.advance(SETTINGS.dispatch_deadline_ms + SETTINGS.min_backoff_ms)
    queue.begin()
    queue.clock.advance(SETTINGS.min_backoff_ms)
    queue.begin()
    assert queue.names[-1] == "a"
    assert queue.tasks.pending() == 1


@pytest.mark.parametrize("error", [ValueError("no"), SimulatedCrash()])
def test_a_duplicate_that_fails_after_the_end_of_its_task_is_not_repeated(error):
    queue = Queue(timing=lambda queue, name, at_ms: (at_ms, at_ms))
    queue.enqueue("a")
    first, second = queue.begin()
    drive(first)
    queue.errors = [error]
    if isinstance(error, SimulatedCrash):
        with pytest.raises(SimulatedCrash):
            drive(second)
    else:
        drive(second)
    assert queue.tasks.next_ms() is None


def test_duplicates_run_beside_each_other_and_count_towards_the_limit():
    queue = Queue(timing=lambda queue, name, at_ms: (at_ms, at_ms, at_ms))
    queue.enqueue("a")
    works = queue.begin()
    assert len(works) == 2
    assert not drive(queue.tasks.delete("q", "a"))
    for work in works:
        drive(work)
    [third] = queue.begin()
    drive(third)
    assert queue.names == ["a"] * 3


def test_a_refused_duplicate_is_dead_even_after_another_succeeded():
    queue = Queue(timing=lambda queue, name, at_ms: (at_ms, at_ms))
    queue.enqueue("a")
    first, second = queue.begin()
    drive(first)
    queue.errors = [Conflict("no")]
    drive(second)
    assert [dead.name for dead in queue.tasks.dead()] == ["a"]


def test_the_timing_can_be_changed_on_the_way():
    queue = Queue(timing=lambda queue, name, at_ms: (at_ms + 50,))
    queue.enqueue("late")
    queue.tasks.timing = lambda queue, name, at_ms: (at_ms,)
    queue.enqueue("punctual")
    for work in queue.begin():
        drive(work)
    assert queue.names == ["punctual"]
    assert queue.tasks.next_ms() == 50


def test_names_of_long_ago_are_not_kept():
    queue = Queue(window_ms=1_000)
    for number in range(100):
        queue.enqueue(f"t{number}")
        for work in queue.begin():
            drive(work)
        queue.clock.advance(100)
    queue.enqueue("t0")
    assert not drive(queue.tasks.enqueue("q", "t95", "work", b""))
