"""A resumable upload takes up pieces, tells how far it has come, and ends once."""

from __future__ import annotations

import base64
import io
import socket
from urllib.parse import urlsplit

import google_crc32c
import pytest
from google.api_core import exceptions
from google.cloud.storage._media.requests import ResumableUpload

QUANTUM = 256 * 1024
CONTENT = bytes(number % 253 for number in range(3 * QUANTUM + 100))


@pytest.fixture
def begin(bucket, http):
    """Begins an upload; gives its address relative to the emulator."""

    def begin(name="upload", **conditions):
        answer = http.post(
            f"/upload/storage/v1/b/{bucket.name}/o",
            params={"uploadType": "resumable", **conditions},
            json={"name": name},
            headers={"X-Upload-Content-Type": "text/plain"},
        )
        assert answer.status_code == 200
        where = urlsplit(answer.headers["Location"])
        return f"{where.path}?{where.query}"

    return begin


@pytest.fixture
def put(http):
    """Sends a piece; gives status and how many bytes are kept."""

    def put(where, data, content_range):
        answer = http.put(where, data=data, headers={"Content-Range": content_range})
        kept = answer.headers.get("Range")
        return answer.status_code, int(kept.removeprefix("bytes=0-")) + 1 if kept else 0

    return put


def _piece(first, end):
    return CONTENT[first:end], f"bytes {first}-{end - 1}/{len(CONTENT)}"


def test_the_client_uploads_in_chunks(bucket):
    blob = bucket.blob("chunked", chunk_size=QUANTUM)
    blob.upload_from_file(io.BytesIO(CONTENT), content_type="text/plain", if_generation_match=0)
    assert bucket.get_blob("chunked").content_type == "text/plain"
    assert bucket.blob("chunked").download_as_bytes() == CONTENT


def test_the_client_uploads_what_has_no_known_size(bucket):
    with bucket.blob("written").open("wb", chunk_size=QUANTUM) as file:
        for first in range(0, len(CONTENT), 1000):
            file.write(CONTENT[first : first + 1000])
    assert bucket.blob("written").download_as_bytes() == CONTENT


def test_an_empty_upload_makes_an_empty_object(bucket, begin, put):
    assert put(begin(), b"", "bytes */0") == (200, 0)
    assert bucket.blob("upload").download_as_bytes() == b""


def test_pieces_are_kept_and_told(bucket, begin, put):
    where = begin()
    assert put(where, b"", "bytes */*") == (308, 0)
    assert put(where, *_piece(0, QUANTUM)) == (308, QUANTUM)
    assert put(where, b"", f"bytes */{len(CONTENT)}") == (308, QUANTUM)
    assert not bucket.blob("upload").exists()
    assert put(where, *_piece(QUANTUM, len(CONTENT))) == (200, 0)
    assert bucket.blob("upload").download_as_bytes() == CONTENT


def test_a_piece_is_kept_in_multiples_of_256_kibibytes(begin, put):
    assert put(begin(), *_piece(0, QUANTUM + 5)) == (308, QUANTUM)


def test_a_piece_that_comes_again_is_not_kept_twice(bucket, begin, put):
    where = begin()
    put(where, *_piece(0, 2 * QUANTUM))
    assert put(where, *_piece(0, 2 * QUANTUM)) == (308, 2 * QUANTUM)
    assert put(where, *_piece(QUANTUM, len(CONTENT))) == (200, 0)
    assert bucket.blob("upload").download_as_bytes() == CONTENT


def test_a_piece_that_leaves_a_gap_is_refused(begin, put):
    where = begin()
    assert put(where, *_piece(QUANTUM, 2 * QUANTUM)) == (503, 0)
    assert put(where, b"", "bytes */*") == (308, 0)


def test_more_bytes_than_were_told_are_refused(begin, put):
    assert put(begin(), b"12345", "bytes 0-4/3")[0] == 400
    assert put(begin(), b"12345", "bytes=0-4")[0] == 400


def test_all_may_come_in_one_request(bucket, begin, http):
    assert http.put(begin(), data=b"all of it").status_code == 200
    assert bucket.blob("upload").download_as_bytes() == b"all of it"


def test_a_finished_upload_says_so_and_is_not_done_again(bucket, begin, put, http):
    where = begin()
    put(where, *_piece(0, len(CONTENT)))
    generation = bucket.get_blob("upload").generation
    answer = http.put(where, headers={"Content-Range": "bytes */*"})
    assert (answer.status_code, answer.json()["generation"]) == (200, str(generation))
    assert put(where, *_piece(0, len(CONTENT))) == (200, 0)
    assert bucket.get_blob("upload").generation == generation


def test_conditions_given_at_the_start_count_at_the_end(bucket, begin, put):
    where = begin(ifGenerationMatch=0)
    put(where, *_piece(0, QUANTUM))
    bucket.blob("upload").upload_from_string(b"was faster")
    assert put(where, *_piece(QUANTUM, len(CONTENT)))[0] == 412
    assert bucket.blob("upload").download_as_bytes() == b"was faster"


def test_of_two_uploads_to_one_name_one_wins(bucket, begin, put):
    first, second = begin(ifGenerationMatch=0), begin(ifGenerationMatch=0)
    assert put(second, b"two", "bytes 0-2/3") == (200, 0)
    assert put(first, b"one", "bytes 0-2/3")[0] == 412
    assert bucket.blob("upload").download_as_bytes() == b"two"


def test_a_checksum_in_the_last_piece_is_compared(bucket, begin, http):
    headers = {"Content-Range": f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}"}
    wrong = http.put(begin(), data=CONTENT, headers={**headers, "x-goog-hash": "crc32c=AAAAAA=="})
    assert wrong.status_code == 400
    assert not bucket.blob("upload").exists()
    right = base64.b64encode(google_crc32c.Checksum(CONTENT).digest()).decode()
    answer = http.put(begin(), data=CONTENT, headers={**headers, "x-goog-hash": f"crc32c={right}"})
    assert answer.status_code == 200


def test_a_cancelled_upload_is_forgotten(begin, put, http):
    where = begin()
    put(where, *_piece(0, QUANTUM))
    assert http.delete(where).status_code == 499
    assert put(where, b"", "bytes */*")[0] == 404


def test_an_unknown_upload_is_not_found(bucket, put):
    where = f"/upload/storage/v1/b/{bucket.name}/o?uploadType=resumable&upload_id=unknown"
    assert put(where, b"", "bytes */*")[0] == 404


def test_what_came_before_a_connection_broke_is_kept(bucket, url, begin, put):
    where, address = begin(), urlsplit(url)
    head = (
        f"PUT {where} HTTP/1.1\r\nHost: {address.netloc}\r\n"
        f"Content-Length: {len(CONTENT)}\r\n"
        f"Content-Range: bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}\r\n\r\n"
    )
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(head.encode() + CONTENT[: QUANTUM + 1000])
    kept = 0
    while not kept:  # the break is noticed a moment after it happened
        status, kept = put(where, b"", "bytes */*")
        assert status == 308
    assert kept == QUANTUM
    assert put(where, *_piece(QUANTUM, len(CONTENT))) == (200, 0)
    assert bucket.blob("upload").download_as_bytes() == CONTENT


def test_the_client_recovers_an_upload_after_a_fault(bucket, url, client, http):
    upload = ResumableUpload(
        f"{url}/upload/storage/v1/b/{bucket.name}/o?uploadType=resumable", QUANTUM, retry=None
    )
    transport = client._http
    upload.initiate(transport, io.BytesIO(CONTENT), {"name": "recovered"}, "text/plain")
    upload.transmit_next_chunk(transport)
    planned = {"fault": "landed", "operation": "uploads.resume"}
    http.patch("/admin/faults", json={"planned": [planned]})
    with pytest.raises(Exception, match="503"):
        upload.transmit_next_chunk(transport)
    upload.recover(transport)
    assert upload.bytes_uploaded == 2 * QUANTUM
    while not upload.finished:
        upload.transmit_next_chunk(transport)
    assert bucket.blob("recovered").download_as_bytes() == CONTENT


@pytest.mark.parametrize(
    "body",
    [b"", b"--b\r\n\r\n{}\r\n--b--", b"--b\r\n{}\r\n--b\r\n\r\nx\r\n--b--", b"nothing of the kind"],
)
def test_a_malformed_multipart_body_is_refused(bucket, http, body):
    answer = http.post(
        f"/upload/storage/v1/b/{bucket.name}/o?uploadType=multipart&name=x",
        data=body,
        headers={"Content-Type": "multipart/related; boundary=b"},
    )
    assert answer.status_code == 400


def test_content_may_hold_what_looks_like_a_boundary(bucket, http):
    content = b"\r\n--b\r\nnot the end\r\n--b-"
    body = (
        b'--b\r\ncontent-type: application/json\r\n\r\n{"name": "x"}\r\n'
        b"--b\r\ncontent-type: text/plain\r\n\r\n" + content + b"\r\n--b--"
    )
    http.post(
        f"/upload/storage/v1/b/{bucket.name}/o?uploadType=multipart",
        data=body,
        headers={"Content-Type": "multipart/related; boundary=b"},
    )
    assert bucket.blob("x").download_as_bytes() == content


def test_an_upload_without_a_name_or_kind_is_refused(bucket, http):
    where = f"/upload/storage/v1/b/{bucket.name}/o"
    for query in ("?uploadType=media", "?uploadType=other&name=x", "?name=x"):
        assert http.post(where + query, data=b"x").status_code == 400
    both = http.post(f"{where}?uploadType=resumable&name=a", json={"name": "b"})
    assert both.status_code == 400
    with pytest.raises(exceptions.NotFound):
        bucket.blob("x").reload()
