"""Every document store: heads, inboxes, ledger segments, rows, documents, lists."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace

import pytest

from arco_flow.adapters.limits import COMMIT_LIMIT_BYTES, DOCUMENT_LIMIT_BYTES, ID_LIMIT_BYTES
from arco_flow.domain.errors import Contended, InvalidInput, TooLarge
from arco_flow.domain.page_size import PAGE_BYTES
from arco_flow.ports.store import Commit, Head, Posted

RUN = "acme:prod:run:run_1"

NO_IDS = [
    "", ".", "..", "__x__", "____", "a/b", "/", "a\0b", "a\ud800", "x" * (ID_LIMIT_BYTES + 1),
    "é" * (ID_LIMIT_BYTES // 2 + 1),
]  # fmt: skip
ODD_IDS = [
    "...", "_", "__", "___", "__x", "x__", "a b", "a\nb", ".a", "日本", "%2e%2e", "{}[]*?",
    "x" * ID_LIMIT_BYTES, "é" * (ID_LIMIT_BYTES // 2),
]  # fmt: skip


def commit_of(entity=RUN, version=1, *, status="running", segment=b"segment", **fields):
    head_fields = {
        key: fields.pop(key) for key in ("labels", "owed_since_ms", "timer_ms") if key in fields
    }
    head = Head(entity, version, status, b"state %d" % version, b"owed", **head_fields)
    return Commit(head, version - 1, segment, **fields)


async def refused_by(store, commit):
    with pytest.raises(Contended) as raised:
        await store.commit(commit)
    return raised.value.details["precondition"]


def test_an_unknown_entity_has_nothing(stores):
    async def scenario(store, clock):
        assert await store.load(RUN) is None
        assert await store.load_many([RUN]) == {}
        assert await store.inbox(RUN, 10) == []
        assert await store.rows(RUN) == {}
        assert await store.rows(RUN, ["a"]) == {}
        assert await store.count_rows(RUN) == 0
        assert await store.segments(RUN) == []
        assert await store.document("runs", "key") is None
        assert await store.overdue(clock.now_ms() + 1, 10) == []

    stores.run(scenario)


def test_a_commit_answers_the_head_as_stored(stores):
    async def scenario(store, clock):
        first = await store.commit(
            commit_of(labels={"asset": "orders"}, owed_since_ms=5, timer_ms=6)
        )
        assert first == Head(
            RUN, 1, "running", b"state 1", b"owed", 5, {"asset": "orders"}, 6,
            created_ms=clock.now_ms(), updated_ms=clock.now_ms(),
        )  # fmt: skip
        assert await store.load(RUN) == first
        assert await store.load_many([RUN, "acme:prod:run:none"]) == {RUN: first}

    stores.run(scenario)


def test_created_is_kept_and_updated_moves(stores):
    async def scenario(store, clock):
        first = await store.commit(commit_of())
        clock.advance(50)
        second = await store.commit(commit_of(version=2, status="done"))
        assert second.created_ms == first.created_ms
        assert second.updated_ms == first.updated_ms + 50
        assert await store.load(RUN) == second

    stores.run(scenario)


def test_the_stores_time_never_goes_back(stores):
    async def scenario(store, clock):
        before = await store.now_ms()
        clock.set_to(before - 60_000)
        assert await store.now_ms() == before
        assert (await store.commit(commit_of())).updated_ms == before

    stores.run(scenario)


def test_of_many_creations_of_a_head_one_wins(stores):
    async def scenario(store, clock):
        outcomes = await asyncio.gather(
            *(store.commit(commit_of(segment=b"by %d" % n)) for n in range(20)),
            return_exceptions=True,
        )
        won = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, Head)]
        assert len(won) == 1
        assert sum(isinstance(outcome, Contended) for outcome in outcomes) == 19
        assert await store.segments(RUN) == [b"by %d" % won[0]]

    stores.run(scenario)


def test_of_many_commits_on_one_version_one_wins(stores):
    async def scenario(store, clock):
        await store.commit(commit_of())
        outcomes = await asyncio.gather(
            *(store.commit(commit_of(version=2, rows={str(n): b""})) for n in range(20)),
            return_exceptions=True,
        )
        won = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, Head)]
        assert len(won) == 1
        assert await store.rows(RUN) == {str(won[0]): b""}

    stores.run(scenario)


@pytest.mark.parametrize("version", [1, 2, 4])
def test_a_stale_version_writes_nothing(stores, version):
    async def scenario(store, clock):
        await store.commit(commit_of())
        head = await store.commit(commit_of(version=2))
        await store.post(RUN, "e1", b"event")
        [item] = await store.inbox(RUN, 10)
        stale = commit_of(
            version=version, segment=b"stale", consumed=[item], rows={"r": b"stale"},
            documents={("runs", "key"): b"stale"}, labels={"stale": "yes"},
        )  # fmt: skip
        assert await refused_by(store, stale) == "head"
        assert await store.load(RUN) == head
        assert await store.inbox(RUN, 10) == [item]
        assert await store.rows(RUN) == {}
        assert await store.document("runs", "key") is None
        assert await store.segments(RUN) == [b"segment"] * 2

    stores.run(scenario)


def test_a_head_that_does_not_follow_its_version_is_a_mistake(stores):
    async def scenario(store, clock):
        commit = commit_of()
        with pytest.raises(InvalidInput, match="does not follow"):
            await store.commit(replace(commit, head=replace(commit.head, version=3)))

    stores.run(scenario)


def test_a_post_creates_once_and_shows_what_was_first(stores):
    async def scenario(store, clock):
        outcomes = await asyncio.gather(*(store.post(RUN, "e1", b"%d" % n) for n in range(10)))
        [winner] = [n for n, outcome in enumerate(outcomes) if outcome.created]
        others = [outcome for outcome in outcomes if not outcome.created]
        assert others == [Posted(False, b"%d" % winner)] * 9
        [item] = await store.inbox(RUN, 10)
        assert (item.entity, item.event_id, item.body) == (RUN, "e1", b"%d" % winner)
        assert item.posted_ms == clock.now_ms()

    stores.run(scenario)


def test_an_event_can_be_posted_again_once_it_is_folded(stores):
    async def scenario(store, clock):
        await store.post(RUN, "e1", b"one")
        await store.commit(commit_of(consumed=await store.inbox(RUN, 10)))
        assert await store.inbox(RUN, 10) == []
        assert await store.post(RUN, "e1", b"two") == Posted(True)

    stores.run(scenario)


def test_an_inbox_is_listed_in_the_order_of_event_ids_and_alone(stores):
    async def scenario(store, clock):
        for event_id in ("b", "a:2", "é", "a", "Z", "a:10"):
            await store.post(RUN, event_id, event_id.encode())
        await store.post(RUN + "0", "stranger", b"")
        items = await store.inbox(RUN, 10)
        assert [item.event_id for item in items] == ["Z", "a", "a:10", "a:2", "b", "é"]
        assert await store.inbox(RUN, 2) == items[:2]

    stores.run(scenario)


def test_a_replaced_item_is_another_revision_with_a_new_time(stores):
    async def scenario(store, clock):
        await store.post(RUN, "beat", b"1", replace=True)
        [before] = await store.inbox(RUN, 10)
        clock.advance(10)
        assert (await store.post(RUN, "beat", b"2", replace=True)).created
        [after] = await store.inbox(RUN, 10)
        assert after.revision != before.revision
        assert after.posted_ms == before.posted_ms + 10
        assert await refused_by(store, commit_of(consumed=[before])) == "inbox"
        assert await store.inbox(RUN, 10) == [after]
        await store.commit(commit_of(consumed=[after]))
        assert await store.inbox(RUN, 10) == []

    stores.run(scenario)


def test_an_item_is_consumed_once(stores):
    async def scenario(store, clock):
        await store.post(RUN, "e1", b"")
        await store.post(RUN, "e2", b"")
        items = await store.inbox(RUN, 10)
        await store.commit(commit_of(consumed=items[:1]))
        again = commit_of(version=2, consumed=items, segment=b"twice")
        assert await refused_by(store, again) == "inbox"
        assert await store.inbox(RUN, 10) == items[1:]
        assert await store.segments(RUN) == [b"segment"]

    stores.run(scenario)


def test_an_item_that_was_consumed_and_posted_again_is_not_the_one_that_was_seen(stores):
    async def scenario(store, clock):
        await store.post(RUN, "e1", b"same")
        seen = await store.inbox(RUN, 10)
        await store.commit(commit_of(consumed=seen))
        await store.post(RUN, "e1", b"same")
        assert await refused_by(store, commit_of(version=2, consumed=seen)) == "inbox"

    stores.run(scenario)


def test_another_entitys_events_can_not_be_consumed(stores):
    async def scenario(store, clock):
        await store.post("acme:prod:run:other", "e1", b"")
        items = await store.inbox("acme:prod:run:other", 10)
        with pytest.raises(InvalidInput, match="another entity"):
            await store.commit(commit_of(consumed=items))

    stores.run(scenario)


def test_documents_are_created_together_with_the_head_or_not_at_all(stores):
    async def scenario(store, clock):
        both = {("runs", "key"): b"first", ("runs", "other"): b"first"}
        await store.commit(commit_of(documents=both))
        late = commit_of(
            "acme:prod:run:run_2",
            documents={("runs", "third"): b"late", ("runs", "key"): b"late"},
            rows={"r": b"late"},
        )
        assert await refused_by(store, late) == "document"
        assert await store.document("runs", "key") == b"first"
        assert await store.document("runs", "third") is None
        assert await store.load("acme:prod:run:run_2") is None
        assert await store.rows("acme:prod:run:run_2") == {}

    stores.run(scenario)


def test_of_many_reservations_of_a_key_one_wins(stores):
    async def scenario(store, clock):
        outcomes = await asyncio.gather(
            *(
                store.commit(
                    commit_of(f"acme:prod:run:{n}", documents={("runs", "key"): b"%d" % n})
                )
                for n in range(10)
            ),
            return_exceptions=True,
        )
        [won] = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, Head)]
        assert await store.document("runs", "key") == b"%d" % won
        heads = await store.list_heads("acme:prod:run:")
        assert [head.entity for head in heads] == [f"acme:prod:run:{won}"]

    stores.run(scenario)


def test_rows_are_set_changed_and_deleted_by_commits(stores):
    async def scenario(store, clock):
        await store.commit(commit_of(rows={"a": b"1", "b": b"2", "c": b"3", "none": None}))
        await store.commit(commit_of(version=2, rows={"a": b"9", "b": None}))
        await store.commit(commit_of("acme:prod:run:other", rows={"a": b"stranger"}))
        assert await store.rows(RUN) == {"a": b"9", "c": b"3"}
        assert await store.rows(RUN, ["c", "b", "a"]) == {"a": b"9", "c": b"3"}
        assert await store.count_rows(RUN) == 2

    stores.run(scenario)


def test_rows_are_paged_in_key_order_but_asked_for_by_key_without_a_limit(stores):
    async def scenario(store, clock):
        keys = [f"{n:04}" for n in range(1200)]
        await store.commit(commit_of(rows=dict.fromkeys(keys, b"x")))
        first = await store.rows(RUN)
        assert list(first) == keys[:1000]
        assert list(await store.rows(RUN, after=keys[999])) == keys[1000:]
        assert list(await store.rows(RUN, after="0009", limit=2)) == ["0010", "0011"]
        assert len(await store.rows(RUN, keys, limit=5)) == 1200

    stores.run(scenario)


def test_a_page_of_rows_or_segments_ends_with_the_one_that_makes_it_too_long(stores):
    body = b"x" * (PAGE_BYTES // 5)
    """Five of them are a little less than a page."""

    async def scenario(store, _clock):
        for n in range(1, 8):
            commit = commit_of(version=n, segment=b"%d" % n + body, rows={str(n): body})
            await store.commit(commit)
        first = await store.rows(RUN)
        assert (list(first), {*first.values()}) == (list("123456"), {body})
        assert list(await store.rows(RUN, after="6")) == ["7"]
        assert list(await store.rows(RUN, limit=2)) == ["1", "2"]
        assert len(await store.rows(RUN, list("1234567"))) == 7, "by key, all are meant"
        assert [raw[:1] for raw in await store.segments(RUN)] == [*map(str.encode, "12345")]
        assert [raw[:1] for raw in await store.segments(RUN, after=5)] == [b"6", b"7"]

    stores.run(scenario)


def test_the_row_of_one_key_is_read_of_many_entities_at_once(stores):
    names = [f"acme:prod:asset:shop.a{number}" for number in range(5)]

    async def scenario(store, _clock):
        assert await store.row_of_each([], "_") == {}
        for number, name in enumerate(names[:3]):
            await store.commit(commit_of(name, rows={"_": b"%d" % number, "other": b"x"}))
        await store.commit(commit_of(names[3], rows={"other": b"x"}))
        found = await store.row_of_each(names, "_")
        assert found == {names[0]: b"0", names[1]: b"1", names[2]: b"2"}
        assert await store.row_of_each(names[1:2], "other") == {names[1]: b"x"}

    stores.run(scenario)


def test_segments_are_paged_in_order(stores):
    async def scenario(store, clock):
        for version in range(1, 13):
            await store.commit(commit_of(version=version, segment=b"%d" % version))
        assert await store.segments(RUN, limit=2) == [b"1", b"2"]
        assert await store.segments(RUN, after=9) == [b"10", b"11", b"12"]
        assert await store.segments(RUN, after=12) == []

    stores.run(scenario)


def test_heads_are_listed_newest_first_in_pages(stores):
    async def scenario(store, clock):
        for n in (3, 1, 2, 5, 4):
            await store.commit(commit_of(f"acme:prod:run:{n}"))
            if n != 1:
                clock.advance(10)
        await store.commit(commit_of("acme:prod:runs:x"))
        await store.commit(commit_of("acme:test:run:y"))
        everything = await store.list_heads("acme:prod:run:")
        names = [head.entity.rpartition(":")[2] for head in everything]
        # 1 and 2 were created in the same millisecond.
        assert names == ["4", "5", "2", "1", "3"]
        pages, before = [], None
        while page := await store.list_heads("acme:prod:run:", before=before, limit=2):
            pages += page
            before = (page[-1].created_ms, page[-1].entity)
        assert pages == everything

    stores.run(scenario)


def test_a_listed_head_tells_all_but_its_state(stores):
    async def scenario(store, clock):
        stored = await store.commit(
            commit_of(labels={"asset": "orders"}, owed_since_ms=7, timer_ms=8)
        )
        [listed] = await store.list_heads("acme:prod:run:")
        assert replace(listed, state=stored.state, owed=stored.owed) == stored

    stores.run(scenario)


def test_heads_are_filtered_by_status_and_labels(stores):
    async def scenario(store, clock):
        for n, (status, labels) in enumerate(
            [
                ("running", {"asset": "a", "by": "schedule"}),
                ("failed", {"asset": "a"}),
                ("done", {"asset": 'odd"$.[key]', "by": "sensor"}),
                ("running", {"asset": "b", "by": "sensor", "odd\"k'": "é"}),
            ]
        ):
            await store.commit(commit_of(f"acme:prod:run:{n}", status=status, labels=labels))
            clock.advance(1)

        async def found(**filters):
            heads = await store.list_heads("acme:prod:run:", **filters)
            return "".join(head.entity[-1] for head in heads)

        assert await found(statuses=["running"]) == "30"
        assert await found(statuses=["running", "done", "running"]) == "320"
        assert await found(statuses=["running", "done"], limit=2) == "32"
        assert await found(statuses=["unknown"]) == ""
        assert await found(labels={"by": "sensor"}) == "32"
        assert await found(labels={"by": "sensor", "asset": "b"}) == "3"
        assert await found(labels={"asset": 'odd"$.[key]'}) == "2"
        assert await found(labels={"odd\"k'": "é"}) == "3"
        assert await found(labels={"asset": "a"}, statuses=["failed"]) == "1"
        assert await found(labels={"absent": ""}) == ""

    stores.run(scenario)


def test_a_list_follows_a_change_of_status(stores):
    async def scenario(store, clock):
        await store.commit(commit_of())
        await store.commit(commit_of(version=2, status="done"))
        assert await store.list_heads("acme:prod:run:", statuses=["running"]) == []
        assert len(await store.list_heads("acme:prod:run:", statuses=["done"])) == 1

    stores.run(scenario)


def test_a_list_may_span_kinds(stores):
    async def scenario(store, clock):
        for entity in ("acme:prod:run:1", "acme:prod:asset:1", "acme:prod2:run:1"):
            await store.commit(commit_of(entity))
            clock.advance(1)
        heads = await store.list_heads("acme:prod:")
        assert [head.entity for head in heads] == ["acme:prod:asset:1", "acme:prod:run:1"]

    stores.run(scenario)


def test_overdue_names_old_events_and_old_debts_once_and_the_oldest_first(stores):
    async def scenario(store, clock):
        start = clock.now_ms()
        await store.post("acme:prod:run:mail", "e1", b"")
        await store.post("acme:prod:run:mail", "e2", b"")
        await store.commit(commit_of("acme:prod:run:debt", owed_since_ms=start - 5))
        await store.commit(commit_of("acme:prod:run:free"))
        clock.advance(10)
        await store.post("acme:prod:run:new", "e1", b"")
        await store.post("acme:prod:run:debt", "e1", b"")
        assert await store.overdue(start - 5, 10) == []
        assert await store.overdue(start + 1, 10) == ["acme:prod:run:debt", "acme:prod:run:mail"]
        assert await store.overdue(start + 1, 1) == ["acme:prod:run:debt"]
        assert len(await store.overdue(start + 11, 10)) == 3

    stores.run(scenario)


def test_overdue_names_timers_that_should_have_fired(stores):
    async def scenario(store, clock):
        await store.commit(commit_of("acme:prod:run:late", timer_ms=100))
        await store.commit(commit_of("acme:prod:run:early", timer_ms=300))
        await store.commit(commit_of("acme:prod:run:both", timer_ms=200, owed_since_ms=50))
        assert await store.overdue(100, 10) == ["acme:prod:run:both"]
        assert await store.overdue(101, 10) == ["acme:prod:run:both", "acme:prod:run:late"]
        await store.commit(commit_of("acme:prod:run:late", 2, timer_ms=900))
        assert await store.overdue(101, 10) == ["acme:prod:run:both"]

    stores.run(scenario)


def test_what_is_paid_and_folded_is_not_overdue(stores):
    async def scenario(store, clock):
        await store.post(RUN, "e1", b"")
        await store.commit(commit_of(consumed=await store.inbox(RUN, 1), owed_since_ms=1))
        await store.commit(commit_of(version=2))
        assert await store.overdue(clock.now_ms() + 1, 10) == []

    stores.run(scenario)


def test_a_document_over_the_limit_is_refused_and_one_at_the_limit_is_stored(stores):
    async def scenario(store, clock):
        full, over = bytes(DOCUMENT_LIMIT_BYTES), bytes(DOCUMENT_LIMIT_BYTES + 1)
        assert (await store.post(RUN, "full", full)).created
        with pytest.raises(TooLarge, match="fix"):
            await store.post(RUN, "over", over)
        for commit in (
            commit_of(segment=over),
            commit_of(rows={"r": over}),
            commit_of(documents={("runs", "k"): over}),
            replace(commit_of(), head=Head(RUN, 1, "running", over)),
        ):
            with pytest.raises(TooLarge):
                await store.commit(commit)
        assert await store.load(RUN) is None
        assert [item.body for item in await store.inbox(RUN, 10)] == [full]
        await store.commit(commit_of(segment=full, rows={"r": full}))
        assert await store.segments(RUN) == [full]

    stores.run(scenario)


def test_a_commit_over_the_limit_is_refused_whole(stores):
    async def scenario(store, clock):
        part = bytes(512 * 1024)
        # Google's emulator takes less than Firestore does.
        parts = getattr(store, "commit_limit_bytes", COMMIT_LIMIT_BYTES) // len(part)
        fits = {str(n): part for n in range(parts - 1)}
        with pytest.raises(TooLarge, match="commit"):
            await store.commit(commit_of(rows={**fits, "more": part, "last": part}))
        assert await store.count_rows(RUN) == 0
        await store.commit(commit_of(rows=fits))
        assert await store.count_rows(RUN) == parts - 1

    stores.run(scenario)


@pytest.mark.parametrize("name", NO_IDS, ids=ascii)
def test_what_firestore_does_not_take_as_an_id_is_refused_and_nothing_is_written(stores, name):
    async def scenario(store, clock):
        for call in (
            store.post(name, "e1", b""),
            store.post(RUN, name, b""),
            store.commit(commit_of(name)),
            store.commit(commit_of(rows={"r": b"", name: b""})),
            store.commit(commit_of(rows={name: None})),
            store.commit(commit_of(documents={("runs", name): b""})),
            store.commit(commit_of(documents={(name, "key"): b""})),
            store.acquire_lease(name, "h1", 1000),
        ):
            with pytest.raises(InvalidInput, match="can not be the id of a document"):
                await call
        assert await store.load(RUN) is None
        assert await store.rows(RUN) == {}
        assert await store.inbox(RUN, 10) == []

    stores.run(scenario)


@pytest.mark.parametrize("name", ODD_IDS, ids=ascii)
def test_an_odd_id_is_only_a_name(stores, name):
    async def scenario(store, clock):
        await store.post(name, name, b"event")
        [item] = await store.inbox(name, 10)
        commit = commit_of(name, rows={name: b"row"}, documents={(name, name): b"document"})
        await store.commit(replace(commit, consumed=[item]))
        assert (await store.load(name)).version == 1
        assert await store.rows(name) == {name: b"row"}
        assert await store.rows(name, [name]) == {name: b"row"}
        assert await store.document(name, name) == b"document"
        assert await store.segments(name) == [b"segment"]
        assert (await store.acquire_lease(name, "h1", 1000)).name == name

    stores.run(scenario)


def test_lists_of_heads_and_of_what_is_overdue_follow_every_change(stores):
    async def scenario(store, clock):
        chance = random.Random(7)
        names = [f"acme:{w}:run:{n}" for w in ("prod", "test") for n in range(6)]
        heads, waiting = {}, {}
        for _ in range(300):
            clock.advance(chance.randrange(3))
            name = chance.choice(names)
            if chance.random() < 0.4:
                await store.post(name, f"e{chance.randrange(3)}", b"", replace=True)
            else:
                items = (await store.inbox(name, 9))[: chance.randrange(4)]
                known = heads.get(name)
                heads[name] = await store.commit(
                    commit_of(
                        name,
                        known.version + 1 if known else 1,
                        status=chance.choice(["running", "done"]),
                        timer_ms=chance.choice([0, clock.now_ms() + chance.randrange(-9, 9)]),
                        owed_since_ms=chance.choice([0, clock.now_ms() - chance.randrange(9)]),
                        consumed=items,
                    )
                )
            waiting[name] = await store.inbox(name, 9)
        everything = sorted(heads.values(), key=lambda h: (h.created_ms, h.entity), reverse=True)
        for prefix in ("acme:prod:run:", "acme:", "acme:test:run:3"):
            for status in ("running", "done"):
                assert [h.entity for h in await store.list_heads(prefix, statuses=[status])] == [
                    h.entity
                    for h in everything
                    if h.entity.startswith(prefix) and h.status == status
                ]
        since = {name: _waits_since(heads.get(name), waiting.get(name, [])) for name in names}
        for before_ms in (clock.now_ms() - 50, clock.now_ms(), clock.now_ms() + 20):
            late = sorted((ms, name) for name, ms in since.items() if ms and ms < before_ms)
            assert await store.overdue(before_ms, 100) == [name for _, name in late]

    stores.run(scenario)


def _waits_since(head, items):
    times = [item.posted_ms for item in items]
    if head is not None:
        times += [ms for ms in (head.owed_since_ms, head.timer_ms) if ms]
    return min(times, default=0)
