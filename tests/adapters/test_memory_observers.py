"""What observers of the memory stores are told, and when."""

from __future__ import annotations

import asyncio

import pytest

from arco_flow.adapters.memory.clock import VirtualClock
from arco_flow.adapters.memory.faults import ScriptedFaults
from arco_flow.adapters.memory.objects import MemoryObjects
from arco_flow.adapters.memory.store import MemoryStore
from arco_flow.domain.errors import Contended, OutcomeUnknown, Unavailable
from arco_flow.ports.store import Commit, Head

RUN = "t:w:run:1"


class Notes:
    """Observer of both stores: everything it is told, in order."""

    def __init__(self):
        self.told = []

    def committed(self, commit, head):
        self.told.append(("committed", commit, head))

    def posted(self, item):
        self.told.append(("posted", item))

    def leased(self, lease):
        self.told.append(("leased", lease))

    def written(self, key, data, generation):
        self.told.append(("written", key, data, generation))

    def deleted(self, key):
        self.told.append(("deleted", key))


def commit_of(version=1, **fields):
    return Commit(Head(RUN, version, "running", b""), version - 1, b"segment", **fields)


def observed_store(faults=None):
    notes, store = Notes(), MemoryStore(VirtualClock(), faults)
    store.observers.append(notes)
    return store, notes


def test_each_effect_on_the_store_is_told_once_in_order():
    async def scenario():
        store, notes = observed_store()
        await store.post(RUN, "e1", b"one")
        [item] = await store.inbox(RUN, 1)
        commit = commit_of(consumed=[item])
        head = await store.commit(commit)
        lease = await store.acquire_lease("sweeper", "h1", 1000)
        assert notes.told == [("posted", item), ("committed", commit, head), ("leased", lease)]

    asyncio.run(scenario())


def test_what_changed_nothing_is_not_told():
    async def scenario():
        store, notes = observed_store()
        await store.post(RUN, "e1", b"one")
        await store.commit(commit_of())
        lease = await store.acquire_lease("sweeper", "h1", 1000)
        told = list(notes.told)
        await store.post(RUN, "e1", b"two")
        with pytest.raises(Contended):
            await store.commit(commit_of())
        assert await store.acquire_lease("sweeper", "h2", 1000) is None
        await store.release_lease(lease)
        await store.load(RUN)
        assert notes.told == told

    asyncio.run(scenario())


def test_an_effect_whose_answer_is_lost_is_told_and_one_that_was_prevented_is_not():
    async def scenario():
        faults = ScriptedFaults()
        store, notes = observed_store(faults)
        faults.fail_before("store.commit", Unavailable("down"))
        with pytest.raises(Unavailable):
            await store.commit(commit_of())
        assert notes.told == []
        faults.fail_after("store.commit", OutcomeUnknown("lost"))
        with pytest.raises(OutcomeUnknown):
            await store.commit(commit_of())
        assert [kind for kind, *_ in notes.told] == ["committed"]

    asyncio.run(scenario())


def test_an_observer_sees_the_store_as_it_is_after_the_effect():
    async def scenario():
        store = MemoryStore(VirtualClock())
        seen = []

        class Reader(Notes):
            def committed(self, commit, head):
                load = store.load(RUN)
                with pytest.raises(StopIteration) as answer:
                    load.send(None)
                seen.append(answer.value.value)

        store.observers.append(Reader())
        head = await store.commit(commit_of())
        assert seen == [head]

    asyncio.run(scenario())


def test_each_effect_on_the_objects_is_told_once_in_order(tmp_path):
    notes, objects = Notes(), MemoryObjects()
    objects.observers.append(notes)
    first = objects.put_if_absent("a", b"1")
    assert objects.put_if_absent("a", b"2") is None
    assert objects.put_if_generation("a", b"3", first + 1) is None
    second = objects.put_if_generation("a", b"4", first)
    path = tmp_path / "file"
    path.write_bytes(b"5")
    third = objects.put_file_if_absent("b", str(path))
    assert objects.delete("a")
    assert not objects.delete("a")
    assert notes.told == [
        ("written", "a", b"1", first),
        ("written", "a", b"4", second),
        ("written", "b", b"5", third),
        ("deleted", "a"),
    ]


def test_an_observer_may_read_the_objects():
    objects = MemoryObjects()
    seen = []

    class Reader(Notes):
        def written(self, key, data, generation):
            seen.append([meta.key for meta in objects.list("")])

    objects.observers.append(Reader())
    objects.put_if_absent("a", b"")
    objects.put_if_absent("b", b"")
    assert seen == [["a"], ["a", "b"]]
