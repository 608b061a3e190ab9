"""Objects on files beyond the port: links, disks, processes, what people see in the folder."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import shutil
import signal

import pytest

from adapters.test_database import kill_after
from arco_flow.adapters.local.failures import files_unavailable
from arco_flow.adapters.local.objects import LocalObjects
from arco_flow.domain.errors import Conflict, InvalidInput, Unavailable


@pytest.fixture(params=[True, False], ids=["unnamed", "staged"])
def objects(tmp_path, request):
    return LocalObjects(tmp_path / "objects", unnamed=request.param)


@pytest.fixture
def outside(tmp_path):
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_bytes(b"secret")
    return folder


def staged(tmp_path):
    return sorted(os.listdir(tmp_path / "objects" / ".staging"))


CALLS = {
    "get": lambda objects, key: objects.get(key),
    "put_if_absent": lambda objects, key: objects.put_if_absent(key, b"x"),
    "put_if_generation": lambda objects, key: objects.put_if_generation(key, b"x", 1),
    "delete": lambda objects, key: objects.delete(key),
    "local_path": lambda objects, key: objects.local_path(key),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_a_linked_folder_is_never_followed(objects, outside, tmp_path, call):
    objects.put_if_absent("a/b", b"")
    (tmp_path / "objects" / "a" / "link").symlink_to(outside)
    with pytest.raises(Unavailable, match="symbolic link"):
        call(objects, "a/link/secret")
    assert os.listdir(outside) == ["secret"]


@pytest.mark.parametrize("name", ["get", "put_if_generation", "delete", "local_path"])
def test_a_linked_file_is_never_followed(objects, outside, tmp_path, name):
    (tmp_path / "objects" / "link").symlink_to(outside / "secret")
    with pytest.raises(Unavailable, match="symbolic link"):
        CALLS[name](objects, "link")
    assert (outside / "secret").read_bytes() == b"secret"


def test_nothing_is_created_through_a_dangling_link(objects, outside, tmp_path):
    (tmp_path / "objects" / "link").symlink_to(outside / "new")
    with pytest.raises(Unavailable, match="symbolic link"):
        objects.put_if_absent("link", b"x")
    assert not (outside / "new").exists()


def test_a_linked_staging_folder_is_never_followed(objects, outside, tmp_path):
    generation = objects.put_if_absent("a", b"x")
    (tmp_path / "objects" / ".staging").rmdir()
    (tmp_path / "objects" / ".staging").symlink_to(outside)
    with pytest.raises(Unavailable):
        objects.put_if_generation("a", b"y", generation)
    with contextlib.suppress(Unavailable):  # what is written without a name does not pass there
        objects.put_if_absent("b", b"x")
    assert os.listdir(outside) == ["secret"]


def test_links_are_not_listed(objects, outside, tmp_path):
    objects.put_if_absent("a/b", b"")
    (tmp_path / "objects" / "a" / "folder").symlink_to(outside)
    (tmp_path / "objects" / "a" / "file").symlink_to(outside / "secret")
    assert [meta.key for meta in objects.list("")] == ["a/b"]
    with pytest.raises(Unavailable, match="symbolic link"):
        objects.list("a/folder/")


def test_a_linked_source_file_is_copied_not_linked(objects, outside, tmp_path):
    (tmp_path / "source").symlink_to(outside / "secret")
    objects.put_file_if_absent("a", str(tmp_path / "source"))
    assert objects.get("a").data == b"secret"
    (outside / "secret").write_bytes(b"changed")
    assert objects.get("a").data == b"secret"


def test_a_source_file_with_another_name_is_copied(objects, tmp_path):
    source, other = tmp_path / "source", tmp_path / "other"
    source.write_bytes(b"content")
    os.link(source, other)
    objects.put_file_if_absent("a", str(source))
    other.write_bytes(b"changed")
    assert objects.get("a").data == b"content"


def test_a_source_file_is_moved_without_a_copy(objects, tmp_path):
    source = tmp_path / "source"
    source.write_bytes(b"content")
    inode = source.stat().st_ino
    objects.put_file_if_absent("a", str(source))
    assert os.stat(objects.local_path("a")).st_ino == inode
    assert staged(tmp_path) == []


def test_the_root_itself_may_be_a_link(tmp_path, outside):
    (tmp_path / "root").symlink_to(outside)
    objects = LocalObjects(tmp_path / "root")
    objects.put_if_absent("a/b", b"x")
    assert objects.get("a/b").data == b"x"
    assert (outside / "a" / "b").read_bytes() == b"x"


def test_more_folders_than_are_kept_open_are_found_in_any_order(objects, tmp_path):
    keys = [f"tenants/t/workspaces/w/assets/a{number}/p/x" for number in range(100)]
    open_before = len(os.listdir("/dev/fd"))
    for key in keys:
        assert objects.put_if_absent(key, key.encode())
    for key in (*keys, *reversed(keys)):
        assert objects.get(key).data == key.encode()
    assert len(os.listdir("/dev/fd")) < open_before + 50
    (tmp_path / "objects" / "tenants").rename(tmp_path / "gone")
    shutil.rmtree(tmp_path / "gone")
    assert objects.get(keys[-1]) is None
    assert objects.put_if_absent(keys[-1], b"new")


def test_people_find_their_data_under_its_key(objects, tmp_path):
    objects.put_if_absent("assets/orders/_current.json", b"{}")
    path = tmp_path / "objects" / "assets" / "orders" / "_current.json"
    assert path.read_bytes() == b"{}"
    assert objects.local_path("assets/orders/_current.json") == str(path)


def test_a_key_can_not_go_on_below_another_objects_key(objects):
    objects.put_if_absent("a/b", b"")
    for key in ("a/b/c", "a/b/c/d"):
        with pytest.raises(Conflict, match="in the way"):
            objects.put_if_absent(key, b"")
        assert objects.get(key) is None
        assert not objects.delete(key)
    with pytest.raises(Conflict, match="beginning of other objects' keys"):
        objects.put_if_absent("a", b"")
    assert objects.get("a") is None
    assert objects.local_path("a") is None
    assert not objects.delete("a")


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_the_stores_own_folder_is_no_place_for_objects(objects, call):
    for key in (".staging/x", ".staging", ".staging/lock"):
        with pytest.raises(InvalidInput, match="own folder"):
            call(objects, key)


def test_what_is_staged_is_not_listed(objects, tmp_path):
    (tmp_path / "objects" / ".staging" / "part").write_bytes(b"")
    objects.put_if_absent("x/.staging/a", b"")
    assert [meta.key for meta in objects.list("")] == ["x/.staging/a"]
    assert objects.list(".staging/") == []
    assert objects.list(".sta") == []


def test_a_pipe_in_the_folder_is_no_object(objects, tmp_path):
    os.mkfifo(tmp_path / "objects" / "pipe")
    assert objects.get("pipe") is None
    assert objects.list("") == []


def test_orphans_of_a_day_ago_are_removed_at_the_next_start(objects, tmp_path):
    for name in ("old", "new"):
        (tmp_path / "objects" / ".staging" / name).write_bytes(b"")
    os.utime(tmp_path / "objects" / ".staging" / "old", (0, 0))
    LocalObjects(tmp_path / "objects")
    assert staged(tmp_path) == ["new"]


def test_a_disk_that_takes_no_more_leaves_nothing_behind(objects, tmp_path):
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    objects.put_if_absent("pointer", b"1")
    generation = objects.get("pointer").generation
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, old[1]))
    try:
        with pytest.raises(Unavailable, match="larger than this user may write"):
            objects.put_if_absent("a/b", bytes(200_000))
        with pytest.raises(Unavailable, match="fix"):
            objects.put_if_generation("pointer", bytes(200_000), generation)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    assert objects.get("a/b") is None
    assert objects.get("pointer").data == b"1"
    assert staged(tmp_path) == ["lock"]
    assert objects.put_if_absent("a/b", bytes(200_000)) is not None


@pytest.mark.parametrize(
    ("number", "words", "mend"),
    [
        (errno.ENOSPC, "the disk is full", "free some space"),
        (errno.EROFS, "read-only", "make it writable"),
        (errno.EACCES, "read-only", "make it writable"),
        (errno.EMFILE, "too many files", "ulimit -n"),
        (errno.EIO, "answered with an error", "check the disk"),
    ],
)
def test_errors_of_the_disk_come_with_a_mend(number, words, mend):
    error = files_unavailable(OSError(number, os.strerror(number)), "folder/key")
    assert words in error.message
    assert os.strerror(number) in error.message
    assert mend in error.fix
    assert error.where == "folder/key"


def test_a_root_that_can_not_be_made_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Unavailable, match="file"):
        LocalObjects(tmp_path / "file" / "below")


def test_a_root_that_is_taken_away_is_unavailable(objects, tmp_path):
    (tmp_path / "objects").rename(tmp_path / "elsewhere")
    for call in CALLS.values():
        with pytest.raises(Unavailable, match="the folder is gone"):
            call(objects, "a/b")


WRITER = """
import sys
from arco_flow.adapters.local.objects import LocalObjects

objects = LocalObjects(sys.argv[1])
generation = objects.put_if_absent("pointer", b"0" * 50_000)
for n in range(1_000_000):
    objects.put_if_absent(f"versions/{n}", b"%d" % (n % 10) * 50_000)
    generation = objects.put_if_generation("pointer", b"%d" % (n % 10) * 50_000, generation)
    print(n, generation, flush=True)
"""


def test_a_process_that_is_killed_leaves_whole_objects_only(tmp_path):
    printed = kill_after(WRITER, str(tmp_path / "objects"), lines=100)
    last, generation = (int(word) for word in printed[-1].split())
    objects = LocalObjects(tmp_path / "objects")
    found = objects.list("versions/", limit=1_000_000)
    assert len(found) >= last + 1
    for meta in found:
        digit = meta.key[-1].encode()
        assert objects.get(meta.key).data == digit * 50_000
    pointer = objects.get("pointer")
    assert pointer.generation >= generation
    assert pointer.data == pointer.data[:1] * 50_000
    assert objects.put_if_generation("pointer", b"", pointer.generation) is not None


def test_a_store_opens_while_other_processes_write_and_remove(tmp_path, monkeypatch):
    """What the listing of the staging folder named may be gone when it is looked at."""
    staging = tmp_path / ".staging"
    staging.mkdir()
    (staging / "going").write_bytes(b"")
    listed = os.scandir

    def listed_then_gone(path):
        entries = listed(path)
        found = list(entries)
        entries.close()
        (staging / "going").unlink()
        return contextlib.nullcontext(iter(found))

    monkeypatch.setattr("arco_flow.adapters.local.staging.os.scandir", listed_then_gone)
    assert LocalObjects(tmp_path).get("a") is None
