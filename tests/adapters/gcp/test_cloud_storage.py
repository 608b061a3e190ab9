"""What is Cloud Storage's own: answers that get lost, files in parts, the official client."""

from __future__ import annotations

import http.client
import json
import time
import urllib.request
from collections import Counter

import pytest
from google.cloud import storage as official
from hypothesis import given
from hypothesis import strategies as st

from arco_flow.adapters.gcp.cloud_storage import CloudObjects
from arco_flow.adapters.gcp.operation_counts import OperationCounts
from arco_flow.adapters.gcp.pacing import Pace
from arco_flow.adapters.gcp.storage_http import IDLE_SECONDS
from arco_flow.adapters.gcp.storage_uploads import next_byte, parts_of
from arco_flow.domain.errors import OutcomeUnknown, Unavailable
from conformance.emulators import new_bucket, storage_url
from conformance.google_cloud import a_project

KIB = 1024
KEY = "tenants/acme/workspaces/prod/assets/a/part"


class Between(Pace):
    """Does something between the attempts of a request in place of waiting."""

    def __init__(self, work=lambda: None):
        super().__init__(attempts=6)
        object.__setattr__(self, "work", [work])

    def wait_s(self, attempt):
        if self.work:
            self.work.pop()()
        return 0


def administer(method, path, content=None):
    data = None if content is None else json.dumps(content).encode()
    request = urllib.request.Request(storage_url() + path, data=data, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


def plan(fault, operation="objects.insert", times=1, **more):
    entry = {"fault": fault, "operation": operation, **more}
    administer("PATCH", "/admin/faults", {"planned": [entry] * times})


def names_of(bucket):
    answer = administer("GET", f"/storage/v1/b/{bucket}/o")
    return [item["name"] for item in answer.get("items", ())]


@pytest.fixture
def bucket():
    yield new_bucket(a_project())
    administer("DELETE", "/admin/faults")


@pytest.fixture
def opened(bucket):
    """Opens stores on the bucket; they are closed after the test."""
    stores = []

    def opened(**options):
        options = {"pace": Between(), "emulator": storage_url()} | options
        stores.append(CloudObjects(bucket, **options))
        return stores[-1]

    yield opened
    for store in stores:
        store.close()


LOST = pytest.mark.parametrize("fault", ["landed", "landed_reset"])


@LOST
def test_a_creation_that_landed_unheard_is_ours(opened, fault):
    objects = opened()
    plan(fault)
    generation = objects.put_if_absent(KEY, b"mine")
    assert objects.get(KEY).generation == generation
    assert objects.put_if_absent(KEY, b"mine") is None


@LOST
def test_a_swap_that_landed_unheard_is_ours(opened, fault):
    objects = opened()
    first = objects.put_if_absent(KEY, b"1")
    plan(fault)
    second = objects.put_if_generation(KEY, b"2", first)
    assert objects.get(KEY).generation == second > first


def test_a_creation_that_lost_its_race_is_not_taken_for_the_same_bytes_of_the_winner(opened):
    other = opened()
    objects = opened(pace=Between(lambda: other.put_if_absent(KEY, b"same")))
    plan("unavailable")
    assert objects.put_if_absent(KEY, b"same") is None


def test_a_swap_that_was_overwritten_before_it_was_heard_of_has_moved_on(opened):
    other = opened()

    def overwrite():
        other.put_if_generation(KEY, b"theirs", other.get(KEY).generation)

    objects = opened(pace=Between(overwrite))
    first = objects.put_if_absent(KEY, b"1")
    plan("landed")
    assert objects.put_if_generation(KEY, b"2", first) is None
    assert objects.get(KEY).data == b"theirs"


def test_a_write_without_any_answer_may_have_been_applied_and_a_read_was_not(opened):
    objects = opened()
    plan("unavailable", times=6)
    with pytest.raises(OutcomeUnknown, match="did not answer POST"):
        objects.put_if_absent(KEY, b"x")
    plan("unavailable", "objects.download", times=6)
    with pytest.raises(Unavailable, match="did not answer GET") as raised:
        objects.get(KEY)
    assert not isinstance(raised.value, OutcomeUnknown)


def test_a_write_that_was_only_ever_refused_as_too_early_was_not_applied(opened):
    objects = opened()
    plan("too_many", times=6)
    with pytest.raises(Unavailable, match="429") as raised:
        objects.put_if_absent(KEY, b"x")
    assert not isinstance(raised.value, OutcomeUnknown)
    plan("too_many", times=5)
    assert objects.put_if_absent(KEY, b"x")


@LOST
def test_a_deletion_that_landed_unheard_was_one(opened, fault):
    objects = opened()
    objects.put_if_absent(KEY, b"x")
    plan(fault, "objects.delete")
    assert objects.delete(KEY)
    assert not objects.delete(KEY)


def test_a_repeated_deletion_does_not_remove_what_was_written_after_the_first(opened):
    other = opened()
    objects = opened(pace=Between(lambda: other.put_if_absent(KEY, b"new")))
    objects.put_if_absent(KEY, b"old")
    plan("landed", "objects.delete")
    assert objects.delete(KEY)
    assert objects.get(KEY).data == b"new"


def test_what_is_overwritten_between_the_look_and_the_deletion_is_deleted_all_the_same(opened):
    other = opened()
    objects = opened(pace=Between(lambda: other.put_if_generation(KEY, b"2", first)))
    first = other.put_if_absent(KEY, b"1")
    plan("too_many", "objects.delete")
    assert objects.delete(KEY)
    assert objects.get(KEY) is None


def test_a_bucket_that_does_not_exist_is_no_absent_object(opened):
    objects = CloudObjects("no-such-bucket", emulator=storage_url(), pace=Between())
    for call in (
        lambda: objects.get(KEY),
        lambda: objects.put_if_absent(KEY, b""),
        lambda: objects.list(""),
        lambda: objects.delete(KEY),
    ):
        with pytest.raises(Unavailable, match="fix: create the bucket"):
            call()
    objects.close()


@given(st.integers(1, 10**13), st.integers(1, 10**10))
def test_parts_cover_a_file_once_and_are_no_more_than_can_be_composed(size, part_bytes):
    parts = parts_of(KEY, size, part_bytes, "token")
    assert len(parts) <= 32
    assert all(part.size > 0 for part in parts)
    ends = [part.start + part.size for part in parts]
    assert [part.start for part in parts] == [0, *ends[:-1]]
    assert ends[-1] == size
    assert len({part.key for part in parts}) == len(parts)
    assert max(part.size for part in parts) <= max(part_bytes, -(-size // 32))


def test_parts_lie_in_the_scope_of_their_object():
    [part] = parts_of(KEY, 1, 1, "token")
    assert part.key == "tenants/acme/workspaces/prod/_parts/token/00"
    [part] = parts_of("other", 1, 1, "token")
    assert part.key == "_parts/token/00"


@pytest.fixture
def large(tmp_path):
    path = tmp_path / "large"
    path.write_bytes(b"".join(n.to_bytes(4, "big") for n in range(500 * KIB)))
    return path


FAULTS = [
    [],
    [("landed", "objects.insert"), ("landed_reset", "objects.insert")],
    [("unavailable", "uploads.begin"), ("landed", "uploads.begin")],
    [("landed", "objects.compose")],
    [("landed_reset", "objects.compose")],
    [("unavailable", "objects.delete"), ("landed", "objects.delete")],
]


@pytest.mark.parametrize("faults", FAULTS, ids=str)
def test_a_large_file_becomes_one_object_and_leaves_no_parts(opened, bucket, large, faults):
    objects, content = opened(whole_bytes=300 * KIB), large.read_bytes()
    for fault, operation in faults:
        plan(fault, operation)
    generation = objects.put_file_if_absent(KEY, str(large))
    stored = objects.get(KEY)
    assert (stored.data, stored.generation) == (content, generation)
    assert not large.exists()
    assert names_of(bucket) == [KEY]


def test_a_part_is_sent_in_pieces_from_where_the_upload_has_come_to(
    opened, bucket, large, monkeypatch
):
    monkeypatch.setattr("arco_flow.adapters.gcp.storage_uploads.PIECE_BYTES", 256 * KIB)
    objects, content = opened(whole_bytes=KIB * KIB), large.read_bytes()
    for fault in ("landed", "unavailable", "landed_reset"):
        plan(fault, "uploads.resume")
    assert objects.put_file_if_absent(KEY, str(large))
    assert objects.get(KEY).data == content
    assert names_of(bucket) == [KEY]


def test_a_part_whose_upload_the_service_has_lost_is_begun_anew_once(
    opened, bucket, large, monkeypatch
):
    monkeypatch.setattr("arco_flow.adapters.gcp.storage_uploads.PIECE_BYTES", 256 * KIB)
    objects, content = opened(whole_bytes=KIB * KIB), large.read_bytes()
    plan("gone", "uploads.resume")
    assert objects.put_file_if_absent(KEY, str(large))
    assert objects.get(KEY).data == content
    large.write_bytes(content)
    plan("gone", "uploads.resume", times=9)
    with pytest.raises(Unavailable, match="410"):
        objects.put_file_if_absent("other", str(large))
    assert names_of(bucket) == [KEY]


def test_a_large_file_is_left_alone_when_the_object_was_there(opened, bucket, large):
    objects, counts = opened(), OperationCounts()
    objects.put_if_absent(KEY, b"first")
    assert opened(whole_bytes=300 * KIB, counts=counts).put_file_if_absent(KEY, str(large)) is None
    assert large.exists()
    assert Counter(counts.so_far()) == Counter(object_reads=1)


def test_a_large_file_that_comes_second_leaves_the_object_and_no_parts(opened, bucket, large):
    other = opened()
    objects = opened(
        whole_bytes=300 * KIB, pace=Between(lambda: other.put_if_absent(KEY, b"first"))
    )
    plan("unavailable", "objects.compose")
    assert objects.put_file_if_absent(KEY, str(large)) is None
    assert large.exists()
    assert objects.get(KEY).data == b"first"
    assert names_of(bucket) == [KEY]


def test_a_large_file_that_can_not_be_sent_leaves_no_parts(opened, bucket, large):
    objects = opened(whole_bytes=300 * KIB)
    plan("unavailable", "objects.compose", times=6)
    with pytest.raises(OutcomeUnknown):
        objects.put_file_if_absent(KEY, str(large))
    assert large.exists()
    assert names_of(bucket) == []


@pytest.mark.parametrize(
    ("kept", "expected"), [("", 0), ("bytes=0-0", 1), ("bytes=0-524287", 524288)]
)
def test_the_next_byte_is_the_one_after_what_is_kept(kept, expected):
    assert next_byte({"range": kept} if kept else {}) == expected


def test_a_connection_that_was_idle_for_long_is_opened_anew(opened, monkeypatch):
    """It may have been dropped unheard, and a request on it would wait for its whole time-out."""
    objects, opens, ahead = opened(), [], [0.0]
    connect, now = http.client.HTTPConnection.connect, time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: now() + ahead[0])
    monkeypatch.setattr(
        http.client.HTTPConnection, "connect", lambda self: (opens.append(1), connect(self))
    )
    for ahead[0] in (0, 0, IDLE_SECONDS, IDLE_SECONDS, 3 * IDLE_SECONDS):
        objects.get(KEY)
    assert len(opens) == 3


def test_requests_are_counted_as_they_are_paid_for(opened):
    counts = OperationCounts()
    objects = opened(counts=counts)
    objects.put_if_absent("a", b"")
    objects.put_if_absent("a", b"")
    objects.get("a")
    objects.get("b")
    objects.list("")
    objects.delete("a")
    assert Counter(counts.so_far()) == Counter(object_writes=3, object_reads=3, object_deletes=1)


def test_the_official_client_reads_what_we_write_and_we_what_it_writes(opened, bucket, monkeypatch):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", storage_url())
    objects, hard = opened(), "tenants/é ü/100%/a+b?c#d"
    client = official.Client(project="tests")
    generation = objects.put_if_absent(hard, b"\r\n--ours\xff")
    blob = client.bucket(bucket).get_blob(hard)
    assert (blob.download_as_bytes(), blob.generation) == (b"\r\n--ours\xff", generation)
    client.bucket(bucket).blob("theirs").upload_from_string(b"theirs")
    assert objects.get("theirs").data == b"theirs"
    client.close()
