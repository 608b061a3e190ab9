"""What is Cloud Tasks' own: answers that get lost, what a task carries, its limits."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

import pytest

from adapters.gcp.faults import ABORTED, DEADLINE, EXHAUSTED, UNAVAILABLE, LostAnswers
from arco_flow.adapters.gcp.cloud_tasks import HORIZON_MS, TASK_LIMIT_BYTES, CloudTasks, Target
from arco_flow.adapters.gcp.operation_counts import OperationCounts
from arco_flow.adapters.gcp.pacing import Pace
from arco_flow.domain.errors import InvalidInput, OutcomeUnknown, TooLarge, Unavailable
from arco_flow.ports.tasks import NewTask
from conformance.adapters import SETTINGS
from conformance.google_queues import LOCATION, emulated_tasks, make_queues

REFUSED = "failed to connect to all addresses; last error: connection refused"
TARGETS = {"fold": Target("http://127.0.0.1:1/fold", "https://fold", "tasks@test", 60)}
LATER_MS = 3_600_000


class Queue:
    """An emulated queue `q` and the adapter on it."""

    def __init__(self):
        self.answers = {name: LostAnswers(name) for name in ("CreateTask", "DeleteTask")}
        self.counts = OperationCounts()
        self.at_ms = time.time_ns() // 1_000_000 + LATER_MS

    def run(self, scenario):
        async def main():
            async with AsyncExitStack() as stack:
                running = await stack.enter_async_context(emulated_tasks())
                self.book = running.emulator.book
                endpoint = f"127.0.0.1:{running.port}"
                await make_queues(endpoint, "test", ["q"], SETTINGS)
                tasks = CloudTasks(
                    "test", LOCATION, TARGETS, endpoint=endpoint, counts=self.counts,
                    pace=Pace(attempts=4, first_ms=1), interceptors=tuple(self.answers.values()),
                )  # fmt: skip
                stack.push_async_callback(tasks.close)
                await scenario(tasks)

        asyncio.run(main())

    def held(self):
        """The tasks that the queue holds, by their short names."""
        [queue] = self.book.queues.values()
        return {name.rpartition("/")[2]: entry.task for name, entry in queue.tasks.items()}

    def new(self, name, body=b"", route="fold"):
        return NewTask("q", name, route, body, self.at_ms)


@pytest.fixture
def queue():
    return Queue()


@pytest.mark.parametrize("code", [DEADLINE, UNAVAILABLE], ids=str)
@pytest.mark.parametrize("times", [1, 3])
def test_a_task_that_was_added_unheard_counts_as_added(queue, code, times):
    async def scenario(tasks):
        queue.answers["CreateTask"].after(code, "Socket closed", times=times)
        assert await tasks.enqueue("q", "t", "fold", b"", at_ms=queue.at_ms)
        assert not await tasks.enqueue("q", "t", "fold", b"", at_ms=queue.at_ms)
        assert list(queue.held()) == ["t"]

    queue.run(scenario)


def test_a_task_without_any_answer_may_have_been_added(queue):
    async def scenario(tasks):
        queue.answers["CreateTask"].before(DEADLINE, times=4)
        with pytest.raises(OutcomeUnknown, match="CreateTask in queue 'q'"):
            await tasks.enqueue("q", "t", "fold", b"")

    queue.run(scenario)


@pytest.mark.parametrize(
    ("code", "text"), [(UNAVAILABLE, REFUSED), (EXHAUSTED, "quota"), (ABORTED, "later")]
)
def test_a_task_that_never_got_there_was_not_added(queue, code, text):
    async def scenario(tasks):
        queue.answers["CreateTask"].before(code, text, times=4)
        with pytest.raises(Unavailable) as raised:
            await tasks.enqueue("q", "t", "fold", b"")
        assert not isinstance(raised.value, OutcomeUnknown)
        queue.answers["CreateTask"].before(code, text, times=3)
        assert await tasks.enqueue("q", "t", "fold", b"", at_ms=queue.at_ms)

    queue.run(scenario)


def test_of_several_tasks_some_may_have_been_added_when_one_fails(queue):
    async def scenario(tasks):
        queue.answers["CreateTask"].before(UNAVAILABLE, REFUSED, times=4)
        with pytest.raises(Unavailable) as raised:
            await tasks.enqueue_many([queue.new("a")])
        assert not isinstance(raised.value, OutcomeUnknown)
        queue.answers["CreateTask"].before(UNAVAILABLE, REFUSED, times=1)
        queue.answers["CreateTask"].before(DEADLINE, times=1)
        assert await tasks.enqueue_many([queue.new("a"), queue.new("b")]) == [True, True]
        missing = NewTask("missing", "c", "fold", b"")
        with pytest.raises(OutcomeUnknown, match="1 of 2 tasks were added"):
            await tasks.enqueue_many([queue.new("d"), missing])
        assert sorted(queue.held()) == ["a", "b", "d"]

    queue.run(scenario)


def test_of_several_tasks_none_is_added_when_one_is_wrong(queue):
    async def scenario(tasks):
        for wrong, error in (
            (queue.new("b a d"), InvalidInput),
            (queue.new("t", route="fould"), InvalidInput),
            (queue.new("t", bytes(TASK_LIMIT_BYTES)), TooLarge),
        ):
            with pytest.raises(error, match="fix: "):
                await tasks.enqueue_many([queue.new("good"), wrong])
        assert queue.held() == {}
        assert queue.counts.so_far()["tasks"] == 0

    queue.run(scenario)


def test_a_route_that_nobody_takes_is_answered_with_the_nearest(queue):
    async def scenario(tasks):
        with pytest.raises(InvalidInput, match="did you mean 'fold'"):
            await tasks.enqueue("q", "t", "fould", b"")

    queue.run(scenario)


def test_a_thousand_tasks_are_added_by_as_many_calls(queue):
    async def scenario(tasks):
        many = [queue.new(f"t{n}", b"%d" % n) for n in range(1000)]
        assert await tasks.enqueue_many([*many, *many[:10]]) == [True] * 1000 + [False] * 10
        assert {name: task.http_request.body for name, task in queue.held().items()} == {
            task.name: task.body for task in many
        }
        assert queue.counts.so_far()["tasks"] == 1000

    queue.run(scenario)


def test_a_task_carries_what_its_target_needs(queue):
    async def scenario(tasks):
        await tasks.enqueue("q", "t", "fold", b"\0body\xff", at_ms=queue.at_ms)
        task = queue.held()["t"]
        request, target = task.http_request, TARGETS["fold"]
        assert (request.url, request.body) == (target.url, b"\0body\xff")
        assert request.headers["content-type"] == "application/octet-stream"
        assert request.oidc_token.service_account_email == target.account
        assert request.oidc_token.audience == target.audience
        assert task.dispatch_deadline.seconds == target.deadline_seconds
        assert task.schedule_time.ToMilliseconds() == queue.at_ms

    queue.run(scenario)


def test_a_task_of_later_than_the_horizon_is_scheduled_at_it(queue):
    async def scenario(tasks):
        now_ms = time.time_ns() // 1_000_000
        await tasks.enqueue("q", "far", "fold", b"", at_ms=now_ms + 400 * 24 * 3600 * 1000)
        await tasks.enqueue("q", "near", "fold", b"", at_ms=now_ms + HORIZON_MS - 1000)
        held = queue.held()
        far_ms = held["far"].schedule_time.ToMilliseconds()
        assert now_ms + HORIZON_MS <= far_ms <= time.time_ns() // 1_000_000 + HORIZON_MS
        assert held["near"].schedule_time.ToMilliseconds() == now_ms + HORIZON_MS - 1000

    queue.run(scenario)


def test_a_task_at_the_limit_is_taken(queue):
    async def scenario(tasks):
        await tasks.enqueue("q", "t", "fold", bytes(TASK_LIMIT_BYTES - 400), at_ms=queue.at_ms)
        assert TASK_LIMIT_BYTES - 200 < queue.held()["t"].ByteSize() <= TASK_LIMIT_BYTES + 100

    queue.run(scenario)


def test_a_queue_that_is_not_there_is_named_with_its_mend(queue):
    async def scenario(tasks):
        with pytest.raises(Unavailable, match=r"(?s)queue 'none'.*fix: create what is named"):
            await tasks.enqueue("none", "t", "fold", b"")

    queue.run(scenario)


def test_a_deletion_that_landed_unheard_was_one(queue):
    async def scenario(tasks):
        await tasks.enqueue("q", "t", "fold", b"", at_ms=queue.at_ms)
        queue.answers["DeleteTask"].after(DEADLINE)
        assert await tasks.delete("q", "t")
        assert not await tasks.delete("q", "t")
        assert queue.held() == {}
        queue.answers["DeleteTask"].before(DEADLINE, times=4)
        with pytest.raises(OutcomeUnknown):
            await tasks.delete("q", "t")

    queue.run(scenario)
