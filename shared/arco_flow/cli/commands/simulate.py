"""`arco-flow simulate`: let everything go wrong, in a world that can be told again."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from arco_flow.cli.options import emit, json_option, note

if TYPE_CHECKING:
    from arco_flow.simulation import Load, Outcome, Scenario
    from arco_flow.simulation.campaign import Tally

_SHOWN_LINES = 400
_TELLING_SEEDS = 200
"""Fewer can not be expected to come by every rare state."""


@click.command(
    "simulate",
    epilog="Example: arco-flow simulate --seed 42",
)
@click.option("--seed", type=int, metavar="N", help="Tell the history of one seed, with all of it.")
@click.option(
    "--file",
    "path",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="Tell the history of a saved scenario.",
)
@click.option("--from", "first", type=int, metavar="N", help="First of many seeds.")
@click.option("--count", "number", type=click.IntRange(1), metavar="N", help="How many seeds.")
@click.option(
    "--seconds",
    type=click.FloatRange(0, min_open=True),
    metavar="S",
    help="How long; 30 when --count does not say how many.",
)
@click.option("--jobs", type=click.IntRange(1), metavar="N", help="Processes; one per processor.")
@click.option(
    "--load",
    type=click.Choice(["busy", "sparse"]),
    default="busy",
    show_default=True,
    help="All at once, or hours in which little happens.",
)
@click.option("--shrink", is_flag=True, help="Look for the least that fails in the same way.")
@click.option(
    "--save",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Write what failed to this file.",
)
@click.option("--all-lines", is_flag=True, help="Show a long timeline whole.")
@json_option
def command(
    seed: int | None,
    path: str | None,
    first: int | None,
    number: int | None,
    seconds: float | None,
    jobs: int | None,
    load: str,
    shrink: bool,
    save: str | None,
    all_lines: bool,
    as_json: bool,
) -> None:
    """Simulate the plane with faults, and check its promises.

    Without --seed: many fresh seeds, and how fast. With it: one history with its timeline, the
    same each time. The exit code is 1 when a promise was not kept.
    """
    from arco_flow.simulation import Load, Scenario, decode_finding

    if seed is None and path is None:
        _tell_many(first, number, seconds, jobs or os.cpu_count() or 1, Load(load), as_json)
        return
    scenario = (
        Scenario(seed, Load(load))
        if seed is not None
        else decode_finding(Path(str(path)).read_bytes()).scenario
    )
    _tell_one(scenario, shrink=shrink, save=save, all_lines=all_lines, as_json=as_json)


def _tell_one(
    scenario: Scenario, *, shrink: bool, save: str | None, all_lines: bool, as_json: bool
) -> None:
    from arco_flow.simulation import Finding, Shrinker, encode_finding, simulate

    outcome = simulate(scenario, keep_lines=True)
    if outcome.violations and shrink:
        shrinker = Shrinker(outcome.violations[0].invariant)
        smaller = shrinker.shrink(outcome)
        note(f"{shrinker.runs} histories told to shrink it", quiet=as_json)
        outcome = simulate(smaller, keep_lines=True)
    if outcome.violations and save is not None:
        found = Finding.of(outcome.scenario, outcome.violations[0].invariant)
        Path(save).write_bytes(encode_finding(found))
    if as_json:
        emit(_summary(outcome))
    else:
        _show_one(outcome, all_lines)
    if outcome.violations:
        raise SystemExit(1)


def _summary(outcome: Outcome) -> dict[str, object]:
    return {
        "seed": outcome.scenario.seed,
        "traceHash": outcome.trace_hash,
        "events": outcome.events,
        "commits": outcome.commits,
        "simulatedMs": outcome.simulated_ms,
        "struck": list(outcome.struck),
        "violations": [
            {"invariant": found.invariant, "message": found.message} for found in outcome.violations
        ],
        "timeline": [{"ms": ms, "what": text} for ms, text in outcome.lines],
    }


def _show_one(outcome: Outcome, all_lines: bool) -> None:
    lines = outcome.lines
    start_ms = lines[0][0] if lines else 0
    hidden = 0 if all_lines else max(len(lines) - _SHOWN_LINES, 0)
    if hidden:
        click.echo(f"… {hidden} earlier lines; --all-lines shows them")
    for ms, text in lines[hidden:]:
        click.echo(f"{(ms - start_ms) / 1000:10.3f}s  {text}")
    click.echo(
        f"seed {outcome.scenario.seed}: {outcome.events} events, {outcome.commits} commits, "
        f"{outcome.simulated_ms / 60_000:.1f} simulated minutes, {len(outcome.struck)} faults, "
        f"trace {outcome.trace_hash}"
    )
    for found in outcome.violations:
        click.echo(f"\nVIOLATED {found.invariant}\n{found.message}")
    if not outcome.violations:
        click.echo("every promise was kept")


def _tell_many(
    first: int | None,
    number: int | None,
    seconds: float | None,
    jobs: int,
    load: Load,
    as_json: bool,
) -> None:
    from arco_flow.simulation import unreached
    from arco_flow.simulation.campaign import run_campaign

    if first is None:
        first = time.time_ns() // 1_000_000 % 1_000_000_000
    if number is None and seconds is None:
        seconds = 30
    tally = run_campaign(first, load=load, number=number, seconds=seconds, jobs=jobs)
    missed = unreached(tally.sometimes)
    figures = {
        "firstSeed": first,
        "seeds": tally.seeds,
        "seconds": round(tally.seconds, 1),
        "jobs": jobs,
        "seedsPerSecond": round(tally.seeds / tally.seconds, 1),
        "eventsPerSecond": round(tally.events / tally.seconds),
        "commitsPerSecond": round(tally.commits / tally.seconds),
        "simulatedHours": round(tally.simulated_ms / 3_600_000, 1),
        "simulatedHoursPerMinute": round(tally.simulated_ms / 60_000 / tally.seconds, 1),
        "goalsNotReached": missed,
        "violations": [
            {"seed": seed, "invariant": found.invariant} for seed, found in tally.failed
        ],
    }
    if as_json:
        emit(figures)
    else:
        _show_many(figures, tally, load)
    if tally.failed:
        raise SystemExit(1)


def _show_many(figures: dict[str, object], tally: Tally, load: Load) -> None:
    click.echo(
        f"{figures['seeds']} seeds from {figures['firstSeed']} in {figures['seconds']} s on "
        f"{figures['jobs']} processes: {figures['seedsPerSecond']} seeds/s, "
        f"{figures['eventsPerSecond']} events/s, {figures['simulatedHours']} simulated hours "
        f"({figures['simulatedHoursPerMinute']} per minute)"
    )
    missed = figures["goalsNotReached"]
    if isinstance(missed, list) and missed and tally.seeds >= _TELLING_SEEDS:
        click.echo(f"not reached by these seeds: {', '.join(missed)}")
    for seed, found in tally.failed[:20]:
        again = f"arco-flow simulate --seed {seed} --load {load.value} --shrink"
        click.echo(f"VIOLATED {found.invariant}: {again}")
    if not tally.failed:
        click.echo("every promise was kept in every history")
