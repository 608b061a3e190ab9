"""What is Firestore's own: answers that get lost, races, costs, the server's time."""

from __future__ import annotations

import asyncio
import time

import pytest

from adapters.gcp.faults import ABORTED, DEADLINE, EXHAUSTED, UNAVAILABLE
from arco_flow.adapters.gcp.firestore_floors import LATE_MS, WHOLE_SECONDS
from arco_flow.adapters.gcp.firestore_wire import deleting, set_ms, setting
from arco_flow.adapters.gcp.pacing import Pace
from arco_flow.domain.errors import Contended, InvalidInput, OutcomeUnknown, Unavailable
from arco_flow.ports.store import Commit, Head, Posted
from conformance.google_cloud import firestore_calls

pytestmark = pytest.mark.emulator

RUN = "acme:prod:run:run_1"
REFUSED = "failed to connect to all addresses; last error: connection refused"


def commit_of(entity=RUN, version=1, *, status="running", segment=b"segment", **fields):
    return Commit(Head(entity, version, status, b"state"), version - 1, segment, **fields)


async def exactly_one(store, version=1):
    """Whether the commits of the scenario are in the store once, up to this version."""
    assert (await store.load(RUN)).version == version
    assert len(await store.segments(RUN)) == version
    assert await store.inbox(RUN, 10) == []


@pytest.mark.parametrize("code", [DEADLINE, UNAVAILABLE], ids=str)
@pytest.mark.parametrize("times", [1, 4])
def test_a_commit_that_landed_unheard_is_answered_as_stored(stores, code, times):
    async def scenario(store):
        await store.post(RUN, "e1", b"event")
        items = await store.inbox(RUN, 10)
        stores.answers.after(code, "Socket closed", times=times)
        head = await store.commit(
            commit_of(consumed=items, documents={("runs", "key"): b"mine"}, rows={"r": b"1"})
        )
        assert head == await store.load(RUN)
        assert (await store.commit(commit_of(version=2))).created_ms == head.created_ms
        await exactly_one(store, 2)

    stores.run(scenario)


def test_a_commit_that_landed_unheard_is_known_as_ours_after_others_went_on_from_it(stores):
    async def scenario(store):
        async def others():
            async with stores.open() as other:
                await other.load(RUN)
                await other.commit(commit_of(version=2, segment=b"theirs"))

        stores.answers.after(DEADLINE)
        stores.answers.meanwhile(others)
        head = await store.commit(commit_of())
        assert (head.version, head.status) == (1, "running")
        assert head.updated_ms >= head.created_ms > 0
        await exactly_one(store, 2)

    stores.run(scenario)


def test_a_commit_that_lost_its_race_is_not_taken_for_the_one_that_won(stores):
    async def scenario(store):
        async def others():
            async with stores.open() as other:
                await other.commit(commit_of(segment=b"theirs"))

        stores.answers.before(DEADLINE)
        stores.answers.meanwhile(others)
        with pytest.raises(Contended, match="is at version 1"):
            await store.commit(commit_of(segment=b"ours"))
        assert await store.segments(RUN) == [b"theirs"]

    stores.run(scenario)


def test_a_commit_without_any_answer_may_have_been_applied(stores):
    async def scenario(store):
        stores.answers.before(DEADLINE, times=4)
        with pytest.raises(OutcomeUnknown, match="DEADLINE_EXCEEDED"):
            await store.commit(commit_of())
        await store.commit(commit_of())
        await exactly_one(store)

    stores.run(scenario)


@pytest.mark.parametrize(("code", "text"), [(UNAVAILABLE, REFUSED), (EXHAUSTED, "quota")])
def test_a_commit_that_never_got_there_was_not_applied(stores, code, text):
    async def scenario(store):
        stores.answers.before(code, text, times=4)
        with pytest.raises(Unavailable) as raised:
            await store.commit(commit_of())
        assert not isinstance(raised.value, OutcomeUnknown)
        assert await store.load(RUN) is None

    stores.run(scenario)


def test_an_outage_shorter_than_the_patience_is_not_noticed(stores):
    async def scenario(store):
        stores.answers.before(UNAVAILABLE, REFUSED)
        stores.answers.before(EXHAUSTED)
        stores.answers.before(ABORTED)
        await store.commit(commit_of())
        await exactly_one(store)
        assert stores.answers.calls == 4

    stores.run(scenario)


class Counted(Pace):
    """Remembers after which attempts a caller would wait."""

    def __init__(self):
        super().__init__(attempts=4, first_ms=0)
        object.__setattr__(self, "waited", [])

    async def pause(self, attempt):
        self.waited.append(attempt)


@pytest.mark.parametrize(
    ("code", "text", "waited"),
    [
        (UNAVAILABLE, REFUSED, [0, 1, 2]),  # told at once that nothing was written
        (ABORTED, "Transaction lock timeout.", [0, 1, 2, 3]),  # will race again
        (DEADLINE, "", [0, 1, 2, 3]),  # may land before it is read back
    ],
    ids=["never sent", "locked", "in doubt"],
)
def test_after_the_last_attempt_only_what_a_while_can_change_waits_for_it(
    stores, code, text, waited
):
    async def scenario(_store):
        pace = Counted()
        stores.answers.before(code, text, times=4)
        async with stores.open(pace=pace, interceptors=(stores.answers,)) as store:
            with pytest.raises((Contended, Unavailable)):
                await store.commit(commit_of())
        assert pace.waited == waited

    stores.run(scenario)


def test_locks_that_are_never_free_are_a_lost_race(stores):
    async def scenario(store):
        stores.answers.before(ABORTED, "Transaction lock timeout.", times=4)
        with pytest.raises(Contended) as raised:
            await store.commit(commit_of())
        assert raised.value.details["precondition"] == "lock"

    stores.run(scenario)


@pytest.mark.parametrize("times", [1, 4])
def test_a_post_that_landed_unheard_is_created_once(stores, times):
    async def scenario(store):
        stores.answers.after(UNAVAILABLE, "Socket closed", times=times)
        assert await store.post(RUN, "e1", b"event") == Posted(True)
        assert await store.post(RUN, "e1", b"other") == Posted(False, b"event")
        assert len(await store.inbox(RUN, 10)) == 1

    stores.run(scenario)


def test_a_post_whose_forerunner_was_folded_meanwhile_is_created(stores):
    async def scenario(store):
        await store.post(RUN, "e1", b"first")
        items = await store.inbox(RUN, 10)

        async def fold():
            await store.commit(commit_of(consumed=items))

        stores.reads.meanwhile(fold)
        assert await store.post(RUN, "e1", b"second") == Posted(True)
        assert [item.body for item in await store.inbox(RUN, 10)] == [b"second"]

    stores.run(scenario)


def test_a_post_that_finds_only_locks_was_not_made(stores):
    async def scenario(store):
        stores.answers.before(ABORTED, times=100)
        with pytest.raises(Unavailable) as raised:
            await store.post(RUN, "e1", b"")
        assert not isinstance(raised.value, OutcomeUnknown)
        assert await store.inbox(RUN, 10) == []

    stores.run(scenario)


READS = [
    lambda store: store.load(RUN),
    lambda store: store.inbox(RUN, 10),
    lambda store: store.rows(RUN),
    lambda store: store.count_rows(RUN),
    lambda store: store.segments(RUN),
    lambda store: store.list_heads("acme:"),
    lambda store: store.overdue(1, 10),
    lambda store: store.document("runs", "key"),
]


@pytest.mark.parametrize("read", READS, ids=range(len(READS)))
def test_a_read_is_made_again_until_it_is_answered(stores, read):
    async def scenario(store):
        answer = await read(store)
        stores.reads.fail(UNAVAILABLE, times=3)
        assert await read(store) == answer
        stores.reads.fail(DEADLINE, times=50)
        with pytest.raises(Unavailable, match="DEADLINE_EXCEEDED") as raised:
            await read(store)
        assert not isinstance(raised.value, OutcomeUnknown)

    stores.run(scenario)


def test_a_commit_that_can_not_be_read_back_may_have_been_applied(stores):
    async def scenario(store):
        stores.answers.after(DEADLINE)
        stores.reads.fail(UNAVAILABLE, times=50)
        with pytest.raises(OutcomeUnknown, match="can not be read back"):
            await store.commit(commit_of())

    stores.run(scenario)


def test_a_database_that_was_set_back_is_taken_as_it_is(stores):
    async def scenario(store):
        for version in (1, 2, 3):
            await store.commit(commit_of(version=version))
        calls = firestore_calls(project=stores.project)
        everything = [f"heads/{RUN}", *(f"segments/{RUN}:{n:010}" for n in (1, 2, 3))]
        await calls.commit([deleting(calls.name(path)) for path in everything])
        await calls.close()
        await store.commit(commit_of())
        assert (await store.load(RUN)).version == 1
        await store.commit(commit_of(version=2))
        await exactly_one(store, 2)

    stores.run(scenario)


@pytest.mark.parametrize("times", [1, 4])
def test_a_lease_that_was_granted_unheard_is_ours(stores, times):
    async def scenario(store):
        stores.answers.after(DEADLINE, times=times)
        lease = await store.acquire_lease("sweeper", "h1", 60_000)
        assert (lease.holder, lease.token) == ("h1", 1)
        stores.answers.after(DEADLINE, times=times)
        await store.release_lease(lease)
        assert (await store.acquire_lease("sweeper", "h2", 60_000)).token == 2

    stores.run(scenario)


def test_of_twenty_processes_that_raise_a_head_each_commit_has_one_winner(stores):
    async def raise_it(wins):
        async with stores.open() as store:
            for _ in range(5):
                while True:
                    head = await store.load(RUN)
                    version = (head.version if head else 0) + 1
                    try:
                        await store.commit(commit_of(version=version))
                    except Contended:
                        continue
                    wins.append(version)
                    break

    async def scenario(store):
        wins = []
        await asyncio.gather(*(raise_it(wins) for _ in range(20)))
        assert sorted(wins) == list(range(1, 101))
        await exactly_one(store, 100)

    stores.run(scenario)


def test_a_thousand_posts_beside_folds_are_each_folded_once(stores):
    async def fold(store, folded):
        head, items = await store.load(RUN), await store.inbox(RUN, 400)
        version = (head.version if head else 0) + 1
        if items:
            try:
                await store.commit(commit_of(version=version, consumed=items))
            except Contended:
                return
            folded += [item.event_id for item in items]

    async def folding(folded, posting):
        async with stores.open() as store:
            while not posting.done() or await store.inbox(RUN, 1):
                await fold(store, folded)

    async def scenario(store):
        folded = []
        posting = asyncio.gather(*(store.post(RUN, f"e{n:04}", b"x" * 200) for n in range(1000)))
        await asyncio.gather(*(folding(folded, posting) for _ in range(3)))
        assert all(posted.created for posted in await posting)
        assert sorted(folded) == [f"e{n:04}" for n in range(1000)]
        assert await store.inbox(RUN, 10) == []

    stores.run(scenario)


def test_a_head_that_another_process_wrote_costs_one_read_more(stores):
    async def scenario(store):
        await store.commit(commit_of())
        async with stores.open(counts=(counts := type(stores.counts)())) as other:
            await other.commit(commit_of(version=2))
            await other.commit(commit_of(version=3))
            assert counts.so_far()["document_reads"] == 1
            assert counts.so_far()["document_writes"] == 4
        before = stores.counts.so_far()
        with pytest.raises(Contended, match="is at version 3"):
            await store.commit(commit_of(version=2))
        assert await store.load(RUN)
        with pytest.raises(Contended, match="is at version 3, not 1"):
            await store.commit(commit_of(version=2))
        # The last refusal came from what the load had seen.
        after = stores.counts.so_far()
        assert after["document_writes"] - before["document_writes"] == 2

    stores.run(scenario)


def test_a_stale_commit_is_refused_also_where_the_ledger_was_moved_elsewhere(stores):
    async def scenario(store):
        await store.commit(commit_of())
        async with stores.open() as other:
            await other.load(RUN)
            await other.commit(commit_of(version=2, segment=b"theirs"))
        calls = firestore_calls(project=stores.project)
        await calls.commit([deleting(calls.name(f"segments/{RUN}:0000000002"))])
        await calls.close()
        with pytest.raises(Contended, match="is at version 2, not 1"):
            await store.commit(commit_of(version=2))

    stores.run(scenario)


def test_operations_are_counted_as_they_are_paid_for(stores):
    async def scenario(store):
        async def cost(call):
            before = stores.counts.so_far()
            await call
            after = stores.counts.so_far()
            kinds = ("document_reads", "document_writes", "document_deletes")
            return tuple(after[kind] - before[kind] for kind in kinds)

        assert await cost(store.load(RUN)) == (1, 0, 0)
        assert await cost(store.inbox(RUN, 10)) == (1, 0, 0)
        assert await cost(store.post(RUN, "e1", b"")) == (0, 1, 0)
        assert await cost(store.post(RUN, "e2", b"")) == (0, 1, 0)
        items = await store.inbox(RUN, 10)
        assert await cost(store.inbox(RUN, 10)) == (2, 0, 0)
        # head, segment, a row, a document; two events.
        commit = commit_of(consumed=items, rows={"r": b""}, documents={("runs", "k"): b""})
        assert await cost(store.commit(commit)) == (0, 4, 2)
        assert await cost(store.now_ms()) == (0, 0, 0)
        assert await cost(store.count_rows(RUN)) == (1, 0, 0)
        assert await cost(store.overdue(1, 10)) == (3, 0, 0)
        assert await cost(store.list_heads("acme:prod:run:")) == (1, 0, 0)
        assert await cost(store.acquire_lease("sweeper", "h1", 1000)) == (1, 2, 0)

    stores.run(scenario)


def test_times_are_the_servers(stores):
    async def scenario(store):
        begin = time.time_ns() // 1_000_000
        told = await store.now_ms()
        first = await store.commit(commit_of())
        await store.post(RUN, "e1", b"")
        [item] = await store.inbox(RUN, 10)
        second = await store.commit(commit_of(version=2))
        end = time.time_ns() // 1_000_000
        assert begin <= told <= item.posted_ms <= second.updated_ms <= end
        assert begin <= first.created_ms == first.updated_ms <= item.posted_ms
        assert second.created_ms == first.created_ms
        assert await store.load(RUN) == second
        assert second.updated_ms <= await store.now_ms()

    stores.run(scenario)


def test_the_time_is_never_later_than_what_a_listing_after_it_has_seen(stores):
    async def scenario(store):
        async with stores.open() as other:
            for n in range(30):
                told = await store.now_ms()
                await other.post(RUN, f"e{n:02}", b"")
                items = await store.inbox(RUN, 100)
                assert len(items) == n + 1
                assert items[-1].posted_ms >= told

    stores.run(scenario)


def test_a_list_of_heads_needs_a_tenant(stores):
    async def scenario(store):
        with pytest.raises(InvalidInput, match="needs a tenant"):
            await store.list_heads("")

    stores.run(scenario)


def test_a_list_asked_for_by_many_statuses_and_labels_is_filled_past_what_does_not_fit(stores):
    async def scenario(store):
        for n in range(12):
            labels = {"by": "sensor", "odd": str(n % 3)}
            head = Head(f"acme:prod:run:{n:02}", 1, f"s{n % 2}", b"", labels=labels)
            await store.commit(Commit(head, 0, b""))
        many = [f"s{n}" for n in range(1, 40)]
        heads = await store.list_heads(
            "acme:prod:run:", statuses=many, labels={"by": "sensor", "odd": "0"}, limit=2
        )
        assert [head.entity[-2:] for head in heads] == ["09", "03"]

    stores.run(scenario)


def test_entities_behind_the_many_events_of_another_are_overdue_too(stores):
    async def scenario(store):
        for n in range(30):
            await store.post("acme:prod:run:busy", f"e{n}", b"")
        await store.post("acme:prod:run:quiet", "e1", b"")
        later = await store.now_ms() + 60_000
        assert await store.overdue(later, 5) == ["acme:prod:run:busy", "acme:prod:run:quiet"]

    stores.run(scenario)


# -- where a look for what is overdue begins ----------------------------------------------------


def posted_at(store, entity, ms):
    """A write of an item that was posted at this time, as in a database that was restored."""
    name = store._calls.name(f"inbox/{entity}:e")
    write = setting(name, {"entity": entity, "event": "e", "body": b""})
    set_ms(write.update.fields["posted"].timestamp_value, ms)
    return write


def owed_since(entity, ms):
    return Commit(Head(entity, 1, "running", b"", owed_since_ms=ms), 0, b"segment")


@pytest.mark.parametrize("what", ["posts", "debts"])
def test_a_look_for_what_is_overdue_begins_where_the_oldest_was_and_once_an_hour_before_all(
    stores, monkeypatch, what
):
    """An index keeps what was removed for a while, and a query over all of it grows slow."""

    async def scenario(store):
        now = await store.now_ms()

        async def add(name, ms):
            entity = f"acme:prod:run:{name}"
            if what == "posts":
                await store._calls.commit([posted_at(store, entity, ms)])
            else:
                await store.commit(owed_since(entity, ms))

        async def overdue():
            return [entity[-1] for entity in await store.overdue(now, 10)]

        assert await overdue() == []
        await add("a", now - 2 * LATE_MS)
        assert await overdue() == [], "nothing lands so late"
        await add("b", now - LATE_MS // 2)
        assert await overdue() == ["b"]
        async with stores.open() as other:
            assert [e[-1] for e in await other.overdue(now, 10)] == ["a", "b"]
            assert [e[-1] for e in await other.overdue(now, 1)] == ["a"]
            assert [e[-1] for e in await other.overdue(now, 10)] == ["a", "b"]
        ahead = store._floors._now() + WHOLE_SECONDS
        monkeypatch.setattr(store._floors, "_now", lambda: ahead)
        assert await overdue() == ["a", "b"]

    stores.run(scenario)
