"""The kernel: who goes on when, what ends with a process, and that chance is the seed alone."""

from __future__ import annotations

import gc
import random
import warnings
from collections import Counter
from itertools import pairwise

import pytest

from arco_flow.adapters.memory.clock import VirtualClock
from arco_flow.adapters.memory.faults import SimulatedCrash
from arco_flow.domain.errors import InvalidInput, OutcomeUnknown, Unavailable
from arco_flow.simulation.chance import Dice, mixed, stream
from arco_flow.simulation.faults import FaultPlan, SimulatedFaults, Struck
from arco_flow.simulation.fleet import Fleet, SkewedClock
from arco_flow.simulation.kernel import Host, Kernel, ended, nap, turn
from arco_flow.simulation.trace import Trace

FOREVER_MS = 10**15


def kernel_of(seed: int = 0) -> Kernel:
    return Kernel(VirtualClock(0), random.Random(seed), Trace())


async def noting(seen: list, name: object, ms: int = 0, turns: int = 0) -> object:
    if ms:
        await nap(ms)
    for _ in range(turns):
        await turn()
    seen.append(name)
    return name


async def failing(error: BaseException, ms: int = 1) -> None:
    await nap(ms)
    raise error


# -- who goes on when --------------------------------------------------------------------------


def order_of(seed: int, jobs: int = 4) -> tuple:
    kernel, seen = kernel_of(seed), []
    for number in range(jobs):
        kernel.start(noting(seen, number, turns=2), kernel.platform, "job")
    kernel.run(0)
    return tuple(seen)


def test_the_same_seed_is_the_same_order():
    assert all(order_of(seed) == order_of(seed) for seed in range(20))


def test_every_order_is_some_seed():
    assert len({order_of(seed, jobs=3) for seed in range(200)}) == 6


def test_time_passes_only_when_nobody_can_go_on():
    kernel, seen = kernel_of(), []
    kernel.start(noting(seen, "late", ms=500), kernel.platform, "late")
    kernel.start(noting(seen, "soon", ms=10), kernel.platform, "soon")
    kernel.start(noting(seen, "now", turns=50), kernel.platform, "now")
    kernel.run(100)
    assert (seen, kernel.clock.now_ms()) == (["now", "soon"], 100)
    kernel.run(1000)
    assert (seen, kernel.clock.now_ms()) == (["now", "soon", "late"], 1000)


def test_jobs_that_wake_at_the_same_moment_have_no_fixed_order():
    def first_of(seed: int) -> int:
        kernel, seen = kernel_of(seed), []
        for number in range(2):
            kernel.start(noting(seen, number, ms=100), kernel.platform, "job")
        kernel.run(100)
        return seen[0]

    assert {first_of(seed) for seed in range(20)} == {0, 1}


def test_a_run_stops_between_two_moments_when_it_is_told_to():
    kernel, seen = kernel_of(), []
    for ms in (10, 20, 30):
        kernel.start(noting(seen, ms, ms=ms), kernel.platform, "job")
    kernel.run(100, stop=lambda: 20 in seen)
    assert (seen, kernel.clock.now_ms()) == ([10, 20], 20)


def test_what_a_source_delivers_is_run_when_it_is_due():
    kernel, seen, due = kernel_of(), [], [30, 70]

    class Box:
        def next_ms(self):
            return min(due, default=None)

        def take_due(self):
            return [noting(seen, due.pop(0))]

    kernel.sources.append(Box())
    kernel.run(50)
    assert seen == [30]
    kernel.run(100)
    assert seen == [30, 70]


# -- what jobs are told ------------------------------------------------------------------------


def test_whoever_waits_for_a_job_gets_its_result():
    kernel, seen = kernel_of(), []
    job = kernel.start(noting(seen, "slow", ms=10), kernel.platform, "slow")

    async def wait() -> None:
        seen.append(await ended(job) + " has ended")

    kernel.start(wait(), kernel.platform, "wait")
    kernel.run(20)
    kernel.start(wait(), kernel.platform, "wait for what is over")
    kernel.run(30)
    assert seen == ["slow", "slow has ended", "slow has ended"]
    assert job.result() == "slow"


@pytest.mark.parametrize("error", [Unavailable("down"), ValueError("a bug")])
def test_whoever_waits_for_a_job_gets_its_error(error):
    kernel, seen = kernel_of(), []

    async def wait() -> None:
        with pytest.raises(type(error)) as raised:
            await kernel.call(failing(error), kernel.platform, "failing")
        seen.append(raised.value)

    kernel.start(wait(), kernel.platform, "wait")
    kernel.run(10)
    assert seen == [error]


def test_the_bug_of_a_job_that_nobody_waits_for_comes_to_light():
    kernel = kernel_of()
    kernel.start(failing(ValueError("a bug")), kernel.platform, "failing")
    with pytest.raises(ValueError, match="a bug"):
        kernel.run(10)


def test_an_error_of_ours_that_nobody_waits_for_is_part_of_life():
    kernel = kernel_of()
    kernel.start(failing(Unavailable("down")), kernel.platform, "failing")
    kernel.run(10)
    assert not kernel.failures


def test_what_is_nothing_of_the_kernels_can_not_be_awaited():
    class Strange:
        def __await__(self):
            yield "strange"

    async def wait() -> None:
        await Strange()

    kernel = kernel_of()
    kernel.start(wait(), kernel.platform, "odd")
    with pytest.raises(TypeError, match="odd awaits 'strange'"):
        kernel.run(10)


# -- processes ---------------------------------------------------------------------------------


def test_a_process_that_is_killed_ends_with_all_that_it_did():
    kernel, seen, host = kernel_of(), [], Host("victim")

    async def careful() -> None:
        try:
            await nap(100)
        finally:
            seen.append("closed")

    async def caller() -> None:
        with pytest.raises(OutcomeUnknown, match="victim died with work"):
            await kernel.call(noting(seen, "never", ms=100), host, "work")
        seen.append("told")

    kernel.start(careful(), host, "careful")
    kernel.start(caller(), kernel.platform, "caller")
    kernel.run(10)
    kernel.kill(host)
    kernel.kill(host)
    kernel.run(1000)
    assert seen == ["closed", "told"]
    assert not host.jobs


def test_a_process_that_is_gone_takes_no_more_work():
    kernel, seen, host = kernel_of(), [], Host("victim")
    kernel.kill(host)
    job = kernel.start(noting(seen, "never"), host, "work")
    kernel.run(10)
    assert job.is_done
    with pytest.raises(OutcomeUnknown, match="victim is gone"):
        job.result()
    assert not seen


def test_a_crash_ends_its_process_and_is_told():
    kernel, seen, host = kernel_of(), [], Host("victim")
    kernel.on_crash = lambda dead: seen.append(dead.name)
    kernel.start(failing(SimulatedCrash("before store.commit"), ms=50), host, "crashing")
    kernel.start(noting(seen, "never", ms=60), host, "neighbour")
    kernel.run(100)
    assert seen == ["victim"]
    assert not host.alive


def test_a_process_that_is_frozen_goes_on_later_and_others_do_not_wait_for_it():
    kernel, seen, host = kernel_of(), [], Host("frozen")
    kernel.start(noting(seen, "frozen", ms=10), host, "frozen")
    kernel.start(noting(seen, "free", ms=20), kernel.platform, "free")
    kernel.run(5)
    host.frozen_until_ms = 500
    kernel.run(499)
    assert seen == ["free"]
    kernel.run(500)
    assert seen == ["free", "frozen"]


def fleet_of(kernel: Kernel, plan: FaultPlan, size: int = 2) -> Fleet:
    faults = SimulatedFaults(kernel, plan, 0, Struck())
    engines = iter(range(100, 200))
    return Fleet(kernel, faults, random.Random(0), lambda _births: next(engines), size=size)


def test_a_process_that_crashes_is_replaced_by_one_that_remembers_nothing():
    kernel = kernel_of()
    fleet = fleet_of(kernel, FaultPlan(), size=1)
    seen = []

    async def crash(engine: int) -> None:
        raise SimulatedCrash(f"in {engine}")

    async def caller() -> None:
        with pytest.raises(OutcomeUnknown):
            await fleet.serve("request", crash)
        seen.append(await fleet.serve("request", lambda engine: noting([], engine)))

    kernel.start(caller(), kernel.platform, "caller")
    kernel.run(10)
    assert (seen, fleet.deaths) == ([101], 1)
    assert fleet.unexpected == []


def test_a_bug_of_a_request_is_noted_whoever_catches_it():
    kernel = kernel_of()
    fleet = fleet_of(kernel, FaultPlan())

    async def caller() -> None:
        with pytest.raises(KeyError):
            await fleet.serve("request", lambda _engine: failing(KeyError("bug")))
        with pytest.raises(InvalidInput):
            await fleet.serve("request", lambda _engine: failing(InvalidInput("no bug")))

    kernel.start(caller(), kernel.platform, "caller")
    kernel.run(10)
    assert [str(error) for error in fleet.unexpected] == ["'bug'"]


@pytest.mark.parametrize(
    ("plan", "error", "times"),
    [
        (FaultPlan(net_refused=1), Unavailable, 0),
        (FaultPlan(net_lost=1), OutcomeUnknown, 1),
        (FaultPlan(net_twice=1), None, 2),
    ],
)
def test_the_network_loses_requests_and_answers_and_delivers_some_twice(plan, error, times):
    kernel, seen, told = kernel_of(), [], []
    fleet = fleet_of(kernel, plan)

    async def caller() -> None:
        try:
            await fleet.serve("request", lambda engine: noting(seen, engine))
        except Unavailable as problem:
            told.append(type(problem))

    kernel.start(caller(), kernel.platform, "caller")
    kernel.run(10)
    assert len(seen) == times
    assert told == ([error] if error else [])


def test_a_clock_that_is_off_stays_off_by_the_same():
    true = VirtualClock(1000)
    ahead, behind = SkewedClock(true, 60), SkewedClock(true, -60)
    true.advance(500)
    assert (ahead.now_ms(), behind.now_ms()) == (1560, 1440)
    assert ahead.new_id() != behind.new_id()


def test_what_still_waits_at_the_end_is_closed_without_a_warning():
    kernel, seen = kernel_of(), []
    job = kernel.start(noting(seen, "asleep", ms=1000), kernel.platform, "asleep")
    kernel.start(ended(job), kernel.platform, "waiting")
    kernel.run(10)
    kernel.start(noting(seen, "never begun"), kernel.platform, "never begun")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kernel.close()
        gc.collect()
    kernel.run(FOREVER_MS)
    assert not seen


# -- chance ------------------------------------------------------------------------------------


def rolls(dice: Dice, place: str, number: int) -> list[float]:
    return [dice.roll(place) for _ in range(number)]


def test_a_roll_belongs_to_its_place_and_count_alone():
    alone, mixed_up = Dice(7), Dice(7)
    expected = rolls(alone, "store.load", 50)
    found = []
    for _ in range(50):
        rolls(mixed_up, "store.commit", 3)
        found.append(mixed_up.roll("store.load"))
    assert found == expected
    assert (mixed_up.count("store.load"), mixed_up.count("store.commit")) == (50, 150)
    assert mixed_up.count("never") == 0


def test_seeds_and_places_have_rolls_of_their_own():
    found = [
        tuple(rolls(Dice(seed), place, 5)) for seed in range(50) for place in ("a", "b", "store")
    ]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("seed", [0, 1, 2**40])
def test_rolls_are_spread_evenly_and_do_not_follow_each_other(seed):
    found = rolls(Dice(seed), "store.load/before", 20_000)
    tenths = Counter(int(roll * 10) for roll in found)
    assert set(tenths) == set(range(10))
    assert all(1800 < times < 2200 for times in tenths.values())
    after_small = [later for first, later in pairwise(found) if first < 0.1]
    assert 0.47 < sum(after_small) / len(after_small) < 0.53


def test_first_rolls_of_neighbouring_seeds_are_spread_too():
    tenths = Counter(int(Dice(seed).roll("weather") * 10) for seed in range(5000))
    assert all(400 < tenths[tenth] < 600 for tenth in range(10))


def test_mixing_loses_nothing():
    assert len({mixed(number) for number in range(100_000)}) == 100_000


def test_streams_are_one_per_purpose():
    assert stream(1, "world").random() == stream(1, "world").random()
    assert len({stream(s, name).random() for s in range(20) for name in ("a", "b")}) == 40


# -- the trace ---------------------------------------------------------------------------------


def traced(*steps: tuple[int, int], keep_lines: bool = False) -> Trace:
    trace = Trace(keep_lines=keep_lines)
    for now_ms, number in steps:
        trace.step(now_ms, number)
    return trace


def test_a_trace_tells_histories_apart_by_every_step_and_its_time():
    digests = {
        traced().digest(),
        traced((0, 1)).digest(),
        traced((1, 1)).digest(),
        traced((0, 1), (0, 2)).digest(),
        traced((0, 2), (0, 1)).digest(),
    }
    assert len(digests) == 5


def test_a_trace_takes_in_calls_and_what_is_said():
    def told(*calls: tuple[str, int], said: str = "") -> str:
        trace = Trace()
        for name, moment in calls:
            trace.site(name, moment)
        if said:
            trace.say(5, said)
        return trace.digest()

    one, other = ("store.load", 0), ("store.load", 1)
    assert len({told(one), told(other), told(one, other), told(one, said="crash")}) == 4
    assert told(one, said="crash") == told(one, said="crash")


def test_lines_are_kept_when_asked_for_and_change_no_hash():
    kept, left = Trace(keep_lines=True), Trace()
    for trace in (kept, left):
        trace.say(7, "it rains")
        trace.tell(8, "nobody minds")
    assert kept.lines == [(7, "it rains"), (8, "nobody minds")]
    assert left.lines is None
    assert kept.digest() == left.digest()


def test_a_digest_may_be_asked_for_on_the_way():
    asked, silent = Trace(), Trace()
    for number in range(70_000):
        asked.step(number, number)
        silent.step(number, number)
        if number % 10_000 == 0:
            asked.digest()
    assert asked.digest() == silent.digest()
    assert asked.events == 70_000
