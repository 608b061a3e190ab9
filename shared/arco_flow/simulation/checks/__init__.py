"""What must hold in every history: the promises of the architecture, as named checks.

A check reads only what is stored and what callers were told, never what a process remembers. It
is a function of a `History` that raises `ViolatedError`, with the history that shows it; its
docstring names the invariants that it stands for, by the numbers of the list in docs/testing.md.
What can be judged at each commit is in `simulation/watch.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from arco_flow.simulation.checks import callbacks, ledgers, outputs, requests, runs
from arco_flow.simulation.history import History, read_history
from arco_flow.simulation.violation import ViolatedError, Violation
from arco_flow.simulation.world import World

CHECKS: Final[tuple[Callable[[History], None], ...]] = (
    requests.one_run_per_run_key,
    requests.conflicts_are_recorded,
    requests.every_accepted_run_is_over,
    requests.an_accepted_cancel_is_recorded,
    requests.what_was_accepted_by_the_workspace_took_effect,
    requests.a_deployment_is_over_when_its_client_goes_on,
    requests.nobody_gets_in,
    callbacks.every_event_is_applied_at_most_once,
    callbacks.every_accepted_callback_is_recorded,
    callbacks.a_claimed_result_counts,
    callbacks.only_the_holder_of_the_claim_reports,
    callbacks.one_worker_is_told_that_it_holds_the_claim,
    callbacks.an_end_that_counts_is_never_refused,
    callbacks.attempts_are_counted_without_gap,
    runs.terminal_is_terminal,
    runs.upstream_comes_first,
    runs.a_cancelled_run_dispatches_nothing_more,
    runs.no_more_in_flight_than_allowed,
    runs.no_task_is_tried_too_often,
    runs.what_a_dead_plane_held_is_given_back,
    runs.timers_act_once_and_in_time,
    outputs.promotions_are_numbered_and_each_was_accepted,
    outputs.every_success_reached_the_catalog,
    outputs.the_latest_accepted_result_is_current,
    ledgers.nothing_waits_and_nothing_is_owed,
    ledgers.nothing_is_sent_before_its_commit,
    ledgers.nothing_crosses_a_tenant,
    ledgers.ledgers_have_no_gap,
    ledgers.runs_are_what_their_ledgers_say,
    ledgers.catalogs_are_what_their_ledgers_say,
    ledgers.workspaces_are_what_their_ledgers_say,
    ledgers.equal_requests_have_equal_plans,
    ledgers.what_a_newer_revision_says_is_kept,
    ledgers.documents_stay_small,
)


def check_history(world: World, commits: dict[tuple[str, int], int]) -> list[Violation]:
    """Every check, once nothing happens any more; what they found, each named by its check.

    commits: when each landed, as `Watch` has seen it.
    """
    try:
        history = read_history(world, commits)
    except ViolatedError as error:
        return [Violation("the_history_can_be_read", str(error))]
    found = []
    for check in CHECKS:
        try:
            check(history)
        except ViolatedError as error:
            found.append(Violation(check.__name__, str(error)))
    return found
