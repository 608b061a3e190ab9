"""Every queue: names, times, retries, refusals."""

from __future__ import annotations

import asyncio

import pytest

from arco_flow.domain.errors import Conflict, InvalidInput, Unavailable
from arco_flow.ports.tasks import NewTask
from conformance.adapters import SETTINGS
from conformance.handlers import Held, Recorder


def test_a_task_is_delivered_to_its_route(queues):
    async def scenario(queue):
        handler, other = Recorder(), Recorder()
        queue.tasks.register("fold", handler)
        queue.tasks.register("other", other)
        assert await queue.tasks.enqueue("wakes", "w_1", "fold", b"body")
        await queue.pass_time(0)
        [(body, delivery)] = handler.got
        assert body == b"body"
        assert (delivery.queue, delivery.name, delivery.attempt) == ("wakes", "w_1", 1)
        assert other.got == []

    queues.run(scenario)


def test_of_many_tasks_of_one_name_one_is_delivered(queues):
    async def scenario(queue):
        handler = Recorder()
        queue.tasks.register("fold", handler)
        added = await asyncio.gather(
            *(queue.tasks.enqueue("wakes", "w_1", "fold", b"%d" % n) for n in range(20))
        )
        await queue.pass_time(0)
        assert sum(added) == 1
        assert handler.bodies == [b"%d" % added.index(True)]

    queues.run(scenario)


def test_several_tasks_are_added_in_one_call_each_by_its_own_name_and_time(queues):
    async def scenario(queue):
        handler = Recorder()
        queue.tasks.register("tick", handler)
        await queue.tasks.enqueue("q", "known", "tick", b"known")
        later = queue.clock.now_ms() + 100
        answers = await queue.tasks.enqueue_many(
            [
                NewTask("q", "a", "tick", b"a"),
                NewTask("q", "known", "tick", b"again"),
                NewTask("q", "a", "tick", b"twice"),
                NewTask("other", "a", "tick", b"later", later),
            ]
        )
        assert answers == [True, False, False, True]
        await queue.pass_time(0)
        assert handler.bodies == [b"known", b"a"]
        await queue.pass_time(100)
        assert handler.bodies == [b"known", b"a", b"later"]
        assert await queue.tasks.enqueue_many([]) == []

    queues.run(scenario)


def test_a_bad_name_among_several_adds_none(queues):
    async def scenario(queue):
        tasks = [NewTask("q", "good", "tick", b""), NewTask("q", "b a d", "tick", b"")]
        with pytest.raises(InvalidInput):
            await queue.tasks.enqueue_many(tasks)
        assert not await queue.tasks.delete("q", "good")

    queues.run(scenario)


def test_a_name_is_refused_also_after_its_task_is_done(queues):
    async def scenario(queue):
        handler = Recorder()
        queue.tasks.register("fold", handler)
        await queue.tasks.enqueue("wakes", "w_1", "fold", b"one")
        await queue.pass_time(0)
        assert not await queue.tasks.enqueue("wakes", "w_1", "fold", b"two")
        await queue.pass_time(60_000)
        assert handler.bodies == [b"one"]

    queues.run(scenario)


def test_a_name_is_free_again_after_a_finite_window(queues):
    async def scenario(queue):
        handler = Recorder()
        queue.tasks.register("fold", handler)
        await queue.tasks.enqueue("wakes", "w_1", "fold", b"one")
        await queue.pass_time(0)
        await queue.pass_time(25 * 3600 * 1000)
        assert await queue.tasks.enqueue("wakes", "w_1", "fold", b"two")
        await queue.pass_time(0)
        assert handler.bodies == [b"one", b"two"]

    queues.run(scenario)


def test_queues_do_not_share_names(queues):
    async def scenario(queue):
        handler = Recorder()
        queue.tasks.register("fold", handler)
        assert await queue.tasks.enqueue("wakes", "same", "fold", b"1")
        assert await queue.tasks.enqueue("timers", "same", "fold", b"2")
        await queue.pass_time(0)
        assert sorted(handler.bodies) == [b"1", b"2"]

    queues.run(scenario)


def test_a_task_is_not_delivered_before_its_time(queues):
    async def scenario(queue):
        handler = Recorder()
        queue.tasks.register("tick", handler)
        start = queue.clock.now_ms()
        for name, delay in (("late", 500), ("soon", 100), ("past", -1000)):
            await queue.tasks.enqueue("q", name, "tick", name.encode(), at_ms=start + delay)
        await queue.pass_time(0)
        assert handler.bodies == [b"past"]
        await queue.pass_time(99)
        assert handler.bodies == [b"past"]
        await queue.pass_time(1)
        assert handler.bodies == [b"past", b"soon"]
        assert handler.got[1][1].at_ms == start + 100
        await queue.pass_time(400)
        assert handler.bodies == [b"past", b"soon", b"late"]

    queues.run(scenario)


def test_due_tasks_come_in_the_order_of_their_times(driven_queues):
    async def scenario(queue):
        handler = Recorder()
        queue.tasks.register("tick", handler)
        start = queue.clock.now_ms()
        for delay in (30, 10, 20):
            await queue.tasks.enqueue("q", f"t{delay}", "tick", b"%d" % delay, at_ms=start + delay)
        await queue.pass_time(1000)
        assert handler.bodies == [b"10", b"20", b"30"]

    driven_queues.run(scenario)


def test_a_failed_delivery_is_repeated_after_a_wait_that_doubles_up_to_its_bound(queues):
    async def scenario(queue):
        handler = Recorder(*[ValueError("not yet")] * 5)
        queue.tasks.register("fold", handler)
        await queue.tasks.enqueue("wakes", "w_1", "fold", b"")
        await queue.pass_time(0)
        for number, wait in enumerate((100, 200, 400, 800, 1000), start=1):
            await queue.pass_time(wait - 1)
            assert len(handler.got) == number
            await queue.pass_time(1)
            assert len(handler.got) == number + 1
        assert handler.attempts == [1, 2, 3, 4, 5, 6]
        await queue.pass_time(60_000)
        assert len(handler.got) == 6
        assert queue.tasks.dead() == []

    queues.run(scenario)


def test_an_unavailable_dependency_is_a_retry(queues):
    async def scenario(queue):
        handler = Recorder(Unavailable("down"))
        queue.tasks.register("fold", handler)
        await queue.tasks.enqueue("wakes", "w_1", "fold", b"")
        await queue.pass_time(0)
        await queue.pass_time(100)
        assert handler.attempts == [1, 2]

    queues.run(scenario)


def test_a_refused_task_is_dead_with_its_reason_and_is_not_repeated(queues):
    async def scenario(queue):
        handler = Recorder(Conflict("the plan is gone", fix="plan again"))
        queue.tasks.register("fold", handler)
        await queue.tasks.enqueue("wakes", "w_1", "fold", b"poison")
        await queue.pass_time(0)
        await queue.pass_time(60_000)
        assert handler.attempts == [1]
        [dead] = queue.tasks.dead()
        assert (dead.queue, dead.name, dead.route, dead.body) == ("wakes", "w_1", "fold", b"poison")
        assert dead.reason == "CONFLICT: the plan is gone"
        assert dead.attempt == 1
        assert not await queue.tasks.enqueue("wakes", "w_1", "fold", b"poison")

    queues.run(scenario)


def test_the_dead_are_listed_newest_first(queues):
    async def scenario(queue):
        queue.tasks.register("fold", Recorder(*[InvalidInput("no")] * 3))
        for name in ("a", "b", "c"):
            await queue.tasks.enqueue("q", name, "fold", b"")
            await queue.pass_time(1)
        assert [dead.name for dead in queue.tasks.dead(2)] == ["c", "b"]

    queues.run(scenario)


def test_a_failing_task_does_not_hold_up_the_others(queues):
    async def scenario(queue):
        bad, good = Recorder(*[ValueError("no")] * 3), Recorder()
        queue.tasks.register("bad", bad)
        queue.tasks.register("good", good)
        await queue.tasks.enqueue("q", "bad", "bad", b"")
        await queue.tasks.enqueue("q", "good", "good", b"")
        await queue.pass_time(0)
        assert len(good.got) == 1

    queues.run(scenario)


def test_a_deleted_task_is_not_delivered(queues):
    async def scenario(queue):
        handler = Recorder()
        queue.tasks.register("tick", handler)
        await queue.tasks.enqueue("q", "t", "tick", b"", at_ms=queue.clock.now_ms() + 100)
        assert await queue.tasks.delete("q", "t")
        assert not await queue.tasks.delete("q", "t")
        await queue.pass_time(1000)
        assert handler.got == []

    queues.run(scenario)


def test_there_is_nothing_to_delete_once_a_task_is_done_or_runs(driven_queues):
    async def scenario(queue):
        answers = []

        async def handler(body, delivery):
            answers.append(await queue.tasks.delete("q", "t"))

        queue.tasks.register("tick", handler)
        assert not await queue.tasks.delete("q", "t")
        await queue.tasks.enqueue("q", "t", "tick", b"")
        await queue.pass_time(0)
        assert answers == [False]
        assert not await queue.tasks.delete("q", "t")

    driven_queues.run(scenario)


def test_a_handler_may_enqueue(queues):
    async def scenario(queue):
        seen = []

        async def handler(body, delivery):
            seen.append(int(body))
            if int(body):
                name = f"n{int(body) - 1}"
                await queue.tasks.enqueue("q", name, "count", b"%d" % (int(body) - 1))

        queue.tasks.register("count", handler)
        await queue.tasks.enqueue("q", "n5", "count", b"5")
        await queue.pass_time(0)
        assert seen == [5, 4, 3, 2, 1, 0]

    queues.run(scenario)


def test_a_route_without_a_handler_loses_nothing(queues):
    async def scenario(queue):
        handler = Recorder()
        await queue.tasks.enqueue("q", "t", "later", b"")
        await queue.pass_time(0)
        queue.tasks.register("later", handler)
        await queue.pass_time(100)
        assert handler.attempts == [2]

    queues.run(scenario)


@pytest.mark.parametrize("name", ["", "a b", "a/b", "ü", "a:b", "x" * 501])
def test_a_name_that_cloud_tasks_would_refuse_is_refused(queues, name):
    async def scenario(queue):
        with pytest.raises(InvalidInput, match="can not name a task"):
            await queue.tasks.enqueue("q", name, "fold", b"")

    queues.run(scenario)


async def begun(queue):
    """One task whose handler runs."""
    held = Held()
    queue.tasks.register("slow", held)
    await queue.tasks.enqueue("q", "t", "slow", b"")
    await queue.begin_time(0)
    await held.wait_for()
    return held


async def overdue(queue):
    """One task whose first delivery is over its deadline and whose second one has come in."""
    held = await begun(queue)
    await queue.begin_time(SETTINGS.dispatch_deadline_ms)
    await queue.begin_time(SETTINGS.min_backoff_ms)
    await held.wait_for()
    return held


def test_no_more_handlers_run_at_once_than_may_and_the_rest_follow(driven_queues):
    async def scenario(queue):
        held, number = Held(), SETTINGS.max_concurrent + 3
        queue.tasks.register("slow", held)
        for n in range(number):
            await queue.tasks.enqueue("q", f"t{n}", "slow", b"")
        await queue.begin_time(0)
        await held.wait_for(SETTINGS.max_concurrent)
        for n in range(number):
            held.answer(n)
            if n < 3:
                await held.wait_for()
        await queue.pass_time(60_000)
        assert held.most == SETTINGS.max_concurrent
        assert sorted(d.name for d in held.deliveries) == [f"t{n}" for n in range(number)]

    driven_queues.run(scenario)


def test_a_full_queue_does_not_hold_up_another(driven_queues):
    async def scenario(queue):
        held, quick = Held(), Recorder()
        queue.tasks.register("slow", held)
        queue.tasks.register("quick", quick)
        for n in range(SETTINGS.max_concurrent):
            await queue.tasks.enqueue("full", f"t{n}", "slow", b"")
        await queue.tasks.enqueue("full", "last", "quick", b"")
        await queue.tasks.enqueue("free", "first", "quick", b"")
        await queue.begin_time(0)
        await held.wait_for(SETTINGS.max_concurrent)
        assert [delivery.name for _, delivery in quick.got] == ["first"]
        for n in range(SETTINGS.max_concurrent):
            held.answer(n)
        await queue.pass_time(0)
        assert [delivery.name for _, delivery in quick.got] == ["first", "last"]

    driven_queues.run(scenario)


def test_a_delivery_without_an_answer_is_repeated_while_its_handler_still_runs(driven_queues):
    async def scenario(queue):
        held = await overdue(queue)
        assert held.attempts == [1, 2]
        assert held.running == 2
        held.answer(1)
        held.answer(0)
        await queue.pass_time(60_000)
        assert held.attempts == [1, 2]

    driven_queues.run(scenario)


def test_a_delivery_is_not_repeated_before_its_deadline_nor_after_an_answer_in_time(driven_queues):
    async def scenario(queue):
        held = await begun(queue)
        await queue.begin_time(SETTINGS.dispatch_deadline_ms - 1)
        held.answer(0)
        await queue.pass_time(60_000)
        assert held.attempts == [1]

    driven_queues.run(scenario)


@pytest.mark.parametrize("late", [None, ValueError("late"), Conflict("late")], ids=repr)
def test_what_a_handler_answers_after_its_deadline_changes_nothing(driven_queues, late):
    async def scenario(queue):
        held = await begun(queue)
        await queue.begin_time(SETTINGS.dispatch_deadline_ms)
        held.answer(0, late)
        await queue.begin_time(SETTINGS.min_backoff_ms)
        await held.wait_for()
        assert not await queue.tasks.enqueue("q", "t", "slow", b"")
        held.answer(1)
        await queue.pass_time(60_000)
        assert held.attempts == [1, 2]
        assert queue.tasks.dead() == []

    driven_queues.run(scenario)


def test_a_deadline_counts_as_a_failed_attempt_and_frees_its_place_in_the_queue(driven_queues):
    async def scenario(queue):
        held = await overdue(queue)
        held.answer(1, ValueError("second failure"))
        await queue.begin_time(0)
        await queue.begin_time(2 * SETTINGS.min_backoff_ms - 1)
        assert held.attempts == [1, 2]
        for n in range(SETTINGS.max_concurrent - 1):
            await queue.tasks.enqueue("q", f"other{n}", "slow", b"")
        await queue.begin_time(1)
        await held.wait_for(SETTINGS.max_concurrent)
        assert held.running == SETTINGS.max_concurrent + 1
        for n in (0, *range(2, SETTINGS.max_concurrent + 2)):
            held.answer(n)
        await queue.pass_time(60_000)
        assert held.running == 0

    driven_queues.run(scenario)


def test_a_name_is_refused_while_its_task_runs_and_while_it_waits_to_be_repeated(driven_queues):
    async def scenario(queue):
        held = await begun(queue)
        assert not await queue.tasks.enqueue("q", "t", "slow", b"")
        held.answer(0, ValueError("no"))
        await queue.pass_time(0)
        assert not await queue.tasks.enqueue("q", "t", "slow", b"")
        await queue.begin_time(SETTINGS.min_backoff_ms)
        await held.wait_for()
        held.answer(1)
        await queue.pass_time(60_000)
        assert held.attempts == [1, 2]

    driven_queues.run(scenario)


def test_a_task_that_waits_to_be_repeated_can_be_deleted(queues):
    async def scenario(queue):
        handler = Recorder(ValueError("no"))
        queue.tasks.register("fold", handler)
        await queue.tasks.enqueue("q", "t", "fold", b"")
        await queue.pass_time(0)
        assert await queue.tasks.delete("q", "t")
        await queue.pass_time(60_000)
        assert handler.attempts == [1]

    queues.run(scenario)
