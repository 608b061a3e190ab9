"""Leases and the fence of commits made under them, on every document store."""

from __future__ import annotations

import asyncio
import random

import pytest

from conformance.test_store import RUN, commit_of, refused_by


def test_one_of_many_holders_gets_the_lease(stores):
    async def scenario(store, clock):
        leases = await asyncio.gather(
            *(store.acquire_lease("sweeper", f"h{n}", 1000) for n in range(10))
        )
        [lease] = [lease for lease in leases if lease is not None]
        assert lease.name == "sweeper"
        assert lease.expires_ms == clock.now_ms() + 1000

    stores.run(scenario)


def test_leases_of_different_names_are_apart(stores):
    async def scenario(store, clock):
        assert await store.acquire_lease("sweeper", "h1", 1000)
        assert await store.acquire_lease("compactor", "h2", 1000)

    stores.run(scenario)


def test_a_renewal_keeps_the_token_and_moves_the_end(stores):
    async def scenario(store, clock):
        first = await store.acquire_lease("sweeper", "h1", 1000)
        clock.advance(400)
        second = await store.acquire_lease("sweeper", "h1", 1000)
        assert second.token == first.token
        assert second.expires_ms == first.expires_ms + 400
        clock.advance(700)
        assert await store.acquire_lease("sweeper", "h2", 1000) is None

    stores.run(scenario)


def test_a_take_over_comes_at_the_end_and_raises_the_token(stores):
    async def scenario(store, clock):
        first = await store.acquire_lease("sweeper", "h1", 1000)
        clock.advance(999)
        assert await store.acquire_lease("sweeper", "h2", 1000) is None
        clock.advance(1)
        second = await store.acquire_lease("sweeper", "h2", 1000)
        assert second.token > first.token
        assert await store.acquire_lease("sweeper", "h1", 1000) is None

    stores.run(scenario)


def test_a_holder_that_comes_back_too_late_gets_a_new_token(stores):
    async def scenario(store, clock):
        first = await store.acquire_lease("sweeper", "h1", 1000)
        clock.advance(1000)
        assert (await store.acquire_lease("sweeper", "h1", 1000)).token > first.token

    stores.run(scenario)


def test_a_lease_given_back_is_free_at_once_and_the_token_still_grows(stores):
    async def scenario(store, clock):
        first = await store.acquire_lease("sweeper", "h1", 1000)
        await store.release_lease(first)
        second = await store.acquire_lease("sweeper", "h2", 1000)
        assert second.token > first.token

    stores.run(scenario)


def test_only_the_current_holder_gives_back(stores):
    async def scenario(store, clock):
        first = await store.acquire_lease("sweeper", "h1", 1000)
        clock.advance(1000)
        second = await store.acquire_lease("sweeper", "h2", 1000)
        await store.release_lease(first)
        assert await store.acquire_lease("sweeper", "h3", 1000) is None
        await store.release_lease(second)
        assert await store.acquire_lease("sweeper", "h3", 1000)

    stores.run(scenario)


def test_a_commit_under_the_current_grant_is_applied(stores):
    async def scenario(store, clock):
        lease = await store.acquire_lease("sweeper", "h1", 1000)
        await store.commit(commit_of(fence=(lease.name, lease.token)))
        await store.acquire_lease("sweeper", "h1", 1000)
        await store.commit(commit_of(version=2, fence=(lease.name, lease.token)))
        assert (await store.load(RUN)).version == 2

    stores.run(scenario)


def test_a_commit_under_a_grant_that_was_taken_over_writes_nothing(stores):
    async def scenario(store, clock):
        old = await store.acquire_lease("sweeper", "h1", 1000)
        clock.advance(1000)
        new = await store.acquire_lease("sweeper", "h2", 1000)
        assert await refused_by(store, commit_of(fence=(old.name, old.token))) == "fence"
        assert await store.load(RUN) is None
        await store.commit(commit_of(fence=(new.name, new.token)))

    stores.run(scenario)


def test_a_commit_under_a_grant_that_was_given_back_or_never_made_writes_nothing(stores):
    async def scenario(store, clock):
        lease = await store.acquire_lease("sweeper", "h1", 1000)
        await store.release_lease(lease)
        assert await refused_by(store, commit_of(fence=(lease.name, lease.token))) == "fence"
        assert await refused_by(store, commit_of(fence=("none", 1))) == "fence"
        assert await refused_by(store, commit_of(fence=("none", 0))) == "fence"

    stores.run(scenario)


@pytest.mark.parametrize("seed", range(5))
def test_tokens_never_decrease_and_only_the_newest_grant_writes(stores, seed):
    async def scenario(store, clock):
        chance, granted, version = random.Random(seed), [], 0
        for _ in range(120):
            clock.advance(chance.randrange(400))
            lease = await store.acquire_lease("sweeper", f"h{chance.randrange(3)}", 1000)
            if lease is not None:
                assert not granted or lease.token >= granted[-1].token
                same = granted and lease.token == granted[-1].token
                assert not same or lease.holder == granted[-1].holder
                granted.append(lease)
            elif chance.random() < 0.3:
                await store.release_lease(chance.choice(granted))
            if not granted:
                continue
            old = chance.choice(granted)
            wanted = commit_of(version=version + 1, fence=(old.name, old.token))
            if old.token < granted[-1].token:
                assert await refused_by(store, wanted) == "fence"
            elif lease is not None:
                await store.commit(wanted)
                version += 1
        assert granted[-1].token > 3

    stores.run(scenario)


def test_a_stale_holder_can_not_give_back_the_grant_of_its_successor(stores):
    async def scenario(store, clock):
        old = await store.acquire_lease("sweeper", "h1", 1000)
        clock.advance(1000)
        new = await store.acquire_lease("sweeper", "h2", 1000)
        await store.release_lease(old)
        await store.commit(commit_of(fence=(new.name, new.token)))
        assert (await store.acquire_lease("sweeper", "h2", 1000)).token == new.token

    stores.run(scenario)
