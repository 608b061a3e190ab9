"""Random histories of the whole plane, each from a seed: whatever happens, the promises hold.

A failure names its seed: `arco-flow simulate --seed N` tells the same history, with a timeline;
`--shrink --save FILE` looks for the least of it that fails and writes it down for the corpus.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from functools import cache
from itertools import count
from pathlib import Path

import pytest

from arco_flow.simulation import Load, Outcome, Scenario, decode_finding, simulate, unreached
from arco_flow.simulation.campaign import run_campaign

SHARED = Path(__file__).parents[2] / "shared"
CORPUS = sorted(Path(__file__).with_name("corpus").glob("*.json"))
BATCH = 25
FIXED = 200
"""Seeds that every change is held against."""
ENOUGH = 1000
"""Seeds by which every goal must have been reached."""
FRESH_SECONDS = float(os.environ.get("ARCO_SIMULATE_SECONDS", "10"))


@cache
def told(seed: int) -> Outcome:
    """The history of a seed; the tests of this module that ask for it share a process."""
    return simulate(Scenario(seed))


def hold(outcome: Outcome) -> None:
    """Raises AssertionError with the seed and how to tell it again."""
    if outcome.violations:
        scenario, first = outcome.scenario, outcome.violations[0]
        command = f"arco-flow simulate --seed {scenario.seed} --load {scenario.load} --shrink"
        pytest.fail(f"{first.invariant} ({command})\n{first.message}", pytrace=False)


@pytest.mark.parametrize("first", range(0, FIXED, BATCH))
def test_every_promise_holds_in_every_history(first):
    for seed in range(first, first + BATCH):
        hold(told(seed))


def test_the_histories_come_by_what_they_are_meant_to_test():
    """Each kind of fault at each kind of call, and each guard at work at least once."""
    sometimes: Counter[str] = Counter()
    for seed in range(ENOUGH):
        sometimes.update(told(seed).sometimes)
        if not unreached(sometimes):
            return
    pytest.fail(f"not reached by {ENOUGH} seeds: {unreached(sometimes)}")


@pytest.mark.parametrize("seed", range(10))
def test_every_promise_holds_where_little_happens_for_hours(seed):
    hold(simulate(Scenario(seed, Load.SPARSE)))


def test_every_promise_holds_in_histories_that_nobody_has_told_before():
    """For ARCO_SIMULATE_SECONDS; from the time of day, so that every run tries other seeds."""
    first = time.time_ns() // 1_000_000 % 1_000_000_000
    until = time.monotonic() + FRESH_SECONDS
    for seed in count(first):
        hold(simulate(Scenario(seed)))
        if time.monotonic() > until:
            return


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_what_once_failed_does_not_fail_again(path):
    outcome = simulate(decode_finding(path.read_bytes()).scenario)
    assert not outcome.violations, outcome.violations[0]


TELL = """
import sys
from arco_flow.simulation import Load, Scenario, simulate
for seed, load in ((3, Load.BUSY), (4, Load.BUSY), (0, Load.SPARSE)):
    outcome = simulate(Scenario(seed, load), keep_lines=True)
    print(seed, outcome.trace_hash, outcome.events, *outcome.struck)
    print(*outcome.lines, sep="\\n")
"""


def test_a_seed_is_the_same_history_in_every_process():
    """The hash of the trace, the faults that struck, and the timeline to its last line."""
    first, second = (_told_elsewhere(hash_seed) for hash_seed in ("1", "2"))
    assert first == second
    assert len(first.splitlines()) > 100


def _told_elsewhere(hash_seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(SHARED)}
    command = [sys.executable, "-c", TELL]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True
    ).stdout


def test_a_history_is_told_again_with_fewer_of_its_faults_and_operations():
    """Leaving out one fault moves no other one that comes before it."""
    whole = told(3)
    assert whole.struck
    scenario = Scenario(3, only=frozenset(whole.struck))
    assert simulate(scenario).trace_hash == whole.trace_hash
    assert simulate(Scenario(3, only=frozenset())).struck == ()
    kept = simulate(Scenario(3, only=frozenset(whole.struck[:3]))).struck
    assert kept == whole.struck[:3]
    quiet = simulate(Scenario(3, dropped=frozenset(range(100))))
    assert quiet.commits < 10 < whole.commits, "the sweeper alone writes now and then"


def test_a_campaign_that_has_hardly_any_time_tells_some_histories() -> None:
    tally = run_campaign(1, load=Load.BUSY, seconds=1e-9)
    assert (tally.seeds > 0, tally.failed) == (True, [])
    assert tally.seconds > 0
