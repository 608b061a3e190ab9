"""The SQLite store beyond the port: restarts, its cache, its likeness to the model."""

from __future__ import annotations

import asyncio
import random
from contextlib import closing
from dataclasses import replace

import pytest

from arco_flow.adapters.local.database import Database
from arco_flow.adapters.local.head_cache import HeadCache
from arco_flow.adapters.local.store import SqliteStore
from arco_flow.adapters.memory.clock import VirtualClock
from arco_flow.adapters.memory.store import MemoryStore
from arco_flow.domain.errors import ArcoError
from arco_flow.ports.store import Commit, Head, Lease

RUN = "t:w:run:1"


def reopened(folder, scenario, clock):
    with closing(Database(folder)) as database:
        return asyncio.run(scenario(SqliteStore(database, clock)))


def test_everything_is_there_after_a_restart(tmp_path):
    clock = VirtualClock()

    async def write(store):
        await store.post(RUN, "e1", b"event")
        lease = await store.acquire_lease("sweeper", "h1", 10_000)
        commit = Commit(
            Head(RUN, 1, "running", b"state", b"owed", 5, {"k": "v"}, 6), 0, b"segment",
            rows={"r": b"row"}, documents={("c", "k"): b"document"}, fence=("sweeper", lease.token),
        )  # fmt: skip
        return await store.commit(commit), await store.inbox(RUN, 10), lease

    async def read(store):
        assert await store.rows(RUN) == {"r": b"row"}
        assert await store.document("c", "k") == b"document"
        assert await store.segments(RUN) == [b"segment"]
        lease = await store.acquire_lease("sweeper", "h1", 10_000)
        return await store.load(RUN), await store.inbox(RUN, 10), lease

    assert reopened(tmp_path, write, clock) == reopened(tmp_path, read, clock)


def test_time_does_not_go_back_over_a_restart(tmp_path):
    async def write(store):
        return (await store.commit(Commit(Head(RUN, 1, "s", b""), 0, b""))).updated_ms

    async def read(store):
        return await store.now_ms()

    written = reopened(tmp_path, write, VirtualClock(1_000_000))
    assert reopened(tmp_path, read, VirtualClock(500_000)) == written == 1_000_000


def test_a_revision_is_not_given_twice_over_a_restart(tmp_path):
    async def post(store):
        await store.post(RUN, "e1", b"", replace=True)
        return (await store.inbox(RUN, 1))[0].revision

    first = reopened(tmp_path, post, VirtualClock())
    assert reopened(tmp_path, post, VirtualClock()) > first


def test_a_failed_commit_does_not_reach_the_cache(tmp_path):
    async def scenario(store):
        first = await store.commit(Commit(Head(RUN, 1, "running", b"1"), 0, b""))
        with pytest.raises(ArcoError):
            await store.commit(Commit(Head(RUN, 3, "running", b"3"), 2, b""))
        assert await store.load(RUN) == first

    reopened(tmp_path, scenario, VirtualClock())


def test_the_cache_forgets_the_heads_unused_for_longest():
    cache = HeadCache(max_bytes=10_000)
    for name in "abc":
        cache.put(Head(name, 1, "s", bytes(2_000)))
    assert cache.get("a") is not None
    cache.put(Head("d", 1, "s", bytes(2_000)))
    assert cache.get("b") is None
    assert [cache.get(name) is not None for name in "acd"] == [True] * 3
    cache.put(Head("a", 2, "s", bytes(2_000)))
    assert cache.get("a").version == 2
    assert cache.get("c") is not None
    cache.put(Head("huge", 1, "s", bytes(20_000)))
    assert cache.get("huge") is None


class Script:
    """A random history of calls; the same seed gives the same one."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.versions = {}

    def entity(self):
        kind = self.random.choice(["run", "asset"])
        return f"t:{self.random.choice(['w', 'w2'])}:{kind}:{self.random.randrange(3)}"

    def next_call(self, seen):
        name = self.random.choice(
            ["post", "commit", "commit", "inbox", "list", "overdue", "rows", "lease", "release"]
        )
        return getattr(self, name)(seen)

    def post(self, seen):
        arguments = (self.entity(), f"e{self.random.randrange(5)}", self.random.randbytes(3))
        again = self.random.random() < 0.3
        return lambda store: store.post(*arguments, replace=again)

    def inbox(self, seen):
        entity, limit = self.entity(), self.random.randrange(1, 6)
        return lambda store: store.inbox(entity, limit)

    def commit(self, seen):
        entity, rng = self.entity(), self.random
        head = seen["heads"].get(entity)
        expected = (head.version if head else 0) + (rng.random() < 0.1)
        items = [item for item in seen["items"] if item.entity == entity]
        lease = seen["lease"]
        commit = Commit(
            Head(
                entity, expected + 1, rng.choice(["running", "done", "failed"]), rng.randbytes(5),
                b"", rng.choice([0, 10, 1_767_225_600_050]), {"k": rng.choice("ab")},
                rng.choice([0, 20]),
            ),
            expected,
            rng.randbytes(4),
            items[: rng.randrange(3)],
            {f"r{rng.randrange(4)}": rng.choice([None, b"row"])},
            {("c", f"{rng.randrange(60)}"): b"d"} if rng.random() < 0.3 else {},
            (lease.name, lease.token) if lease and rng.random() < 0.3 else None,
        )  # fmt: skip
        return lambda store: store.commit(commit)

    def list(self, seen):
        rng = self.random
        prefix = rng.choice(["t:w:run:", "t:w2:asset:", "t:w:", "t:", "x:"])
        filters = {
            "statuses": rng.sample(["running", "done", "failed"], rng.randrange(3)),
            "labels": rng.choice([None, {"k": "a"}]),
            "before": rng.choice([None, (1_767_225_600_040, "t:w:run:1")]),
            "limit": rng.randrange(1, 6),
        }
        return lambda store: store.list_heads(prefix, **filters)

    def overdue(self, seen):
        before, limit = 1_767_225_600_000 + self.random.randrange(200), self.random.randrange(1, 9)
        return lambda store: store.overdue(before, limit)

    def rows(self, seen):
        entity, after = self.entity(), self.random.choice(["", "r1"])
        return lambda store: store.rows(entity, after=after, limit=2)

    def lease(self, seen):
        holder, ttl = self.random.choice("xy"), self.random.randrange(1, 40)
        return lambda store: store.acquire_lease("l", holder, ttl)

    def release(self, seen):
        lease = seen["lease"] or Lease("l", "x", 99, 0)
        return lambda store: store.release_lease(lease)


async def outcome_of(call):
    try:
        result = await call
    except ArcoError as error:
        return type(error), error.message
    if isinstance(result, list):
        # A list may leave the state out.
        return [replace(x, state=b"", owed=b"") if isinstance(x, Head) else x for x in result]
    return result


@pytest.mark.parametrize("seed", range(6))
def test_random_histories_are_told_alike_by_memory_and_sqlite(tmp_path, seed):
    clock, script = VirtualClock(), Script(seed)
    seen = {"heads": {}, "items": [], "lease": None}

    async def scenario(model, store):
        for step in range(400):
            call = script.next_call(seen)
            expected, found = await outcome_of(call(model)), await outcome_of(call(store))
            assert found == expected, f"step {step} of seed {seed}"
            if isinstance(found, Head):
                seen["heads"][found.entity] = found
                assert await store.load(found.entity) == found
            elif isinstance(found, Lease):
                seen["lease"] = found
            elif isinstance(found, list) and found and hasattr(found[0], "revision"):
                seen["items"] = found
            clock.advance(script.random.randrange(3))

    with closing(Database(tmp_path)) as database:
        asyncio.run(scenario(MemoryStore(clock), SqliteStore(database, clock)))
