"""Bad surroundings of a local plane: no crash, no hang, no half a thing.

What the tests do to a disk is real: as root on Linux it is a small or a read-only file system of
its own; elsewhere it is permissions, and a limit on the size of files.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from e2e.bad_input import command
from e2e.harness import write_module
from e2e.kept import differences, durable_state

SMALL = """
    from arco_flow import asset

    @asset(namespace="t")
    def small() -> int:
        return 1

    @asset(namespace="t")
    def large() -> bytes:
        return b"x" * 3_000_000
"""
RUN_SMALL = ("run", "t.small", "-t", "shop.py")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project that was run once, so that there is a state which must not be hurt."""
    write_module(tmp_path, "shop", SMALL)
    command(tmp_path, *RUN_SMALL, code=0)
    return tmp_path


# -- the disk ---------------------------------------------------------------------------------


def _mount(*arguments: str) -> bool:
    if os.geteuid() != 0 or shutil.which("mount") is None:
        return False
    return subprocess.run(["mount", *arguments], capture_output=True).returncode == 0


@contextmanager
def _scarce_disk(state: Path, how: str) -> Iterator[bool]:
    """A state folder on a small file system of its own; False where none can be mounted, and a
    limit on the size of files has to stand for it."""
    state.mkdir()
    mounted = how == "small disk" and _mount("-t", "tmpfs", "-o", "size=2m", "tmpfs", str(state))
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(state)], check=True)


@contextmanager
def _read_only(folder: Path) -> Iterator[None]:
    """Inside, nothing below the folder can be written."""
    if _mount("--bind", str(folder), str(folder)):
        assert _mount("-o", "remount,ro,bind", str(folder))
        try:
            yield
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=True)
        return
    paths = [folder, *folder.rglob("*")]
    modes = {path: path.stat().st_mode for path in paths}
    for path, mode in modes.items():
        path.chmod(mode & ~0o222)
    try:
        yield
    finally:
        for path, mode in modes.items():
            path.chmod(mode)


SCARCE = pytest.mark.parametrize("how", ["small disk", "limit of file size"])


@SCARCE
def test_a_disk_without_room_refuses_a_deployment_whole_and_serves_again_with_room(
    tmp_path: Path, how: str
) -> None:
    write_module(tmp_path, "shop", SMALL)
    state = tmp_path / ".arco-flow"
    with _scarce_disk(state, how) as small:
        command(tmp_path, "deploy", "shop.py", code=0)
        before = durable_state(state)
        write_module(tmp_path, "shop", SMALL.replace("return 1", "return 2"))
        if small:
            _fill(state / "filler")
        told = command(
            tmp_path, "deploy", "shop.py", code=3, file_bytes=None if small else 8_000
        ).stderr
        what, where, fix = told.splitlines()
        if small:
            assert what.startswith("error: the disk is full (")
            assert fix == "  fix: free some space; the next call works again by itself"
        else:
            assert what == "error: the disk answered with an error (disk I/O error)"
            assert fix == "  fix: check the disk, its cable or its mount"
        assert where.startswith(f"  at {state}/")
        (state / "filler").unlink(missing_ok=True)
        assert differences(before, durable_state(state)) == []
        command(tmp_path, *RUN_SMALL, code=0)


def _fill(path: Path) -> None:
    """Write until not one byte more has room."""
    with path.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            with contextlib.suppress(OSError):
                while file.write(b"\0" * size) == size:
                    pass


@SCARCE
def test_an_output_without_room_fails_its_task_and_leaves_no_version(
    tmp_path: Path, how: str
) -> None:
    write_module(tmp_path, "shop", SMALL)
    state = tmp_path / ".arco-flow"
    with _scarce_disk(state, how) as small:
        arguments = ["run", "t.large", "-t", "shop.py", "--json"]
        limit = None if small else 1_000_000
        run = json.loads(command(tmp_path, *arguments, code=1, file_bytes=limit).stdout)
        task = run["tasks"][0]
        assert (task["state"], task["error"]["category"]) == ("FAILED", "INFRASTRUCTURE")
        what, where, fix = task["error"]["message"].splitlines()
        if small:
            assert what == "the disk is full (No space left on device)"
            assert fix == "  fix: free some space; the next call works again by itself"
        else:
            assert what == "the file would be larger than this user may write (File too large)"
            assert fix == "  fix: raise the limit with `ulimit -f`"
        assert where.startswith(f"  at {state}/objects/")
        kept = [place for place in durable_state(state) if "/versions/" in place]
        assert kept == [], "no half a version"
        command(tmp_path, *RUN_SMALL, code=0)


def test_a_read_only_state_folder_is_told_and_left_alone(project: Path) -> None:
    state = project / ".arco-flow"
    before = durable_state(state)
    with _read_only(state):
        for arguments in (("runs",), RUN_SMALL):
            told = command(project, *arguments, code=3).stderr
            assert told.startswith("error: the folder is read-only (")
            assert f"  at {state}" in told
            assert told.endswith("  fix: make it writable for this user, or choose another one\n")
    assert durable_state(state) == before
    command(project, *RUN_SMALL, code=0)


def test_a_read_only_project_folder_is_told_before_anything_is_begun(tmp_path: Path) -> None:
    write_module(tmp_path, "shop", SMALL)
    with _read_only(tmp_path):
        command(tmp_path, "validate", "shop.py", code=0)
        told = command(tmp_path, "deploy", "shop.py", code=3).stderr
        assert told.startswith("error: the folder is read-only (")
        told = command(tmp_path, "init", "new", code=1).stderr
        assert told.endswith("  fix: check the path, and who may write there\n")
    assert not (tmp_path / ".arco-flow").exists()


def test_an_object_folder_that_can_not_be_written_changes_no_catalog(project: Path) -> None:
    state = project / ".arco-flow"
    before = durable_state(state)
    write_module(project, "shop", SMALL.replace("return 1", "return 2"))
    with _read_only(state / "objects"):
        told = command(project, "deploy", "shop.py", code=3).stderr
        assert told.startswith("error: the folder is read-only (")
        assert f"  at {state / 'objects'}" in told
        command(project, "status", code=0)
    assert durable_state(state) == before
    command(project, *RUN_SMALL, code=0)


def test_a_file_where_the_object_folder_should_be(project: Path) -> None:
    objects = project / ".arco-flow" / "objects"
    shutil.rmtree(objects)
    objects.write_text("in the way")
    told = command(project, "runs", code=3).stderr
    assert told.startswith("error: a file is where a folder should be (")
    assert told.endswith("  fix: move it away, or restore the folder\n")


# -- damaged state ----------------------------------------------------------------------------

DAMAGED = "  fix: restore the folder from a copy, or start a new one\n"


def _garbage(database: Path) -> None:
    database.write_bytes(b"this is no database " * 500)


def _cut(database: Path) -> None:
    database.write_bytes(database.read_bytes()[:5000])


def _scramble(database: Path) -> None:
    raw = database.read_bytes()
    database.write_bytes(raw[:4096] + b"\xa5" * (len(raw) - 4096))


@pytest.mark.parametrize("damage", [_garbage, _cut, _scramble])
def test_a_damaged_database_is_told_and_not_made_anew(project: Path, damage: object) -> None:
    database = project / ".arco-flow" / "arco.db"
    whole = database.read_bytes()
    assert callable(damage)
    damage(database)
    damaged = database.read_bytes()
    for arguments in (("runs",), RUN_SMALL):
        told = command(project, *arguments, code=3).stderr
        assert told.startswith("error: the database file is damaged (")
        assert told.endswith(f"  at {database}\n{DAMAGED}")
    assert database.read_bytes() == damaged, "what can perhaps be rescued is not overwritten"
    database.write_bytes(whole)
    command(project, *RUN_SMALL, code=0)


def test_a_database_of_another_program_and_one_of_a_later_release(project: Path) -> None:
    database = project / ".arco-flow" / "arco.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA user_version = 99")
    told = command(project, "runs", code=1).stderr
    assert told == (
        "error: the database has schema version 99; this release works on 1\n"
        f"  at {database}\n  fix: use the release that wrote it, or choose another folder\n"
    )
    database.unlink()
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE mine (x)")
    told = command(project, "runs", code=1).stderr
    assert told == (
        f"error: the database was not made by Arco Flow\n  at {database}\n"
        "  fix: choose another folder\n"
    )


@pytest.mark.parametrize(
    "text", ["{broken", "", '{"tenant":"zz","attempts":"zz","api":"zz"}',
             '{"tenant":"00","attempts":"00","api":"00"}']
)  # fmt: skip
def test_damaged_secrets_are_told_and_not_replaced(project: Path, text: str) -> None:
    """New ones would give every run key another run."""
    secrets = project / ".arco-flow" / "secrets.json"
    secrets.write_text(text)
    told = command(project, *RUN_SMALL, code=3).stderr
    assert told.startswith("error: the plane's secrets can not be read: ")
    assert told.endswith(
        f"  at {secrets}\n  fix: restore the file, or start over with an empty state folder\n"
    )
    assert secrets.read_text() == text
