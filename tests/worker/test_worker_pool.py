import asyncio
import json
import os
import signal

import pytest
from plane_stub import PATIENCE_SECONDS, accept

from arco_flow.domain.errors import InvalidInput, Unavailable
from arco_flow.worker.pool import WorkerPool
from arco_flow.worker.process import (
    WorkerSpec,
    describe_exit,
    worker_environment,
)

CODE = """
import os, signal
from arco_flow.sdk.asset import asset

@asset
def noop() -> int:
    return os.getpid()

@asset
def waits() -> int:
    open("entered.fifo", "w").close()
    open("leave.fifo").close()
    return os.getpid()

@asset
def dies() -> int:
    os.kill(os.getpid(), signal.SIGKILL)

@asset
def crashes() -> int:
    import ctypes
    ctypes.string_at(0)

@asset
def starts_child() -> int:
    import subprocess
    child = subprocess.Popen(["sleep", "1000"])
    with open("child", "w") as file:
        file.write(str(child.pid))
    open("entered.fifo", "w").close()
    open("leave.fifo").close()

@asset
def shows() -> dict:
    return dict(os.environ)
"""


@pytest.fixture
def target(bench):
    for name in ("entered.fifo", "leave.fifo"):
        os.mkfifo(bench.root / name)
    return bench.write(CODE)


def pool_of(bench, target, **options) -> WorkerPool:
    spec = WorkerSpec(
        target=str(target),
        root=str(bench.root),
        objects=str(bench.objects_folder),
        scope="t/w",
        environment=options.pop("environment", None),
    )
    return WorkerPool(spec, **{"size": 1, "name": "w", **options})


def run(pool: WorkerPool, scenario) -> None:
    """Start the pool, run the scenario, close the pool and look for orphans."""

    async def all_of_it() -> None:
        await pool.start()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await scenario()
        finally:
            processes = [worker._process for worker in pool._workers]
            await pool.close(grace_seconds=5)
        assert not pool._workers
        assert all(process.returncode is not None for process in processes)

    asyncio.run(all_of_it())


def raw(bench, asset: str, attempt_id: str = "att_1", **payload) -> bytes:
    return json.dumps(bench.envelope(asset, attempt_id, **payload)).encode()


async def entered(bench) -> None:
    await asyncio.to_thread(lambda: open(bench.root / "entered.fifo").close())


async def leave(bench) -> None:
    await asyncio.to_thread(lambda: open(bench.root / "leave.fifo", "w").close())


def pids(bench, *attempts: str) -> list[int]:
    return [
        int(bench.objects.get(bench.prefix("sales.noop", attempt) + "data.json").data)
        for attempt in attempts
    ]


def test_attempts_share_warm_processes(bench, target):
    async def scenario():
        statuses = [await pool.dispatch(raw(bench, "sales.noop", f"att_{n}")) for n in range(3)]
        assert statuses == [200, 200, 200]

    pool = pool_of(bench, target)
    run(pool, scenario)
    assert len(set(pids(bench, "att_0", "att_1", "att_2"))) == 1
    assert bench.server.next("started")["workerId"] == "w-1"


def test_waiting_dispatches_are_served_in_order(bench, target):
    order = []

    def answer(kind, body):
        if kind == "started":
            order.append(body["attemptId"])
        return accept(kind, body)

    async def scenario():
        first = asyncio.create_task(pool.dispatch(raw(bench, "sales.waits", "att_first")))
        await entered(bench)
        later = [
            asyncio.create_task(pool.dispatch(raw(bench, "sales.noop", f"att_{n}")))
            for n in range(4)
        ]
        await asyncio.sleep(0)
        later[1].cancel()
        await leave(bench)
        results = await asyncio.gather(first, *later, return_exceptions=True)
        assert [result == 200 for result in results] == [True, True, False, True, True]

    bench.server.answer = answer
    pool = pool_of(bench, target)
    run(pool, scenario)
    assert order == ["att_first", "att_0", "att_2", "att_3"]


def test_a_killed_process_is_reported_and_replaced(bench, target):
    async def scenario():
        assert await pool.dispatch(raw(bench, "sales.dies", "att_1")) == 200
        assert await pool.dispatch(raw(bench, "sales.noop", "att_2")) == 200

    pool = pool_of(bench, target)
    run(pool, scenario)
    report = bench.server.next("completed")
    assert (report["outcome"], report["attemptId"]) == ("FAILED", "att_1")
    assert report["workerId"] == "w-1"
    assert report["error"]["category"] == "INFRASTRUCTURE"
    assert report["error"]["message"] == (
        "worker process exited with signal 9 (killed; out of memory?)"
    )
    assert bench.server.next("completed")["outcome"] == "SUCCEEDED"


def test_a_crash_in_c_is_reported_with_the_python_line(bench, target):
    async def scenario():
        assert await pool.dispatch(raw(bench, "sales.crashes")) == 200

    pool = pool_of(bench, target)
    run(pool, scenario)
    error = bench.server.next("completed")["error"]
    assert "signal 11 (SIGSEGV)" in error["message"]
    assert "in crashes" in error["stackTrace"]


def test_deaths_can_be_left_to_the_heartbeats(bench, target):
    async def scenario():
        assert await pool.dispatch(raw(bench, "sales.dies")) == 200

    pool = pool_of(bench, target, report_deaths=False)
    run(pool, scenario)
    assert bench.server.next("started")["attemptId"] == "att_1"
    assert bench.server.calls.qsize() == 0


def test_stopping_an_attempt_kills_its_process_and_its_children_without_a_report(bench, target):
    async def scenario():
        dispatched = asyncio.create_task(pool.dispatch(raw(bench, "sales.starts_child")))
        await entered(bench)
        assert not await pool.stop_attempt("att_other", "no such")
        assert await pool.stop_attempt("att_1", "cancel grace over")
        assert await dispatched == 200
        assert await pool.dispatch(raw(bench, "sales.noop", "att_2")) == 200

    pool = pool_of(bench, target)
    run(pool, scenario)
    child = int((bench.root / "child").read_text())
    with pytest.raises(ProcessLookupError):
        _alive(child)
    assert bench.server.next("completed")["attemptId"] == "att_2"


def _alive(pid: int) -> None:
    """Raises ProcessLookupError unless the process runs; a zombie does not."""
    with open(f"/proc/{pid}/stat") if os.path.exists(f"/proc/{pid}/stat") else _gone() as file:
        if file.read().rpartition(")")[2].split()[0] == "Z":
            raise ProcessLookupError


def _gone():
    raise ProcessLookupError


def test_a_caller_who_gives_up_does_not_end_the_attempt(bench, target):
    async def scenario():
        dispatched = asyncio.create_task(pool.dispatch(raw(bench, "sales.waits")))
        await entered(bench)
        dispatched.cancel()
        await asyncio.gather(dispatched, return_exceptions=True)
        await leave(bench)
        assert await pool.dispatch(raw(bench, "sales.noop", "att_2")) == 200

    pool = pool_of(bench, target)
    run(pool, scenario)
    assert bench.server.next("completed")["outcome"] == "SUCCEEDED"


def test_other_code_is_run_after_a_reload_and_busy_workers_finish_first(bench, target):
    async def scenario():
        busy = asyncio.create_task(pool.dispatch(raw(bench, "sales.waits", "att_1")))
        await entered(bench)
        other = bench.write(
            "from arco_flow.sdk.asset import asset\n@asset\ndef fresh() -> int:\n    return 7\n",
            "news.py",
        )
        await pool.reload(str(other), str(bench.root))
        fresh = asyncio.create_task(pool.dispatch(raw(bench, "news.fresh", "att_2")))
        await leave(bench)
        assert await asyncio.gather(busy, fresh) == [200, 200]

    pool = pool_of(bench, target)
    run(pool, scenario)
    reports = {}
    for _ in range(2):
        body = bench.server.next("completed")
        reports[body["attemptId"]] = body["outcome"]
    assert reports == {"att_1": "SUCCEEDED", "att_2": "SUCCEEDED"}


def test_an_idle_worker_that_dies_is_replaced_before_it_is_used(bench, target):
    async def scenario():
        await pool.dispatch(raw(bench, "sales.noop", "att_1"))
        (worker,) = pool._idle
        os.kill(worker._process.pid, signal.SIGKILL)
        await asyncio.to_thread(worker._process.wait)
        assert await pool.dispatch(raw(bench, "sales.noop", "att_2")) == 200

    pool = pool_of(bench, target)
    run(pool, scenario)
    assert len(set(pids(bench, "att_1", "att_2"))) == 2


def test_workers_that_can_not_start_fail_their_attempt_with_what_they_said(bench, target):
    async def scenario():
        assert await pool.dispatch(raw(bench, "sales.noop")) == 200

    pool = pool_of(bench, target, environment={**os.environ, "PYTHONHOME": "/nowhere"})
    run(pool, scenario)
    error = bench.server.next("completed")["error"]
    assert error["category"] == "INFRASTRUCTURE"
    assert "exited with code" in error["message"]
    assert "encodings" in error["stackTrace"]


def test_a_worker_that_dies_before_it_is_ready_costs_no_attempt(bench, target):
    """It has claimed nothing: the next process runs the attempt, and nobody hears of the first."""
    stumble = bench.root / "sitecustomize.py"
    stumble.write_text(
        "import os, pathlib\n"
        "flag = pathlib.Path(__file__).with_name('stumbled')\n"
        "if not flag.exists():\n"
        "    flag.touch()\n"
        "    os._exit(1)\n"
    )

    async def scenario():
        assert await pool.dispatch(raw(bench, "sales.noop")) == 200

    pool = pool_of(bench, target, environment={**os.environ, "PYTHONPATH": str(bench.root)})
    run(pool, scenario)
    assert bench.server.next("completed")["outcome"] == "SUCCEEDED"
    assert (bench.root / "stumbled").exists()


def test_closing_lets_busy_workers_finish_within_the_grace(bench, target):
    async def scenario():
        dispatched = asyncio.create_task(pool.dispatch(raw(bench, "sales.waits")))
        await entered(bench)
        closing = asyncio.create_task(pool.close(grace_seconds=PATIENCE_SECONDS))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            await pool.dispatch(raw(bench, "sales.noop", "att_2"))
        await leave(bench)
        assert await dispatched == 200
        await closing

    pool = pool_of(bench, target)
    run(pool, scenario)
    assert bench.server.next("completed")["outcome"] == "SUCCEEDED"


def test_closing_kills_what_does_not_finish(bench, target):
    async def scenario():
        dispatched = asyncio.create_task(pool.dispatch(raw(bench, "sales.waits")))
        await entered(bench)
        await pool.close(grace_seconds=0.01)
        assert await dispatched == 200

    pool = pool_of(bench, target)
    run(pool, scenario)
    assert "signal 9" in bench.server.next("completed")["error"]["message"]


def test_what_is_no_envelope_is_refused_by_the_pool_and_the_wrong_scope_by_the_worker(
    bench, target
):
    async def scenario():
        with pytest.raises(InvalidInput):
            await pool.dispatch(b"{")
        foreign = json.dumps({**bench.envelope("sales.noop"), "tenantId": "other"}).encode()
        assert await pool.dispatch(foreign) == 400

    pool = pool_of(bench, target)
    run(pool, scenario)


def test_secrets_of_the_plane_do_not_reach_user_code(bench, target):
    secrets = {"ARCO_FLOW_TOKEN": "a", "ARCO_FLOW_TOKEN_SECRET": "b"}
    secrets["ARCO_FLOW_TENANT_SECRET"] = "c"

    async def scenario():
        assert await pool.dispatch(raw(bench, "sales.shows")) == 200

    pool = pool_of(bench, target, environment={**os.environ, **secrets, "KEPT": "1"})
    run(pool, scenario)
    seen = json.loads(bench.objects.get(bench.prefix("sales.shows") + "data.json").data)
    assert seen["KEPT"] == "1"
    assert not set(secrets) & set(seen)
    assert "ARCO_FLOW_TOKEN" not in worker_environment({"ARCO_FLOW_TOKEN": "a"})


def test_exits_are_described():
    assert "code 3" in describe_exit(3)
    assert "signal 6 (SIGABRT)" in describe_exit(-6)
    assert "without exiting" in describe_exit(None)
