"""Every object store: preconditions, order, keys; and its awaited face."""

from __future__ import annotations

import asyncio
import unicodedata
from concurrent.futures import ThreadPoolExecutor

import pytest

from arco_flow.domain.errors import InvalidInput

HOSTILE = [
    "", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/..", "a/../../etc/passwd", "a/./b",
    "a\\b", "..\\a", "a\0b", "a\nb", "a\x7fb", "a\x85b", "a\udc80b", "x" * 1025, "x/" * 513,
    "é" * 513, "x" * 256, "é" * 128,
]  # fmt: skip

CALLS = [
    lambda objects, key: objects.get(key),
    lambda objects, key: objects.put_if_absent(key, b""),
    lambda objects, key: objects.put_if_generation(key, b"", 1),
    lambda objects, key: objects.put_file_if_absent(key, __file__),
    lambda objects, key: objects.delete(key),
    lambda objects, key: objects.local_path(key),
]


def keys_of(metas):
    return [meta.key for meta in metas]


def test_an_object_is_created_once(objects):
    generation = objects.put_if_absent("a/b", b"first")
    assert objects.put_if_absent("a/b", b"second") is None
    stored = objects.get("a/b")
    assert (stored.data, stored.generation) == (b"first", generation)


def test_of_many_creations_one_wins(objects):
    with ThreadPoolExecutor(8) as threads:
        outcomes = list(threads.map(lambda n: objects.put_if_absent("a/b", b"%d" % n), range(40)))
    [won] = [n for n, generation in enumerate(outcomes) if generation is not None]
    assert objects.get("a/b").data == b"%d" % won


def test_what_is_absent_is_none(objects):
    assert objects.get("a/b") is None
    assert objects.put_if_generation("a/b", b"x", 1) is None
    assert objects.local_path("a/b") is None
    assert not objects.delete("a/b")
    assert objects.list("a/") == []


def test_an_overwrite_needs_the_generation_that_was_read(objects):
    first = objects.put_if_absent("pointer", b"1")
    second = objects.put_if_generation("pointer", b"2", first)
    assert second > first
    assert objects.put_if_generation("pointer", b"3", first) is None
    assert objects.get("pointer").data == b"2"
    assert objects.get("pointer").generation == second


def test_generations_grow_with_every_overwrite_however_fast(objects):
    generations = [objects.put_if_absent("pointer", b"")]
    for n in range(50):
        generations.append(objects.put_if_generation("pointer", b"%d" % n, generations[-1]))
    assert generations == sorted(set(generations))


def test_of_many_overwrites_of_one_generation_one_wins(objects):
    read = objects.put_if_absent("pointer", b"0")
    with ThreadPoolExecutor(8) as threads:
        outcomes = list(
            threads.map(lambda n: objects.put_if_generation("pointer", b"%d" % n, read), range(40))
        )
    [won] = [n for n, generation in enumerate(outcomes) if generation is not None]
    assert objects.get("pointer").data == b"%d" % won


def test_a_counter_that_many_raise_loses_nothing(objects):
    objects.put_if_absent("counter", b"0")

    def raise_it(_):
        raised = 0
        while raised < 50:
            read = objects.get("counter")
            more = b"%d" % (int(read.data) + 1)
            raised += objects.put_if_generation("counter", more, read.generation) is not None

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(raise_it, range(4)))
    assert objects.get("counter").data == b"200"


def test_a_deleted_object_can_be_created_again_with_a_greater_generation(objects):
    first = objects.put_if_absent("a", b"1")
    assert objects.delete("a")
    assert objects.get("a") is None
    assert objects.put_if_generation("a", b"2", first) is None
    assert objects.put_if_absent("a", b"2") > first


def test_a_generation_of_before_a_deletion_overwrites_nothing_afterwards(objects):
    first = objects.put_if_absent("a", b"1")
    objects.delete("a")
    again = objects.put_if_absent("a", b"2")
    assert objects.put_if_generation("a", b"3", first) is None
    assert objects.put_if_generation("a", b"3", again + 1) is None
    assert objects.get("a").data == b"2"
    assert objects.put_if_generation("a", b"3", again) > again


def test_of_many_deletions_one_finds_the_object(objects):
    objects.put_if_absent("a", b"1")
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: objects.delete("a"), range(40)))
    assert sum(found) == 1
    assert objects.list("") == []


def test_an_object_is_created_from_a_file_which_is_moved(objects, tmp_path):
    source = tmp_path / "part.parquet"
    source.write_bytes(b"rows" * 1000)
    generation = objects.put_file_if_absent("a/part", str(source))
    assert objects.get("a/part").generation == generation
    assert objects.get("a/part").data == b"rows" * 1000
    assert not source.exists()


def test_a_file_is_left_alone_when_the_object_was_there(objects, tmp_path):
    source = tmp_path / "part.parquet"
    source.write_bytes(b"late")
    objects.put_if_absent("a/part", b"first")
    assert objects.put_file_if_absent("a/part", str(source)) is None
    assert source.read_bytes() == b"late"
    assert objects.get("a/part").data == b"first"


def test_a_missing_file_is_named(objects, tmp_path):
    with pytest.raises(InvalidInput, match="there is no file"):
        objects.put_file_if_absent("a/part", str(tmp_path / "none"))


def test_objects_are_listed_in_the_order_of_their_keys(objects):
    keys = ["a/b/c", "a-b", "a/b-c", "a/b.c", "a/b0", "b", "A", "a/é", "a/b/d/e", "a.b/c"]
    for key in keys:
        objects.put_if_absent(key, b"12345")
    assert keys_of(objects.list("")) == sorted(keys)
    meta = objects.list("a/b/c")[0]
    assert (meta.size, meta.generation) == (5, objects.get("a/b/c").generation)


def test_a_prefix_may_end_within_a_segment(objects):
    for key in ("runs/1/a", "runs/10/a", "runs/2/a", "runs.json", "other/runs/1"):
        objects.put_if_absent(key, b"")
    assert keys_of(objects.list("runs/1")) == ["runs/1/a", "runs/10/a"]
    assert keys_of(objects.list("runs/1/")) == ["runs/1/a"]
    assert keys_of(objects.list("runs")) == ["runs.json", "runs/1/a", "runs/10/a", "runs/2/a"]
    assert keys_of(objects.list("none/")) == []
    assert keys_of(objects.list("runs/1/a/b")) == []
    assert keys_of(objects.list("runs/1/a/")) == []


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
def test_a_list_is_paged_without_gap_or_repetition(objects, limit):
    keys = sorted(f"p/{a}{b}/{c}" for a in "ab" for b in ("", "-", "0") for c in "xy")
    for key in keys:
        objects.put_if_absent(key, b"")
    seen, after = [], ""
    while page := objects.list("p/", after=after, limit=limit):
        seen += keys_of(page)
        after = page[-1].key
    assert seen == keys


def test_a_page_starts_after_any_text(objects):
    for key in ("p/a/1", "p/a/2", "p/b"):
        objects.put_if_absent(key, b"")
    assert keys_of(objects.list("p/", after="p/a")) == ["p/a/1", "p/a/2", "p/b"]
    assert keys_of(objects.list("p/", after="p/a/1x")) == ["p/a/2", "p/b"]
    assert keys_of(objects.list("p/", after="p/az")) == ["p/b"]
    assert keys_of(objects.list("p/", after="z")) == []
    assert keys_of(objects.list("p/", after="a")) == ["p/a/1", "p/a/2", "p/b"]


@pytest.mark.parametrize("key", HOSTILE, ids=ascii)
@pytest.mark.parametrize("call", CALLS)
def test_a_hostile_key_is_refused_with_a_mend(objects, call, key):
    with pytest.raises(InvalidInput, match="fix: "):
        call(objects, key)


@pytest.mark.parametrize("prefix", ["../", "a/../b", "/etc", "a//b", "a\\", "a\0"])
def test_a_hostile_prefix_is_refused(objects, prefix):
    with pytest.raises(InvalidInput):
        objects.list(prefix)


@pytest.mark.parametrize(
    "key", ["..a", "a..", "...", "a b", "-rf", "~", "%2e%2e", "日本/é", "a:b=c"]
)
def test_an_odd_key_is_only_a_name(objects, key):
    objects.put_if_absent(key, b"x")
    assert objects.get(key).data == b"x"
    assert keys_of(objects.list("")) == [key]


def test_the_longest_keys_are_stored(objects):
    key = "/".join(["x" * 255] * 4)
    objects.put_if_absent(key, b"x")
    assert keys_of(objects.list("")) == [key]


def test_one_name_in_two_spellings_is_one_object(objects):
    composed, decomposed = (unicodedata.normalize(form, "café/é") for form in ("NFC", "NFD"))
    assert composed != decomposed
    objects.put_if_absent(decomposed, b"x")
    assert objects.put_if_absent(composed, b"y") is None
    assert objects.get(composed).data == b"x"
    assert keys_of(objects.list(decomposed)) == [composed]


def test_a_local_path_holds_the_object_where_there_is_one(objects):
    objects.put_if_absent("a/b", b"content")
    path = objects.local_path("a/b")
    if path is not None:
        with open(path, "rb") as file:
            assert file.read() == b"content"


def test_an_empty_and_a_large_object_come_back_whole(objects):
    large = bytes(range(256)) * 20_000
    objects.put_if_absent("empty", b"")
    objects.put_if_absent("large", large)
    assert objects.get("empty").data == b""
    assert objects.get("large").data == large


def test_the_awaited_face_is_the_same_store(both_faces, tmp_path):
    objects, awaited = both_faces
    source = tmp_path / "file"
    source.write_bytes(b"file")

    async def scenario():
        generation = await awaited.put_if_absent("a", b"1")
        assert await awaited.put_if_absent("a", b"2") is None
        assert await awaited.put_if_generation("a", b"3", generation) > generation
        assert await awaited.get("a") == objects.get("a")
        assert await awaited.put_file_if_absent("b", str(source)) is not None
        assert await awaited.list("") == objects.list("")
        assert await awaited.local_path("a") == objects.local_path("a")
        assert await awaited.delete("a")
        with pytest.raises(InvalidInput):
            await awaited.get("../a")

    asyncio.run(scenario())
    assert keys_of(objects.list("")) == ["b"]
