"""A write under a precondition happens only while the precondition holds."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from google.api_core import exceptions

RACERS = 20


def _stale(blob):
    """A generation that the object had, and has no more."""
    blob.upload_from_string(b"first")
    generation = blob.generation
    blob.upload_from_string(b"second")
    return generation


def test_an_object_is_created_only_where_there_is_none(bucket):
    blob = bucket.blob("run/head.json")
    blob.upload_from_string(b"1", if_generation_match=0)
    with pytest.raises(exceptions.PreconditionFailed) as refused:
        blob.upload_from_string(b"2", if_generation_match=0)
    assert refused.value.code == 412
    assert blob.download_as_bytes() == b"1"


def test_an_object_is_swapped_only_in_the_generation_that_was_read(bucket):
    blob = bucket.blob("pointer")
    stale = _stale(blob)
    with pytest.raises(exceptions.PreconditionFailed):
        blob.upload_from_string(b"third", if_generation_match=stale)
    current = blob.generation
    blob.upload_from_string(b"third", if_generation_match=current)
    assert blob.generation > current
    assert blob.download_as_bytes() == b"third"


def test_a_generation_that_is_expected_of_nothing_is_not_met(bucket):
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.blob("absent").upload_from_string(b"x", if_generation_match=1)


def test_a_write_may_ask_for_any_live_generation(bucket):
    blob = bucket.blob("any")
    with pytest.raises(exceptions.PreconditionFailed):
        blob.upload_from_string(b"x", if_generation_not_match=0)
    blob.upload_from_string(b"x")
    blob.upload_from_string(b"y", if_generation_not_match=0)
    assert blob.download_as_bytes() == b"y"


@pytest.mark.parametrize("size", [10, 9 * 1024 * 1024], ids=["multipart", "resumable"])
def test_the_condition_counts_at_the_end_of_an_upload(bucket, size):
    bucket.blob("big").upload_from_string(b"first")
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.blob("big").upload_from_string(b"x" * size, if_generation_match=0)
    assert bucket.blob("big").download_as_bytes() == b"first"


def test_a_delete_removes_only_the_generation_that_was_read(bucket):
    blob = bucket.blob("lease")
    stale = _stale(blob)
    with pytest.raises(exceptions.PreconditionFailed):
        blob.delete(if_generation_match=stale)
    assert blob.exists()
    blob.delete(if_generation_match=blob.generation)
    assert not blob.exists()


def test_a_name_may_be_created_again_after_its_delete_with_a_later_generation(bucket):
    blob = bucket.blob("again")
    blob.upload_from_string(b"x", if_generation_match=0)
    first = blob.generation
    blob.delete()
    blob.upload_from_string(b"x", if_generation_match=0)
    assert blob.generation > first


def test_a_download_gives_only_the_generation_that_is_asked_for(bucket):
    blob = bucket.blob("read")
    stale = _stale(blob)
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.blob("read").download_as_bytes(if_generation_match=stale)
    with pytest.raises(exceptions.NotFound):
        bucket.blob("read", generation=stale).download_as_bytes()
    read = bucket.blob("read", generation=blob.generation).download_as_bytes(
        if_generation_match=blob.generation
    )
    assert read == b"second"


def test_a_reader_who_has_the_current_generation_is_told_so(bucket, http):
    blob = bucket.blob("cached")
    blob.upload_from_string(b"x")
    with pytest.raises(exceptions.NotModified):
        bucket.blob("cached").reload(if_generation_not_match=blob.generation)
    with pytest.raises(exceptions.NotModified):
        bucket.blob("cached").reload(if_etag_not_match=blob.etag)
    path = f"/storage/v1/b/{bucket.name}/o/cached?ifGenerationNotMatch={blob.generation}"
    answer = http.get(path)
    assert (answer.status_code, answer.content) == (304, b"")
    bucket.blob("cached").reload(if_generation_not_match=blob.generation - 1)


def test_metadata_is_patched_only_in_the_metageneration_that_was_read(bucket):
    blob = bucket.blob("labelled")
    blob.upload_from_string(b"x")
    blob.metadata = {"owner": "ana"}
    blob.patch(if_metageneration_match=1)
    assert blob.metageneration == 2
    blob.metadata = {"owner": "ben"}
    with pytest.raises(exceptions.PreconditionFailed):
        blob.patch(if_metageneration_match=1)
    with pytest.raises(exceptions.PreconditionFailed):
        blob.patch(if_metageneration_not_match=2)
    with pytest.raises(exceptions.PreconditionFailed):
        blob.patch(if_generation_match=blob.generation - 1)
    blob.reload()
    assert blob.metadata == {"owner": "ana"}


def test_new_content_begins_with_the_first_metageneration(bucket):
    blob = bucket.blob("fresh")
    blob.upload_from_string(b"x")
    blob.metadata = {"a": "b"}
    blob.patch()
    blob.upload_from_string(b"y", if_metageneration_match=2)
    assert blob.metageneration == 1


def test_a_composition_honours_conditions_on_target_and_sources(bucket):
    parts = [bucket.blob(f"part-{number}") for number in range(3)]
    for part in parts:
        part.upload_from_string(part.name.encode())
    whole = bucket.blob("whole")
    whole.compose(parts, if_generation_match=0)
    with pytest.raises(exceptions.PreconditionFailed):
        whole.compose(parts, if_generation_match=0)
    generations = [part.generation for part in parts]
    with pytest.raises(exceptions.PreconditionFailed):
        whole.compose(parts, if_source_generation_match=[*generations[:2], 1])
    whole.compose(parts, if_source_generation_match=generations)
    assert whole.download_as_bytes() == b"part-0part-1part-2"


def test_a_rewrite_honours_conditions_on_target_and_source(bucket):
    source, target = bucket.blob("source"), bucket.blob("target")
    stale = _stale(source)
    with pytest.raises(exceptions.PreconditionFailed):
        target.rewrite(source, if_source_generation_match=stale)
    target.rewrite(source, if_generation_match=0)
    with pytest.raises(exceptions.PreconditionFailed):
        target.rewrite(source, if_generation_match=0)
    copied = bucket.copy_blob(source, bucket, "copied", if_generation_match=0)
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.copy_blob(source, bucket, "copied", if_generation_match=0)
    assert copied.download_as_bytes() == target.download_as_bytes() == b"second"


def test_a_bucket_is_changed_only_in_the_metageneration_that_was_read(client, bucket):
    bucket.labels = {"team": "data"}
    bucket.patch(if_metageneration_match=1)
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.patch(if_metageneration_match=1)
    assert client.get_bucket(bucket.name).labels == {"team": "data"}


def test_a_failed_condition_is_told_in_the_words_of_the_service(bucket, http):
    bucket.blob("x").upload_from_string(b"x")
    answer = http.post(
        f"/upload/storage/v1/b/{bucket.name}/o?uploadType=media&name=x&ifGenerationMatch=0",
        data=b"y",
    )
    message = "At least one of the pre-conditions you specified did not hold."
    assert answer.status_code == 412
    assert answer.json() == {
        "error": {
            "code": 412,
            "message": message,
            "errors": [
                {
                    "message": message,
                    "domain": "global",
                    "reason": "conditionNotMet",
                    "locationType": "header",
                    "location": "If-Match",
                }
            ],
        }
    }


def test_a_condition_that_is_no_number_is_refused(bucket, http):
    answer = http.get(f"/storage/v1/b/{bucket.name}/o/x?ifGenerationMatch=latest")
    assert answer.status_code == 400
    assert answer.json()["error"]["errors"][0]["location"] == "ifGenerationMatch"


def test_what_is_absent_is_not_found_whatever_the_condition(bucket):
    blob = bucket.blob("absent")
    for call in (
        lambda: blob.reload(if_generation_match=5),
        lambda: blob.download_as_bytes(if_generation_match=5),
        lambda: blob.delete(if_generation_match=5),
        lambda: blob.patch(if_generation_match=5),
    ):
        with pytest.raises(exceptions.NotFound):
            call()


@pytest.mark.parametrize("conditions", ["absent", "current"])
def test_of_many_racers_exactly_one_wins(url, bucket, conditions):
    blob = bucket.blob("contended")
    generation = 0
    if conditions == "current":
        blob.upload_from_string(b"before")
        generation = blob.generation
    barrier = threading.Barrier(RACERS)
    path = f"/upload/storage/v1/b/{bucket.name}/o?uploadType=media&name=contended"

    def race(number):
        with requests.Session() as session:
            barrier.wait(timeout=30)
            return session.post(
                f"{url}{path}&ifGenerationMatch={generation}", data=b"%d" % number, timeout=30
            ).status_code

    with ThreadPoolExecutor(RACERS) as pool:
        answers = list(pool.map(race, range(RACERS)))
    assert sorted(answers) == [200] + [412] * (RACERS - 1)
    stored = bucket.blob("contended").download_as_bytes()
    assert stored == b"%d" % answers.index(200)


def test_swaps_of_many_clients_lose_no_update(new_client, bucket):
    blob = bucket.blob("counter")
    blob.upload_from_string(b"0")

    def count(_):
        with new_client() as own:
            done = 0
            while done < 5:
                mine = own.bucket(bucket.name).blob("counter")
                value = int(mine.download_as_bytes())
                try:
                    mine.upload_from_string(
                        b"%d" % (value + 1), if_generation_match=mine.generation
                    )
                except exceptions.PreconditionFailed:
                    continue
                done += 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count, range(4)))
    assert bucket.blob("counter").download_as_bytes() == b"20"
