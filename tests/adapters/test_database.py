"""The embedded database: groups, failures of the disk, one owner, the end of the process."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from arco_flow.adapters.local.database import Database
from arco_flow.adapters.local.store import SqliteStore
from arco_flow.adapters.memory.clock import VirtualClock
from arco_flow.domain.errors import Conflict, Contended, Unavailable


@pytest.fixture
def database(tmp_path):
    with closing(Database(tmp_path, busy_timeout_ms=0)) as opened:
        yield opened


def set_document(key, body=b"body"):
    def write(cursor):
        cursor.execute("INSERT INTO documents VALUES ('test', ?, ?)", (key, body))
        return key

    return write


def keys(database):
    return [row[0] for row in database.read("SELECT key FROM documents ORDER BY key")]


def traced(database):
    statements = []
    database._connection.set_trace_callback(statements.append)
    return statements


def test_writes_of_one_turn_share_one_transaction(database):
    statements = traced(database)

    async def scenario():
        return await asyncio.gather(*(database.run(set_document(f"{n:03}")) for n in range(100)))

    assert asyncio.run(scenario()) == keys(database)
    assert len(keys(database)) == 100
    assert statements.count("BEGIN IMMEDIATE") == 1
    assert statements.count("COMMIT") == 1


def test_a_very_large_group_is_split(database):
    async def scenario():
        await asyncio.gather(*(database.run(set_document(f"{n:05}")) for n in range(2_500)))

    statements = traced(database)
    asyncio.run(scenario())
    assert len(keys(database)) == 2_500
    assert statements.count("COMMIT") == 3


def test_a_write_sees_those_before_it_in_its_group(database):
    async def scenario():
        return await asyncio.gather(
            database.run(set_document("a")),
            database.run(lambda cursor: cursor.execute("SELECT key FROM documents").fetchall()),
        )

    assert asyncio.run(scenario()) == ["a", [("a",)]]


def test_a_failed_check_fails_its_own_write_alone(database):
    def refuse(cursor):
        raise Contended("lost")

    async def scenario():
        return await asyncio.gather(
            database.run(set_document("a")),
            database.run(refuse),
            database.run(set_document("b")),
            return_exceptions=True,
        )

    first, second, third = asyncio.run(scenario())
    assert isinstance(second, Contended)
    assert [first, third] == keys(database) == ["a", "b"]


def test_a_write_that_fails_half_way_leaves_nothing_and_spares_its_group(database):
    def half(cursor):
        set_document("half")(cursor)
        raise ValueError("too late")

    def twice(cursor):
        set_document("b")(cursor)
        set_document("b")(cursor)

    async def scenario():
        return await asyncio.gather(
            database.run(set_document("a")),
            database.run(half),
            database.run(twice),
            database.run(set_document("c")),
            return_exceptions=True,
        )

    outcomes = asyncio.run(scenario())
    assert isinstance(outcomes[1], ValueError)
    assert isinstance(outcomes[2], sqlite3.IntegrityError)
    assert keys(database) == ["a", "c"]


def test_a_wrong_statement_is_not_taken_for_a_failing_disk(database):
    async def scenario():
        return await asyncio.gather(
            database.run(lambda cursor: cursor.execute("SELECT * FROM nowhere")),
            database.run(set_document("a")),
            return_exceptions=True,
        )

    wrong, _ = asyncio.run(scenario())
    assert isinstance(wrong, sqlite3.OperationalError)
    assert keys(database) == ["a"]
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        database.read("SELECT * FROM nowhere")


def test_a_caller_cancelled_before_the_commit_has_not_written(database):
    async def scenario():
        waiting = asyncio.ensure_future(database.run(set_document("a")))
        kept = asyncio.ensure_future(database.run(set_document("b")))
        asyncio.get_running_loop().call_soon(waiting.cancel)
        # The cancellation was queued before the group was.
        await asyncio.wait([waiting, kept])
        assert waiting.cancelled()

    asyncio.run(scenario())
    assert keys(database) == ["b"]


def test_the_hook_of_a_commit_runs_also_for_a_caller_that_left(database):
    committed = []

    async def scenario():
        loop = asyncio.get_running_loop()
        write = database.run(set_document("a"), after=committed.append)
        waiting = asyncio.ensure_future(write)
        await asyncio.sleep(0)
        # Runs after the group that was queued in the turn before, in the same turn.
        loop.call_soon(waiting.cancel)
        await asyncio.wait([waiting])

    asyncio.run(scenario())
    assert committed == keys(database) == ["a"]


def test_the_hook_of_a_refused_write_does_not_run(database):
    committed = []

    def refuse(cursor):
        raise Contended("lost")

    with pytest.raises(Contended):
        asyncio.run(database.run(refuse, after=committed.append))
    assert committed == []


def test_a_full_disk_fails_the_group_in_words_and_the_next_write_works_again(database):
    database.run_now(set_document("before"))
    [(pages,)] = database.read("PRAGMA page_count")
    database.read(f"PRAGMA max_page_count = {pages}")

    async def scenario():
        return await asyncio.gather(
            database.run(set_document("small")),
            database.run(set_document("large", bytes(1_000_000))),
            return_exceptions=True,
        )

    for outcome in asyncio.run(scenario()):
        assert isinstance(outcome, Unavailable)
        assert "the disk is full" in outcome.message
        assert outcome.where == database.path
        assert "free some space" in outcome.fix
    assert keys(database) == ["before"]
    database.read("PRAGMA max_page_count = 1000000")
    assert len(asyncio.run(scenario())) == 2
    assert keys(database) == ["before", "large", "small"]


def test_a_store_on_a_full_disk_says_so_and_goes_on_afterwards(database):
    store = SqliteStore(database, VirtualClock())
    [(pages,)] = database.read("PRAGMA page_count")
    database.read(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(Unavailable, match="the disk is full"):
        asyncio.run(store.post("t:w:run:1", "e", bytes(800_000)))
    database.read("PRAGMA max_page_count = 1000000")
    assert asyncio.run(store.post("t:w:run:1", "e", bytes(800_000))).created


def test_a_read_only_folder_is_named(database):
    database.read("PRAGMA query_only = ON")
    with pytest.raises(Unavailable, match="the folder is read-only") as raised:
        asyncio.run(database.run(set_document("a")))
    assert "make it writable" in raised.value.fix
    database.read("PRAGMA query_only = OFF")
    asyncio.run(database.run(set_document("a")))
    assert keys(database) == ["a"]


def test_a_database_that_another_program_holds_locked_is_named(database):
    with closing(sqlite3.connect(database.path, isolation_level=None)) as browser:
        browser.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="another program holds the database locked"):
            database.run_now(set_document("a"))
        browser.execute("ROLLBACK")
    database.run_now(set_document("a"))


def test_a_second_opener_learns_who_has_the_folder(tmp_path, database):
    with pytest.raises(Unavailable, match=f"in use by process {os.getpid()}") as raised:
        Database(tmp_path)
    assert raised.value.reason == "FOLDER_IN_USE"
    assert f"kill {os.getpid()}" in raised.value.fix
    database.close()
    Database(tmp_path).close()


def test_an_opener_in_another_process_is_refused_too(tmp_path, database):
    code = (
        "import sys\nfrom arco_flow.adapters.local.database import Database\n"
        "from arco_flow.domain.errors import Unavailable\n"
        "try:\n    Database(sys.argv[1])\nexcept Unavailable as error:\n    print(error.message)\n"
    )
    answer = python(code, str(tmp_path))
    assert f"in use by process {os.getpid()}" in answer


def test_a_forked_child_that_lives_on_does_not_keep_the_folder(tmp_path):
    database = Database(tmp_path)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
    try:
        database.close()
        Database(tmp_path).close()
    finally:
        os.close(writer)
        os.close(reader)
        os.waitpid(child, 0)


def test_a_forked_child_that_has_not_started_yet_does_not_keep_the_folder(tmp_path):
    database = Database(tmp_path)
    # What a child holds between the fork and its first instruction: our open file.
    shared = os.dup(database._lock._fd)
    try:
        database.close()
        Database(tmp_path).close()
    finally:
        os.close(shared)


def test_a_forked_child_does_not_give_the_folder_free(tmp_path):
    with closing(Database(tmp_path)):
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        with pytest.raises(Unavailable, match="in use by process"):
            Database(tmp_path)


def test_what_was_submitted_is_written_by_close(tmp_path):
    database = Database(tmp_path)

    async def scenario():
        waiting = asyncio.ensure_future(database.run(set_document("a")))
        asyncio.get_running_loop().call_soon(database.close)
        assert await waiting == "a"

    asyncio.run(scenario())
    database.close()
    with closing(Database(tmp_path)) as again:
        assert keys(again) == ["a"]


def test_a_closed_database_refuses(tmp_path):
    database = Database(tmp_path)
    database.close()
    with pytest.raises(Unavailable, match="closed"):
        asyncio.run(database.run(set_document("a")))
    with pytest.raises(Unavailable, match="closed"):
        database.read("SELECT 1")
    with pytest.raises(Unavailable, match="closed"):
        database.run_now(set_document("a"))


def test_one_database_serves_one_loop_after_the_other(database):
    for key in ("a", "b"):
        asyncio.run(database.run(set_document(key)))
    assert keys(database) == ["a", "b"]


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("PRAGMA user_version = 2", "schema version 2; this release works on 1"),
        ("PRAGMA application_id = 7", "not made by Arco Flow"),
    ],
)
def test_a_file_of_another_making_is_left_alone(tmp_path, script, message):
    database = Database(tmp_path)
    database.close()
    with closing(sqlite3.connect(database.path)) as other:
        other.execute(script)
    with pytest.raises(Conflict, match=message):
        Database(tmp_path)
    with pytest.raises(Conflict, match=message):
        Database(tmp_path)


def test_somebody_elses_database_is_left_alone(tmp_path):
    with closing(sqlite3.connect(tmp_path / "arco.db")) as other:
        other.execute("CREATE TABLE theirs (x)")
    with pytest.raises(Conflict, match="not made by Arco Flow"):
        Database(tmp_path)


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "arco.db").write_bytes(b"no database at all" * 1000)
    with pytest.raises(Unavailable, match="damaged"):
        Database(tmp_path)


def test_a_folder_that_can_not_be_made_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Unavailable, match=r"file"):
        Database(tmp_path / "file" / "below")


WRITER = """
import asyncio, sys
from arco_flow.adapters.local.clock import SystemClock
from arco_flow.adapters.local.database import Database
from arco_flow.adapters.local.store import SqliteStore
from arco_flow.ports.store import Commit, Head

async def write(store, n):
    entity, version = f"t:w:run:{n}", 0
    while True:
        await store.post(entity, f"e{version}", b"x" * 300)
        items = await store.inbox(entity, 10)
        version += 1
        head = Head(entity, version, "running", b"%d" % version * 500)
        rows = {"version": b"%d" % version}
        await store.commit(Commit(head, version - 1, b"%d" % version, items, rows))
        print(n, version, flush=True)

async def main():
    store = SqliteStore(Database(sys.argv[1]), SystemClock())
    await asyncio.gather(*(write(store, n) for n in range(4)))

asyncio.run(main())
"""


def test_a_process_that_is_killed_leaves_all_that_it_acknowledged_and_nothing_half(tmp_path):
    for _ in range(3):
        acknowledged = kill_after(WRITER, str(tmp_path / "folder"), lines=400)
        with closing(Database(tmp_path / "folder")) as database:
            assert database.read("PRAGMA integrity_check") == [("ok",)]
            for name in range(4):
                versions = [int(line.split()[1]) for line in acknowledged if line[0] == str(name)]
                asyncio.run(check_history(database, f"t:w:run:{name}", max(versions, default=0)))
        (tmp_path / "folder").rename(tmp_path / f"done{_}")


async def check_history(database, entity, acknowledged):
    store = SqliteStore(database, VirtualClock())
    head = await store.load(entity)
    assert head.version >= acknowledged
    segments = await store.segments(entity, limit=100_000)
    assert segments == [b"%d" % version for version in range(1, head.version + 1)]
    assert head.state == b"%d" % head.version * 500
    assert await store.rows(entity) == {"version": b"%d" % head.version}
    waiting = [item.event_id for item in await store.inbox(entity, 10)]
    assert waiting in ([], [f"e{head.version}"])


def kill_after(code, *arguments, lines):
    """What a child printed until it was killed, which is in the middle of its work."""
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as child:
        printed = [child.stdout.readline() for _ in range(lines)]
        os.kill(child.pid, signal.SIGKILL)
        printed += child.stdout.readlines()
    # The last line may have been cut.
    return [line for line in printed if line.endswith("\n")]


def python(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True, text=True, check=True, env=environment(),
    ).stdout  # fmt: skip


def environment():
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
