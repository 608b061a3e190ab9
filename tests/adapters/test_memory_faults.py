"""The seam for faults, and the ways in which the memory queue can misbehave on purpose."""

from __future__ import annotations

import asyncio
import inspect

import pytest

from arco_flow.adapters.delivery import QueueSettings
from arco_flow.adapters.memory.bus import MemoryBus
from arco_flow.adapters.memory.clock import VirtualClock
from arco_flow.adapters.memory.faults import Faults, ScriptedFaults, SimulatedCrash
from arco_flow.adapters.memory.objects import AsyncMemoryObjects, MemoryObjects
from arco_flow.adapters.memory.store import MemoryStore
from arco_flow.adapters.memory.tasks import MemoryTasks
from arco_flow.domain.errors import Conflict, OutcomeUnknown, Unavailable
from arco_flow.ports.bus import Bus
from arco_flow.ports.objects import Objects
from arco_flow.ports.store import Commit, Head, Store
from arco_flow.ports.tasks import Tasks

RUN = "t:w:run:1"


def commit_of(version=1):
    return Commit(Head(RUN, version, "running", b""), version - 1, b"segment")


def public(port):
    return {name for name, _ in inspect.getmembers(port, inspect.isfunction) if name[0] != "_"}


def called_without_arguments(method):
    # The seam comes before the arguments are looked at.
    result = method()
    if inspect.isawaitable(result):
        asyncio.run(result)


@pytest.mark.parametrize(
    ("port", "adapter", "prefix"),
    [
        (Store, MemoryStore, "store"),
        (Tasks, MemoryTasks, "tasks"),
        (Bus, MemoryBus, "bus"),
        (Objects, MemoryObjects, "objects"),
    ],
)
def test_every_call_of_every_port_has_a_site(port, adapter, prefix):
    sites = []

    class Stop(Faults):
        def before(self, site):
            sites.append(site)
            raise Unavailable("stopped")

    instance = (
        adapter(Stop()) if adapter is MemoryObjects else adapter(VirtualClock(), faults=Stop())
    )
    for name in public(port):
        method = getattr(instance, name)
        with pytest.raises(Unavailable):
            called_without_arguments(method)
    assert set(sites) == {f"{prefix}.{name}" for name in public(port)}


def test_a_fault_before_a_call_prevents_it():
    faults = ScriptedFaults()
    store = MemoryStore(VirtualClock(), faults)
    faults.fail_before("store.commit", Unavailable("down"))
    with pytest.raises(Unavailable, match="down"):
        asyncio.run(store.commit(commit_of()))
    assert asyncio.run(store.load(RUN)) is None
    assert asyncio.run(store.commit(commit_of())).version == 1


def test_a_fault_after_a_call_loses_its_answer_only():
    faults = ScriptedFaults()
    store = MemoryStore(VirtualClock(), faults)
    faults.fail_after("store.commit", OutcomeUnknown("lost"))
    with pytest.raises(OutcomeUnknown):
        asyncio.run(store.commit(commit_of()))
    assert asyncio.run(store.load(RUN)).version == 1


def test_a_fault_can_be_put_at_a_later_call():
    faults = ScriptedFaults()
    objects = MemoryObjects(faults)
    objects.put_if_absent("a", b"")
    faults.fail_after("objects.put_if_absent", OutcomeUnknown("lost"), nth=2)
    assert objects.put_if_absent("b", b"") is not None
    with pytest.raises(OutcomeUnknown):
        objects.put_if_absent("c", b"")
    assert objects.get("c") is not None
    assert faults.calls["objects.put_if_absent"] == 3


def test_a_crash_passes_through_those_who_catch_ordinary_errors():
    faults = ScriptedFaults()
    store = MemoryStore(VirtualClock(), faults)
    faults.fail_after("store.post", SimulatedCrash())

    async def careless():
        try:
            await store.post(RUN, "e1", b"")
        except Exception:
            return "survived"

    with pytest.raises(SimulatedCrash):
        asyncio.run(careless())
    assert len(asyncio.run(store.inbox(RUN, 10))) == 1


def test_others_get_their_turn_before_and_after_a_call():
    class Yielding(Faults):
        async def pause(self, site):
            await asyncio.sleep(0)

    store = MemoryStore(VirtualClock(), Yielding())

    async def fold(name, order):
        head = await store.load(RUN)
        version = head.version if head else 0
        try:
            await store.commit(commit_of(version + 1))
            order.append(name)
        except Exception as error:
            order.append(type(error).__name__)

    async def scenario():
        order = []
        await asyncio.gather(fold("one", order), fold("two", order))
        return order

    # Without the turns, the second would have seen the first one's commit.
    assert sorted(asyncio.run(scenario())) == ["Contended", "one"]


def test_the_awaited_objects_pass_the_same_seam():
    faults = ScriptedFaults()
    objects = AsyncMemoryObjects(MemoryObjects(faults))
    faults.fail_before("objects.get", Unavailable("down"))
    with pytest.raises(Unavailable):
        asyncio.run(objects.get("a"))
    assert asyncio.run(objects.get("a")) is None


def test_memory_is_as_strict_about_nested_keys_as_files_are():
    objects = MemoryObjects()
    objects.put_if_absent("a/b", b"")
    for key in ("a", "a/b/c", "a/b/c/d"):
        with pytest.raises(Conflict):
            objects.put_if_absent(key, b"")
    objects.delete("a/b")
    assert objects.put_if_absent("a", b"") is not None


class Queue:
    """A memory queue whose only route notes (time since the start, name, attempt)."""

    def __init__(self, **options):
        self.clock = VirtualClock(0)
        self.tasks = MemoryTasks(self.clock, default=QueueSettings(min_backoff_ms=100), **options)
        self.got, self.errors = [], []
        self.tasks.register("work", self.handle)

    async def handle(self, body, delivery):
        self.got.append((self.clock.now_ms(), delivery.name, delivery.attempt))
        if self.errors:
            raise self.errors.pop(0)

    def enqueue(self, name, at_ms=0):
        return asyncio.run(self.tasks.enqueue("q", name, "work", b"", at_ms=at_ms))


def test_a_task_can_be_delivered_twice():
    queue = Queue(timing=lambda queue, name, at_ms: (at_ms, at_ms + 50))
    queue.enqueue("t", 10)
    assert asyncio.run(queue.tasks.run_until_idle()) == 2
    assert queue.got == [(10, "t", 1), (60, "t", 1)]


def test_a_task_can_be_early_or_late():
    shifts = {"early": -5, "late": 500}
    queue = Queue(timing=lambda queue, name, at_ms: (at_ms + shifts[name],))
    queue.enqueue("late", 10)
    queue.enqueue("early", 10)
    asyncio.run(queue.tasks.run_until_idle())
    assert queue.got == [(5, "early", 1), (510, "late", 1)]


def test_a_task_can_be_lost():
    queue = Queue(timing=lambda queue, name, at_ms: ())
    assert queue.enqueue("t")
    assert asyncio.run(queue.tasks.run_until_idle()) == 0
    assert queue.tasks.pending() == 1


def test_the_drive_moves_the_clock_from_task_to_task_up_to_a_limit():
    queue = Queue()
    for at_ms in (1_000, 5_000, 9_000):
        queue.enqueue(f"t{at_ms}", at_ms)
    assert asyncio.run(queue.tasks.run_until_idle(until_ms=5_000)) == 2
    assert queue.clock.now_ms() == 5_000
    assert queue.tasks.next_ms() == 9_000
    assert asyncio.run(queue.tasks.run_until_idle()) == 1
    assert queue.tasks.next_ms() is None


def test_a_crash_in_a_handler_ends_the_drive_and_leaves_the_task():
    queue = Queue()
    queue.enqueue("t")
    queue.errors = [SimulatedCrash()]
    with pytest.raises(SimulatedCrash):
        asyncio.run(queue.tasks.run_due())
    assert queue.tasks.pending() == 1
    assert asyncio.run(queue.tasks.run_due()) == 1
    assert queue.got == [(0, "t", 1), (0, "t", 1)]
    assert queue.tasks.pending() == 0


def test_the_window_of_a_name_begins_when_its_task_is_done():
    queue = Queue(window_ms=1_000)
    queue.enqueue("t", 500)
    asyncio.run(queue.tasks.run_until_idle())
    queue.clock.set_to(1_500)
    assert not queue.enqueue("t")
    queue.clock.set_to(1_501)
    assert queue.enqueue("t")
