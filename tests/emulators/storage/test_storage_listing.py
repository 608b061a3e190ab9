"""Names come in order, page by page, each once, whatever the size of the pages."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from google.api_core import exceptions
from hypothesis import given
from hypothesis import strategies as st

from arco_emulators.storage.listing import Listing, page

NAMES = ["a", "a/b", "a/b/c", "a/b/d", "a/e", "b", "b/", "b/f", "z é/x", "z.txt"]


@pytest.fixture
def filled(bucket):
    for name in NAMES:
        bucket.blob(name).upload_from_string(name.encode())
    return bucket


def _listed(bucket, **options):
    found = bucket.list_blobs(**options)
    names = [blob.name for blob in found]
    return names, sorted(found.prefixes)


def test_all_names_come_in_the_order_of_their_bytes(filled):
    assert _listed(filled) == (sorted(NAMES, key=str.encode), [])


def test_a_prefix_selects(filled):
    assert _listed(filled, prefix="a/b") == (["a/b", "a/b/c", "a/b/d"], [])
    assert _listed(filled, prefix="nothing") == ([], [])


def test_a_delimiter_folds_what_lies_deeper(filled):
    assert _listed(filled, delimiter="/") == (["a", "b", "z.txt"], ["a/", "b/", "z é/"])
    assert _listed(filled, prefix="a/", delimiter="/") == (["a/b", "a/e"], ["a/b/"])
    assert _listed(filled, prefix="b/", delimiter="/") == (["b/", "b/f"], [])
    names, prefixes = _listed(filled, delimiter="/", include_trailing_delimiter=True)
    assert (names, prefixes) == (["a", "b", "b/", "z.txt"], ["a/", "b/", "z é/"])


def test_offsets_bound_the_names(filled):
    assert _listed(filled, start_offset="a/b/d", end_offset="b/") == (["a/b/d", "a/e", "b"], [])


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_pages_together_are_the_whole(filled, size):
    whole = sorted(NAMES, key=str.encode)
    assert _listed(filled, page_size=size) == (whole, [])
    names, prefixes = _listed(filled, delimiter="/", page_size=size)
    assert (names, prefixes) == (["a", "b", "z.txt"], ["a/", "b/", "z é/"])


def test_no_more_than_asked_for_are_listed(filled):
    assert _listed(filled, max_results=4) == (sorted(NAMES, key=str.encode)[:4], [])


def test_a_page_holds_a_thousand_names_at_most(client, http):
    bucket = client.create_bucket("many")
    for number in range(1001):
        path = f"/upload/storage/v1/b/many/o?uploadType=media&name={number:04}"
        http.post(path, data=b"")
    answer = http.get("/storage/v1/b/many/o?maxResults=5000").json()
    assert len(answer["items"]) == 1000
    assert len(_listed(bucket)[0]) == 1001


def test_a_write_is_listed_at_once_and_a_delete_too(bucket):
    bucket.blob("now").upload_from_string(b"")
    assert _listed(bucket)[0] == ["now"]
    bucket.blob("now").delete()
    assert _listed(bucket)[0] == []


def test_what_would_need_another_answer_is_refused(filled, http):
    with pytest.raises(exceptions.MethodNotImplemented):
        _listed(filled, match_glob="*.txt")
    with pytest.raises(exceptions.MethodNotImplemented):
        _listed(filled, versions=True)
    for query in ("maxResults=0", "maxResults=x", "pageToken=%21"):
        assert http.get(f"/storage/v1/b/{filled.name}/o?{query}").status_code == 400


def test_buckets_are_listed_in_pages(client):
    names = {client.create_bucket(f"listed-{number}").name for number in range(5)}
    found = client.list_buckets(prefix="listed-", page_size=2)
    assert [bucket.name for bucket in found] == sorted(names)


@st.composite
def _questions(draw):
    alphabet = "a/b"
    return Listing(
        prefix=draw(st.text(alphabet, max_size=3)),
        delimiter=draw(st.sampled_from(["", "/"])),
        start=draw(st.text(alphabet, max_size=3)),
        end=draw(st.text(alphabet, max_size=3)),
        after="",
        trailing=draw(st.booleans()),
        limit=draw(st.integers(1, 5)),
    )


@given(st.sets(st.text("a/b", min_size=1, max_size=6)), _questions())
def test_pages_of_any_size_give_what_the_definition_gives(names, asked):
    bucket = SimpleNamespace(names=sorted(names), objects={name: name for name in names})
    objects, prefixes, token = [], [], ""
    while token is not None:
        found = page(bucket, _after(asked, token))
        assert len(found.objects) + len(found.prefixes) <= asked.limit * 2
        objects += found.objects
        prefixes += found.prefixes
        token = found.token
    assert (objects, prefixes) == _defined(sorted(names), asked)


def _after(asked, token):
    query = {
        "prefix": asked.prefix,
        "delimiter": asked.delimiter,
        "startOffset": asked.start,
        "endOffset": asked.end,
        "pageToken": token,
        "includeTrailingDelimiter": "true" if asked.trailing else "false",
        "maxResults": str(asked.limit),
    }
    return Listing.of(query)


def _defined(names, asked):
    """What the documentation says, name by name."""
    objects, prefixes = [], []
    for name in names:
        if not name.startswith(asked.prefix) or name < asked.start:
            continue
        if asked.end and name >= asked.end:
            continue
        head, found, rest = name[len(asked.prefix) :].partition(asked.delimiter or "\0")
        if not found:
            objects.append(name)
            continue
        folded = asked.prefix + head + found
        if folded not in prefixes:
            prefixes.append(folded)
        if asked.trailing and not rest:
            objects.append(name)
    return objects, prefixes
