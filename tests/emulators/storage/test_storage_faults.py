"""Faults strike as they are set or planned, and what happened is counted."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from google.api_core import exceptions
from google.api_core.retry import Retry
from google.cloud.storage.retry import DEFAULT_RETRY

AT_ONCE = Retry(predicate=DEFAULT_RETRY._predicate, initial=0.001, maximum=0.002, timeout=20)


@pytest.fixture(autouse=True)
def quiet(url):
    yield
    requests.delete(f"{url}/admin/faults", timeout=30)
    requests.delete(f"{url}/admin/stats", timeout=30)


@pytest.fixture
def faults(http):
    def faults(**settings):
        answer = http.patch("/admin/faults", json=settings)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return faults


def _plan(faults, fault, operation="objects.insert", **more):
    faults(planned=[{"fault": fault, "operation": operation, **more}])


def test_a_refused_write_was_not_done(bucket, faults):
    _plan(faults, "unavailable")
    with pytest.raises(exceptions.ServiceUnavailable):
        bucket.blob("x").upload_from_string(b"x", retry=None)
    assert not bucket.blob("x").exists()


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        ("landed", exceptions.ServiceUnavailable),
        ("landed_reset", requests.exceptions.ConnectionError),
    ],
)
def test_a_landed_write_was_done_although_the_caller_saw_an_error(bucket, faults, fault, seen):
    _plan(faults, fault)
    blob = bucket.blob("x")
    with pytest.raises(seen):
        blob.upload_from_string(b"mine", if_generation_match=0, retry=None)
    assert bucket.blob("x").download_as_bytes() == b"mine"


@pytest.mark.parametrize("fault", ["landed", "landed_reset"])
def test_a_retry_of_a_landed_create_meets_its_own_work(bucket, faults, fault):
    """What a writer has to reckon with: 412, although the object is the one it wrote."""
    _plan(faults, fault)
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.blob("x").upload_from_string(b"mine", if_generation_match=0, retry=AT_ONCE)
    assert bucket.blob("x").download_as_bytes() == b"mine"


@pytest.mark.parametrize(
    ("operation", "call"),
    [
        ("objects.download", lambda blob: blob.download_as_bytes(retry=None)),
        ("objects.get", lambda blob: blob.reload(retry=None)),
        ("objects.list", lambda blob: list(blob.bucket.list_blobs(retry=None))),
        ("objects.delete", lambda blob: blob.delete(retry=None)),
        ("objects.patch", lambda blob: blob.patch(retry=None)),
        ("objects.compose", lambda blob: blob.compose([blob], retry=None)),
        ("objects.rewrite", lambda blob: blob.rewrite(blob, retry=None)),
        ("buckets.get", lambda blob: blob.bucket.reload(retry=None)),
    ],
)
def test_every_operation_can_be_struck_once(bucket, faults, operation, call):
    blob = bucket.blob("x")
    blob.upload_from_string(b"x")
    _plan(faults, "unavailable", operation)
    with pytest.raises(exceptions.ServiceUnavailable):
        call(blob)
    call(blob)


def test_a_planned_fault_waits_for_the_name_it_is_meant_for(bucket, faults):
    _plan(faults, "unavailable", name_contains="ledger/")
    bucket.blob("other").upload_from_string(b"x", retry=None)
    with pytest.raises(exceptions.ServiceUnavailable):
        bucket.blob("ledger/1").upload_from_string(b"x", retry=None)


def test_dice_with_a_seed_fall_the_same_again(bucket, faults, http):
    def struck():
        faults(seed=7, unavailable=0.3)
        path = f"/storage/v1/b/{bucket.name}"
        return [http.get(path).status_code for _ in range(40)]

    first = struck()
    assert 0 < first.count(503) < 40
    assert struck() == first


def test_a_client_that_retries_gets_through_all_faults(bucket, faults):
    faults(seed=3, unavailable=0.2, landed=0.1, landed_reset=0.1, api_delay_ms="0:2")
    for number in range(20):
        bucket.blob(f"n{number}").upload_from_string(b"%d" % number, retry=AT_ONCE)
    found = bucket.list_blobs(retry=AT_ONCE)
    contents = {blob.name: blob.download_as_bytes(retry=AT_ONCE) for blob in found}
    assert contents == {f"n{number}": b"%d" % number for number in range(20)}


def test_writes_of_one_name_may_not_follow_each_other_too_fast(bucket, faults):
    faults(write_gap_ms=60_000)
    bucket.blob("hot").upload_from_string(b"1")
    with pytest.raises(exceptions.TooManyRequests):
        bucket.blob("hot").upload_from_string(b"2", retry=None)
    with pytest.raises(exceptions.TooManyRequests):
        bucket.blob("hot").delete(retry=None)
    bucket.blob("cold").upload_from_string(b"1", retry=None)
    assert bucket.blob("hot").download_as_bytes() == b"1"


def test_requests_that_are_delayed_do_not_wait_for_each_other(bucket, url, faults):
    faults(api_delay_ms=100)
    with ThreadPoolExecutor(8) as pool:
        path = f"{url}/storage/v1/b/{bucket.name}"
        answers = list(pool.map(lambda _: requests.get(path, timeout=30), range(8)))
    assert sum(answer.elapsed.total_seconds() for answer in answers) >= 0.8


def test_knobs_are_shown_changed_one_by_one_and_turned_off(faults, http):
    faults(unavailable=0.1)
    shown = faults(landed=0.2, planned=[{"fault": "too_many"}])
    assert (shown["unavailable"], shown["landed"]) == (0.1, 0.2)
    assert shown["planned"] == [{"fault": "too_many", "operation": "", "name_contains": ""}]
    off = http.delete("/admin/faults").json()
    assert (off["unavailable"], off["landed"], off["planned"]) == (0, 0, [])


@pytest.mark.parametrize(
    "settings",
    [
        {"unavailable": 2},
        {"nonsense": 1},
        {"planned": [{"fault": "nonsense"}]},
        {"planned": ["unavailable"]},
        {"planned": [{}]},
    ],
)
def test_a_wrong_knob_is_refused_and_changes_nothing(http, settings):
    before = http.get("/admin/faults").json()
    assert http.patch("/admin/faults", json={"landed": 1, **settings}).status_code == 400
    assert http.get("/admin/faults").json() == before


def test_operations_are_counted_by_their_outcome(bucket, faults, http):
    http.delete("/admin/stats")
    blob = bucket.blob("x")
    blob.upload_from_string(b"x", if_generation_match=0)
    for _ in range(2):
        with pytest.raises(exceptions.PreconditionFailed):
            blob.upload_from_string(b"x", if_generation_match=0)
    _plan(faults, "landed", "objects.list")
    list(bucket.list_blobs(retry=AT_ONCE))
    stats = http.get("/admin/stats").json()
    assert stats["objects.insert"] == {"200": 1, "412": 2}
    assert stats["objects.list"] == {"200": 2}
    assert stats["faults"] == {"landed": 1}


def test_a_reset_forgets_all_buckets(client, bucket, http):
    assert http.post("/admin/reset").json()["buckets"] == 0
    assert client.lookup_bucket(bucket.name) is None
