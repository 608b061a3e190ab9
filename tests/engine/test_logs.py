"""Reading logs: page by page, while a run goes on, and what each page costs."""

from __future__ import annotations

import msgspec
import pytest

from arco_flow.domain.errors import InvalidInput, NotFound, Unavailable
from arco_flow.domain.ids import log_prefix
from arco_flow.domain.manifest import TimeoutsSpec
from arco_flow.domain.page_size import PAGE_BYTES
from arco_flow.engine.logs import read_logs
from arco_flow.simulation.shapes import LOOSE, manifest_of
from arco_flow.simulation.workers import Worker
from engine.world import MINUTES, RETRY, SCOPE, SECONDS, World

TRACE = 'Traceback (most recent call last):\n  File "a.py", line 3, in a\nKeyError: 1\n'


class Logged(Worker):
    """A worker that writes chunks as real ones do."""

    def write(self, first: int, *messages: str) -> None:
        rows = [
            {"seq": first + i, "time": "", "stream": "stdout", "level": "", "message": text}
            for i, text in enumerate(messages)
        ]
        prefix = log_prefix(SCOPE, self.envelope.run_id, self.envelope.attempt_id)
        data = b"".join(msgspec.json.encode(row) + b"\n" for row in rows)
        self.world.objects.put_if_absent(f"{prefix}{first:08d}.ndjson", data)


class Reader:
    """Follows the log of a run and counts what it costs."""

    def __init__(self, world: World, run_id: str, **more) -> None:
        self.world = world
        self.run_id = run_id
        self.more = more
        self.token = ""
        self.complete = False

    async def page(self) -> list[tuple[str, int, str]]:
        engine = self.world.fresh_engine()
        found = await read_logs(engine, SCOPE, self.run_id, after=self.token, **self.more)
        self.token, self.complete = found.next_page_token, found.complete
        return [(line.task, line.attempt, line.message) for line in found.lines]

    async def rest(self) -> list[tuple[str, int, str]]:
        lines = []
        while not self.complete:
            lines += await self.page()
        return lines


async def started(edges=None, **spec) -> tuple[World, str, dict[str, Logged]]:
    world = World()
    await world.deploy(manifest_of(edges or {"a": []}, **spec))
    run = await world.request()
    await world.tasks.run_due()
    workers = {e.task_key: Logged(world, e) for e in world.envelopes}
    named = {world_task(e): w for e, w in zip(world.envelopes, workers.values(), strict=True)}
    for worker in named.values():
        await worker.started()
    await world.run_for(2 * SECONDS)
    return world, run.run_id, named


def world_task(envelope) -> str:
    return envelope.payload["assetKey"]


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
async def test_pages_of_any_size_are_the_same_lines_once(limit):
    world, run_id, workers = await started(LOOSE)
    for name, worker in workers.items():
        worker.write(1, f"{name} 1", f"{name} 2")
        worker.write(3, f"{name} 3")
    await workers["t.a"].completed("FAILED", error={"category": "USER_CODE", "message": "boom"})
    await workers["t.b"].succeed()
    await workers["t.c"].succeed()
    await world.run_for(10 * SECONDS)
    lines = await Reader(world, run_id, limit=limit).rest()
    order = [task for task, _, message in lines if message.endswith(" 1")]
    expected = [(task, 1, f"{task} {number}") for task in order for number in (1, 2, 3)]
    expected.insert(3 * order.index("t.a") + 3, ("t.a", 1, "USER_CODE: boom"))
    assert lines == expected


async def test_a_page_ends_with_the_line_that_makes_it_too_long():
    world, run_id, workers = await started()
    await workers["t.a"].started()
    long = ["x" * (PAGE_BYTES // 40)] * 50
    for first in (1, 51):
        workers["t.a"].write(first, *long)
    await workers["t.a"].succeed()
    await world.settle()
    reader = Reader(world, run_id)
    sizes = []
    while not reader.complete:
        sizes.append(len(await reader.page()))
    assert sizes == [40, 40, 20]


async def test_each_attempt_that_failed_ends_with_how():
    world, run_id, workers = await started(retry=RETRY)
    workers["t.a"].write(1, "first try")
    error = {"category": "USER_CODE", "message": "KeyError: 1", "stackTrace": TRACE}
    await workers["t.a"].completed("FAILED", error=error)
    await world.run_for(20 * SECONDS)
    second = Logged(world, world.envelopes[-1])
    await second.started()
    second.write(1, "second try")
    await second.succeed()
    await world.run_for(10 * SECONDS)
    assert await Reader(world, run_id).rest() == [
        ("t.a", 1, "first try"),
        ("t.a", 1, TRACE.rstrip()),
        ("t.a", 2, "second try"),
    ]


async def test_an_attempt_that_no_worker_claimed_has_a_reason_and_no_lines():
    world = World()
    await world.deploy(manifest_of({"a": []}, timeouts=TimeoutsSpec(start_ms=30 * SECONDS)))
    run = await world.request()
    await world.run_for(5 * MINUTES)
    ((task, attempt, message),) = await Reader(world, run.run_id).rest()
    assert (task, attempt) == ("t.a", 1)
    assert message.startswith("TIMEOUT: ")


async def test_following_reads_what_is_new_and_nothing_else():
    world, run_id, workers = await started(LOOSE)
    reader = Reader(world, run_id)
    for worker in workers.values():
        worker.write(1, "one")
    assert len(await reader.page()) == 3
    await workers["t.a"].succeed()
    await workers["t.b"].succeed()
    await world.run_for(10 * SECONDS)
    assert await reader.page() == []
    reads = count_reads(world)
    assert await reader.page() == []
    assert reads == {"get": 0, "list": 1}, "one attempt goes on, and it has written nothing"
    workers["t.c"].write(2, "two")
    assert await reader.page() == [("t.c", 1, "two")]
    assert reads["get"] == 1, "the chunk that is new"


async def test_the_token_does_not_grow_with_the_tasks_that_are_over():
    world, run_id, workers = await started({f"a{i}": [] for i in range(30)})
    for name, worker in workers.items():
        worker.write(1, "one")
        if name != "t.a0":
            await worker.succeed()
    await world.run_for(10 * SECONDS)
    reader = Reader(world, run_id)
    assert len(await reader.page()) == 30
    assert len(reader.token) < 60


async def test_one_task_alone():
    world, run_id, workers = await started(LOOSE)
    for name, worker in workers.items():
        worker.write(1, name)
    assert await Reader(world, run_id, task="t.b").page() == [("t.b", 1, "t.b")]
    with pytest.raises(NotFound, match=r"did you mean 't.b'"):
        await Reader(world, run_id, task="t.bb").page()


@pytest.mark.parametrize("token", ["zz", "é", "AAAA", "kwEC"])
async def test_a_token_that_is_none_is_refused(token):
    world, run_id, _ = await started()
    with pytest.raises(InvalidInput, match="malformed page token"):
        await read_logs(world.engine, SCOPE, run_id, after=token)


def count_reads(world: World) -> dict[str, int]:
    """Log objects that are read from now on, by counting below the port."""
    counts = {"get": 0, "list": 0}

    def watch(name):
        plain = getattr(world.objects, name)

        def counted(key, *args, **more):
            counts[name] += "/logs/" in key
            return plain(key, *args, **more)

        setattr(world.objects, name, counted)

    watch("get")
    watch("list")
    return counts


@pytest.mark.parametrize("line", [b"[]", b'{"seq":"one"}', b"\xff", b"{}", b"cut sho"])
async def test_a_damaged_chunk_is_told_by_its_name(line: bytes) -> None:
    world, run_id, workers = await started()
    (worker,) = workers.values()
    await worker.started()
    await world.run_for(2 * SECONDS)
    envelope = worker.envelope
    key = f"{log_prefix(SCOPE, envelope.run_id, envelope.attempt_id)}00000001.ndjson"
    world.objects.put_if_absent(key, line + b"\n")
    with pytest.raises(Unavailable, match=key):
        await Reader(world, run_id).page()
