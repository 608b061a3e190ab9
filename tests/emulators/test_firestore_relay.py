"""The relay before Google's Firestore emulator: official clients and our own store through it."""

from __future__ import annotations

import asyncio
import threading

import pytest
import requests
from google.api_core.exceptions import Aborted, ResourceExhausted, ServiceUnavailable
from google.cloud import firestore

from arco_emulators.firestore import relay
from arco_flow.adapters.gcp.firestore_calls import FirestoreCalls
from arco_flow.adapters.gcp.firestore_store import FirestoreStore
from arco_flow.adapters.gcp.pacing import Pace
from arco_flow.domain.errors import Contended, OutcomeUnknown, Unavailable
from arco_flow.ports.store import Commit, Head, Posted
from conformance.google_cloud import a_project
from emulators.targets import SECONDS

pytestmark = pytest.mark.emulator

RUN = "acme:prod:run:run_1"
QUICK = Pace(attempts=4, first_ms=1, timeout_s=20)


@pytest.fixture(scope="module")
def running(loop, emulators):
    google = next(served for served in emulators.google if served.name == "firestore")
    return loop.enter(relay.serving(f"127.0.0.1:{google.port}"))


@pytest.fixture
def faults(running):
    """Changes the knobs, as a test would from another process."""
    url = f"http://127.0.0.1:{running.admin_port}/admin/faults"

    def change(**knobs):
        answer = requests.patch(url, json=knobs, timeout=SECONDS)
        assert answer.ok, answer.text

    yield change
    assert requests.delete(url, timeout=SECONDS).ok


@pytest.fixture
def project(running, monkeypatch):
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", f"127.0.0.1:{running.port}")
    return a_project()


@pytest.fixture
def db(project):
    client = firestore.Client(project=project)
    yield client
    client.close()


@pytest.fixture
def run(running, project):
    """Gives a scenario a store of an empty project."""

    def run(scenario):
        async def main():
            address = f"127.0.0.1:{running.port}"
            store = FirestoreStore("", calls=FirestoreCalls(project, emulator=address, pace=QUICK))
            try:
                async with asyncio.timeout(60):
                    await scenario(store)
            finally:
                await store.close()

        asyncio.run(main())

    return run


def test_the_official_client_works_through_it(db):
    runs = db.collection("runs")
    runs.document("r1").create({"state": "QUEUED", "size": 1})
    batch = db.batch()
    batch.set(runs.document("r2"), {"state": "QUEUED", "size": 2})
    batch.update(runs.document("r1"), {"state": "RUNNING"})
    batch.commit()
    queued = runs.where(filter=firestore.FieldFilter("state", "==", "QUEUED"))
    assert [found.id for found in queued.stream()] == ["r2"]
    assert runs.count().get()[0][0].value == 2
    assert {found.id for found in db.get_all([runs.document("r1"), runs.document("r2")])}
    assert [found.id for found in db.collections()] == ["runs"]

    @firestore.transactional
    def grow(transaction):
        size = runs.document("r1").get(transaction=transaction).get("size")
        transaction.update(runs.document("r1"), {"size": size + 1})

    grow(db.transaction())
    assert runs.document("r1").get().to_dict() == {"state": "RUNNING", "size": 2}
    runs.document("r1").delete()
    assert not runs.document("r1").get().exists


def test_the_official_asynchronous_client_works_through_it(project):
    async def scenario():
        db = firestore.AsyncClient(project=project)
        run = db.document("runs/r1")
        await run.create({"state": "QUEUED"})
        assert (await run.get()).to_dict() == {"state": "QUEUED"}
        assert [found.id async for found in db.collection("runs").stream()] == ["r1"]
        db.close()

    asyncio.run(scenario())


def test_a_listener_hears_of_every_change(db):
    heard, changed = [], threading.Event()

    def tell(snapshots, _changes, _time):
        heard.extend(snapshot.to_dict() for snapshot in snapshots)
        if {"n": 2} in heard:
            changed.set()

    document = db.document("runs/r1")
    document.set({"n": 1})
    watch = document.on_snapshot(tell)
    document.set({"n": 2})
    assert changed.wait(SECONDS)
    watch.unsubscribe()


def test_large_answers_pass_and_what_is_too_large_is_refused_by_the_emulator(db):
    documents = [db.document(f"large/d{number}") for number in range(8)]
    for document in documents:
        document.set({"body": b"x" * 900_000})
    # In one message, where queries are answered by many.
    listed = list(db.collection("large").list_documents(page_size=100))
    assert len(listed) == 8
    batch = db.batch()
    for document in documents:
        batch.set(document, {"body": b"y" * 900_000})
    with pytest.raises(ResourceExhausted, match="4194304"):
        batch.commit(retry=None)


def test_faults_are_changed_while_it_runs_and_counted(db, faults, running):
    url = f"http://127.0.0.1:{running.admin_port}/admin"
    requests.delete(f"{url}/stats", timeout=SECONDS)
    document = db.document("runs/r1")
    faults(planned=[{"fault": "contended", "operation": "Commit", "contains": "runs/r1"}])
    with pytest.raises(Aborted, match="contention"):
        document.create({}, retry=None)
    document.create({}, retry=None)
    faults(unavailable=1)
    with pytest.raises(ServiceUnavailable):
        document.set({}, retry=None)
    told = requests.get(f"{url}/stats", timeout=SECONDS).json()
    assert told["calls"] == {"Commit": 3}
    assert told["faults"] == {"contended": 1, "unavailable": 1}
    refused = requests.patch(f"{url}/faults", json={"planned": [{"fault": "x"}]}, timeout=SECONDS)
    assert (refused.status_code, "unavailable, contended, landed" in refused.text) == (400, True)


def commit_of(version=1, *, segment=b"segment", **fields):
    return Commit(Head(RUN, version, "running", b"state"), version - 1, segment, **fields)


def landing(times):
    return [{"fault": "landed", "operation": "Commit"}] * times


@pytest.mark.parametrize("times", [1, 4])
def test_a_commit_whose_answers_are_lost_is_done_once_and_answered_as_stored(run, faults, times):
    async def scenario(store):
        await store.post(RUN, "e1", b"event")
        items = await store.inbox(RUN, 10)
        faults(planned=landing(times))
        head = await store.commit(commit_of(consumed=items, rows={"r": b"1"}))
        assert head == await store.load(RUN)
        await store.commit(commit_of(2))
        assert await store.segments(RUN) == [b"segment"] * 2
        assert await store.inbox(RUN, 10) == []

    run(scenario)


def test_commits_are_done_once_though_no_answer_ever_comes_back(run, faults):
    async def scenario(store):
        faults(landed=1)
        with pytest.raises(OutcomeUnknown):
            await store.commit(commit_of())
        faults(landed=0)
        assert (await store.load(RUN)).version == 1
        with pytest.raises(Contended, match="is at version 1"):
            await store.commit(commit_of(segment=b"again"))
        assert await store.segments(RUN) == [b"segment"]

    run(scenario)


@pytest.fixture
def all_landed(running):
    """Returns when what was refused and is to land later is done."""

    def wait():
        url = f"http://127.0.0.1:{running.admin_port}/admin/idle"
        assert requests.get(url, timeout=SECONDS).ok

    return wait


def test_a_commit_that_lands_behind_its_next_attempt_is_done_once(run, faults, all_landed):
    async def scenario(store):
        await store.post(RUN, "e1", b"event")
        items = await store.inbox(RUN, 10)
        faults(planned=landing(1), landed_ms=200)
        head = await store.commit(commit_of(consumed=items, rows={"r": b"1"}))
        all_landed()
        assert head == await store.load(RUN)
        assert await store.segments(RUN) == [b"segment"]

    run(scenario)


def test_a_commit_that_lands_after_all_attempts_was_not_called_undone(run, faults, all_landed):
    async def scenario(store):
        faults(planned=landing(4), landed_ms=2000)
        with pytest.raises(OutcomeUnknown):
            await store.commit(commit_of())
        assert await store.load(RUN) is None
        all_landed()
        assert (await store.load(RUN)).version == 1
        assert await store.segments(RUN) == [b"segment"]

    run(scenario)


def test_of_two_commits_whose_answers_are_lost_one_wins_and_the_other_is_contended(run, faults):
    async def scenario(store):
        faults(planned=landing(2))
        ends = await asyncio.gather(
            *(store.commit(commit_of(segment=name)) for name in (b"one", b"two")),
            return_exceptions=True,
        )
        won = [end for end in ends if isinstance(end, Head)]
        lost = [end for end in ends if isinstance(end, Contended)]
        assert (len(won), len(lost)) == (1, 1)
        assert await store.segments(RUN) == [(b"one", b"two")[ends.index(won[0])]]

    run(scenario)


def test_a_commit_that_is_refused_unheard_is_contended(run, faults):
    async def scenario(store):
        await store.commit(commit_of(segment=b"theirs"))
        faults(planned=landing(1))
        with pytest.raises(Contended, match="is at version 1"):
            await store.commit(commit_of(segment=b"ours"))
        assert await store.segments(RUN) == [b"theirs"]

    run(scenario)


def test_a_commit_that_finds_only_locks_is_contended_and_not_done(run, faults):
    async def scenario(store):
        faults(contended=1)
        with pytest.raises(Contended) as raised:
            await store.commit(commit_of())
        assert raised.value.details["precondition"] == "lock"
        assert await store.load(RUN) is None

    run(scenario)


def test_posts_and_leases_whose_answers_are_lost_are_ours(run, faults):
    async def scenario(store):
        faults(planned=landing(2))
        assert await store.post(RUN, "e1", b"event") == Posted(True)
        assert await store.post(RUN, "e1", b"other") == Posted(False, b"event")
        faults(planned=landing(1))
        lease = await store.acquire_lease("sweep", "me", 1000)
        assert (lease.holder, lease.token) == ("me", 1)
        await store.commit(commit_of(fence=("sweep", 1)))

    run(scenario)


def test_reads_are_made_again_and_never_half(run, faults):
    async def scenario(store):
        await store.commit(commit_of(rows={f"r{number}": b"1" for number in range(20)}))
        faults(planned=[{"fault": "landed"}, {"fault": "unavailable"}])
        assert len(await store.rows(RUN)) == 20
        faults(unavailable=1)
        with pytest.raises(Unavailable):
            await store.rows(RUN)

    run(scenario)
