"""Buckets and objects: what is written is read, whole or in part, and what is not there is 404."""

from __future__ import annotations

import base64
import gzip
import hashlib

import google_crc32c
import pytest
from google.api_core import exceptions

MEBIBYTE = 1024 * 1024
NAMES = ["plain.txt", "with/slash", "ünïcode/名前", "a b+c%2F?#&=", "tenants/t=1/x,y"]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_kept_as_it_is(bucket, name):
    bucket.blob(name).upload_from_string(name)
    assert bucket.blob(name).download_as_text() == name
    assert [blob.name for blob in bucket.list_blobs()] == [name]
    assert bucket.get_blob(name).public_url
    bucket.blob(name).delete()
    assert not bucket.blob(name).exists()


@pytest.mark.parametrize("name", ["x" * 1025, "line\nbreak", ".", ".."])
def test_a_name_that_the_service_refuses_is_refused(bucket, http, name):
    answer = http.post(
        f"/upload/storage/v1/b/{bucket.name}/o",
        params={"uploadType": "media", "name": name},
        data=b"x",
    )
    assert answer.status_code == 400


@pytest.mark.parametrize("size", [0, 1, MEBIBYTE - 1, MEBIBYTE, 3 * MEBIBYTE + 7])
def test_content_of_any_size_comes_back(bucket, size):
    content = bytes(range(256)) * (size // 256 + 1)
    content = content[:size]
    blob = bucket.blob("content")
    blob.upload_from_string(content)
    assert bucket.blob("content").download_as_bytes() == content
    assert blob.size == size
    assert base64.b64decode(blob.md5_hash) == hashlib.md5(content).digest()
    assert base64.b64decode(blob.crc32c) == google_crc32c.Checksum(content).digest()


@pytest.mark.parametrize("size", [1000, 2 * MEBIBYTE])
def test_a_range_is_read_alone(bucket, http, size):
    content = bytes(number % 251 for number in range(size))
    bucket.blob("ranged").upload_from_string(content)
    blob = bucket.blob("ranged")
    assert blob.download_as_bytes(start=10, end=19) == content[10:20]
    assert blob.download_as_bytes(start=size - 5) == content[-5:]
    path = f"/download/storage/v1/b/{bucket.name}/o/ranged?alt=media"
    last = http.get(path, headers={"Range": "bytes=-7"})
    assert (last.status_code, last.content) == (206, content[-7:])
    assert last.headers["Content-Range"] == f"bytes {size - 7}-{size - 1}/{size}"
    beyond = http.get(path, headers={"Range": f"bytes={size}-"})
    assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, f"bytes */{size}")


def test_an_empty_object_is_downloaded_as_empty(bucket):
    bucket.blob("empty").upload_from_string(b"")
    assert bucket.blob("empty").download_as_bytes() == b""
    with bucket.blob("empty").open("rb") as file:
        assert file.read() == b""


def test_a_reader_that_seeks_reads_by_ranges(bucket):
    content = b"0123456789" * 1000
    bucket.blob("file").upload_from_string(content)
    with bucket.blob("file").open("rb", chunk_size=256 * 1024) as file:
        file.seek(9990)
        assert file.read() == content[-10:]


def test_what_was_overwritten_is_gone(bucket):
    blob = bucket.blob("once")
    blob.upload_from_string(b"first")
    first = blob.generation
    blob.upload_from_string(b"second")
    with pytest.raises(exceptions.NotFound):
        bucket.blob("once", generation=first).download_as_bytes()


def test_a_compressed_object_is_served_as_it_lies_or_unpacked(bucket, http):
    packed = gzip.compress(b"plain text")
    blob = bucket.blob("packed.gz")
    blob.content_encoding = "gzip"
    blob.upload_from_string(packed, content_type="text/plain")
    assert bucket.blob("packed.gz").download_as_bytes() == b"plain text"
    assert bucket.blob("packed.gz").download_as_bytes(raw_download=True) == packed
    path = f"/download/storage/v1/b/{bucket.name}/o/packed.gz?alt=media"
    unpacked = http.get(path, headers={"Accept-Encoding": "identity"})
    assert unpacked.content == b"plain text"
    assert "Content-Encoding" not in unpacked.headers


def test_metadata_is_set_merged_and_taken_away(bucket):
    blob = bucket.blob("described")
    blob.metadata = {"run": "r1", "task": "t1"}
    blob.cache_control = "no-store"
    blob.upload_from_string(b"x", content_type="application/json")
    again = bucket.get_blob("described")
    assert again.metadata == {"run": "r1", "task": "t1"}
    assert (again.content_type, again.cache_control) == ("application/json", "no-store")
    again.metadata = {"task": None, "attempt": "2"}
    again.cache_control = None
    again.patch()
    assert again.metadata == {"run": "r1", "attempt": "2"}
    assert again.cache_control is None
    assert (again.metageneration, again.generation) == (2, blob.generation)
    assert bucket.blob("described").download_as_bytes() == b"x"


def test_an_update_replaces_all_metadata(bucket):
    blob = bucket.blob("replaced")
    blob.metadata = {"old": "1"}
    blob.upload_from_string(b"x", content_type="text/plain")
    fresh = bucket.blob("replaced")
    fresh.metadata = {"new": "2"}
    fresh.update()
    assert bucket.get_blob("replaced").metadata == {"new": "2"}


def test_a_copy_shares_nothing_with_its_source(bucket):
    source = bucket.blob("source")
    source.metadata = {"kept": "yes"}
    source.upload_from_string(b"x" * 2 * MEBIBYTE)
    copied = bucket.copy_blob(source, bucket, "copy")
    assert copied.metadata == {"kept": "yes"}
    source.delete()
    assert bucket.blob("copy").download_as_bytes() == b"x" * 2 * MEBIBYTE


def test_a_rewrite_is_done_in_one_request(client, bucket):
    other = client.create_bucket(f"{bucket.name}-other")
    source = bucket.blob("source")
    source.upload_from_string(b"y" * 100)
    token, written, total = other.blob("target").rewrite(source)
    assert (token, written, total) == (None, 100, 100)
    assert other.blob("target").download_as_bytes() == b"y" * 100


def test_up_to_32_objects_are_composed(bucket):
    parts = [bucket.blob(f"part-{number:02}") for number in range(33)]
    for number, part in enumerate(parts):
        part.upload_from_string(b"%02d" % number)
    whole = bucket.blob("whole")
    whole.content_type = "text/plain"
    whole.compose(parts[:32])
    content = b"".join(b"%02d" % number for number in range(32))
    assert bucket.blob("whole").download_as_bytes() == content
    assert (whole.component_count, whole.content_type, whole.md5_hash) == (32, "text/plain", None)
    assert base64.b64decode(whole.crc32c) == google_crc32c.Checksum(content).digest()
    with pytest.raises(exceptions.BadRequest):
        whole.compose(parts)
    with pytest.raises(exceptions.BadRequest):
        whole.compose([])


def test_a_composition_may_append_to_itself(bucket):
    log, news = bucket.blob("log"), bucket.blob("news")
    log.upload_from_string(b"a" * MEBIBYTE)
    news.upload_from_string(b"b")
    log.compose([log, news])
    assert bucket.blob("log").download_as_bytes() == b"a" * MEBIBYTE + b"b"
    assert log.component_count == 2


def test_a_composition_of_what_is_absent_is_not_found(bucket):
    with pytest.raises(exceptions.NotFound):
        bucket.blob("whole").compose([bucket.blob("absent")])
    assert not bucket.blob("whole").exists()


def test_a_bucket_is_created_once_and_deleted_when_it_is_empty(client):
    bucket = client.create_bucket("only-one")
    with pytest.raises(exceptions.Conflict):
        client.create_bucket("only-one")
    bucket.blob("x").upload_from_string(b"x")
    with pytest.raises(exceptions.Conflict):
        bucket.delete()
    bucket.blob("x").delete()
    bucket.delete()
    assert client.lookup_bucket("only-one") is None


def test_a_bucket_that_is_not_there_is_not_found(client):
    absent = client.bucket("absent")
    for call in (
        lambda: client.get_bucket("absent"),
        lambda: absent.blob("x").upload_from_string(b"x"),
        lambda: absent.blob("x").upload_from_string(b"x" * 9 * MEBIBYTE),
        lambda: absent.blob("x").download_as_bytes(),
        lambda: list(absent.list_blobs()),
        lambda: absent.blob("x").delete(),
    ):
        with pytest.raises(exceptions.NotFound):
            call()


def test_what_is_not_emulated_says_so(client, bucket):
    versioned = client.bucket("versioned")
    versioned.versioning_enabled = True
    with pytest.raises(exceptions.MethodNotImplemented):
        versioned.create()
    with pytest.raises(exceptions.MethodNotImplemented), client.batch():
        bucket.blob("x").delete()


def test_checksums_that_do_not_match_are_refused(bucket, http):
    path = f"/upload/storage/v1/b/{bucket.name}/o?uploadType=media&name=x"
    for header in ("crc32c=AAAAAA==", "md5=1B2M2Y8AsgTpgAmY7PhCfg=="):
        answer = http.post(path, data=b"not empty", headers={"x-goog-hash": header})
        assert answer.status_code == 400
    assert not bucket.blob("x").exists()


def test_large_objects_lie_in_files_only_as_long_as_they_are_stored(bucket, folder, http):
    files, held = set(folder.iterdir()), http.get("/admin/stats").json()["bytes"]
    bucket.blob("large").upload_from_string(b"x" * 5 * MEBIBYTE)
    (file,) = set(folder.iterdir()) - files
    assert file.stat().st_size == 5 * MEBIBYTE
    assert http.get("/admin/stats").json()["bytes"] == held + 5 * MEBIBYTE
    bucket.blob("large").upload_from_string(b"small")
    bucket.blob("large").delete()
    assert set(folder.iterdir()) == files
    assert http.get("/admin/stats").json()["bytes"] == held
