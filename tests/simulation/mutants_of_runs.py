"""Design errors of runs: their reports, their course, their deadlines and their results."""

from __future__ import annotations

from arco_flow.adapters.memory.objects import MemoryObjects
from arco_flow.domain import asset, callbacks, run_deadlines, run_decide, run_fold
from arco_flow.domain.events import RunCancelRequested, TimerFired
from arco_flow.domain.run import RUN_TRANSITIONS, RunState, RunStimulus
from arco_flow.engine import (
    cancel_run,
    mailbox,
    submit_effects,
    timer_ingest,
    worker_callback,
)
from arco_flow.simulation import workers
from simulation.mutant_table import LIVENESS, caught_by, needs, shadowed_by
from simulation.patches import Patches

# -- reports -----------------------------------------------------------------------------------


@caught_by(
    "every_accepted_callback_is_recorded",
    "a_claimed_result_counts",
    "one_worker_is_told_that_it_holds_the_claim",
)
def no_attempt_guard_before_the_fold(p: Patches) -> None:
    """A report is let into the inbox whatever attempt it is of."""
    p.edit(callbacks._check_attempt, "data.attempt != current", "False")
    p.edit(callbacks._check_attempt, "data.attempt_id != expected", "False")


@caught_by("only_the_current_attempt_counts", "a_report_counts_once")
def no_attempt_guard_in_the_fold(p: Patches) -> None:
    """What waits in the inbox counts, though its attempt may have been given up since."""
    p.edit(
        run_decide.refusal,
        "data.attempt != fold.attempts[index] or data.attempt_id != fold.attempt_id(index)",
        "False",
    )


@caught_by("only_the_current_attempt_counts", "a_report_counts_once")
def reports_of_any_attempt(p: Patches) -> None:
    """A report counts whatever attempt it is of."""
    no_attempt_guard_before_the_fold(p)
    no_attempt_guard_in_the_fold(p)


@caught_by("one_worker_is_told_that_it_holds_the_claim")
def no_claim_guard_before_the_fold(p: Patches) -> None:
    """A report is let into the inbox whoever holds the claim of its attempt."""
    p.edit(
        callbacks._current,
        "if live.worker_id and live.worker_id != data.worker_id:",
        "if False:",
    )


@caught_by("only_the_holder_of_the_claim_reports")
def no_claim_guard_in_the_fold(p: Patches) -> None:
    """What waits in the inbox counts, though another worker's claim may have come before it."""
    p.edit(
        run_decide._on_finished,
        "reason is None and fold.states[index] == TaskState.RUNNING",
        "False",
    )


@caught_by("only_the_holder_of_the_claim_reports", "one_worker_is_told_that_it_holds_the_claim")
def reports_of_any_worker(p: Patches) -> None:
    """A report counts whoever holds the claim of its attempt."""
    no_claim_guard_before_the_fold(p)
    no_claim_guard_in_the_fold(p)


@caught_by("one_worker_is_told_that_it_holds_the_claim")
def a_claim_per_worker(p: Patches) -> None:
    """The event of a claim is named by its worker too, so that two of them may wait."""
    p.edit(worker_callback._event_id, "'started' if", "'started' + data.worker_id if")


@caught_by("one_worker_is_told_that_it_holds_the_claim")
@needs("engine.test_worker_callback:test_a_claim_that_is_folded_meanwhile_is_seen")
def a_claim_judged_only_before_it_is_posted(p: Patches) -> None:
    """A claim that was folded since the judgement, and left no item behind, is overlooked."""
    p.edit(worker_callback._record_start, "await _judge(engine, entity, event.data)", "pass")


@caught_by("no_internal_error")
def reports_in_any_state(p: Patches) -> None:
    """A report counts in whatever state its task is."""
    p.edit(run_decide.refusal, "if state in (TaskState.DISPATCHED, TaskState.RUNNING):", "if True:")


@caught_by("an_end_that_counts_is_never_refused")
def a_repeated_end_refused(p: Patches) -> None:
    """Who repeats a report whose answer was lost is told that it does not count."""
    p.edit(callbacks._over, "accepted == digest_bytes(data.digest)", "False")


@caught_by("every_accepted_callback_is_recorded")
def an_answer_before_the_work(p: Patches) -> None:
    """A report is answered with 200 although it could not be stored."""
    p.edit(
        worker_callback._record_finish,
        "outcome = await record(engine, entity, event)",
        "try:\n"
        "        outcome = await record(engine, entity, event)\n"
        "    except __import__('arco_flow').domain.errors.Unavailable:\n"
        "        return verdict",
    )


@shadowed_by(
    "an end that was folded at once is judged again", proof="ends_swallowed_and_told_as_taken"
)
def ends_swallowed_by_what_waits_under_their_id(p: Patches) -> None:
    """A report that comes while another one of its id waits is dropped from the batch."""
    p.edit(mailbox._take_in, "or any(event.id in waiting for event in extra)", "")
    p.edit(
        mailbox._take_in,
        "events.extend(extra)",
        "events.extend(event for event in extra if event.id not in waiting)",
    )


@needs("engine.test_worker_callback:test_an_end_folded_together_with_a_cancel_is_told_so")
def an_end_not_judged_again(p: Patches) -> None:
    """An end is answered as it was judged, though it was folded together with a cancel."""
    p.edit(
        worker_callback._record_finish,
        "return judge_folded(*await _load(engine, entity), data, verdict)",
        "return verdict",
    )


@caught_by("every_accepted_callback_is_recorded")
def ends_swallowed_and_told_as_taken(p: Patches) -> None:
    """A report is dropped for one of its id that waits, and answered as if it counted."""
    ends_swallowed_by_what_waits_under_their_id(p)
    an_end_not_judged_again(p)


@caught_by("no_internal_error", LIVENESS, "what_a_newer_revision_says_is_kept")
def an_unknown_event_stops_the_fold(p: Patches) -> None:
    """An event of a type that only a newer revision knows can not be folded."""
    p.edit(
        run_decide.decide_run,
        'fold.ignored(event, f"unknown event type {event_type(event.data)}")',
        "raise ValueError(event.id)",
    )


@caught_by("what_a_newer_revision_says_is_kept")
def an_unknown_event_is_dropped(p: Patches) -> None:
    """An event of a type that only a newer revision knows leaves no line in the ledger."""
    p.edit(
        run_decide.decide_run,
        'fold.ignored(event, f"unknown event type {event_type(event.data)}")',
        "pass",
    )


# -- what becomes visible ----------------------------------------------------------------------


@caught_by("promotions_are_numbered_and_each_was_accepted", "an_event_is_applied_once")
def a_promotion_counted_twice(p: Patches) -> None:
    """A request for promotion that comes again is another promotion."""
    p.edit(asset._refusal, "current.attempt_id == data.attempt_id", "False")


@caught_by("the_latest_accepted_result_is_current", "an_event_is_applied_once")
def results_current_in_order_of_arrival(p: Patches) -> None:
    """The request for promotion that comes last wins, whatever was accepted last."""
    p.edit(
        asset._refusal, "current.fence > (data.accepted_ms, data.run_id, data.attempt_id)", "False"
    )
    p.edit(asset._order, "(accepted, event.id)", "(0, event.id)")


@caught_by("promotions_are_numbered_and_each_was_accepted")
def promotions_of_one_number(p: Patches) -> None:
    """Every promotion has the same number, so that no pointer can tell which is newer."""
    p.edit(asset.decide_asset, "promotion=counters.promotion + 1", "promotion=1")


@caught_by("a_pointer_never_goes_backwards")
def a_pointer_swapped_without_its_number(p: Patches) -> None:
    """Who swaps a pointer does not look at the promotion that it leads to."""
    p.edit(submit_effects._swap_pointer, ">= effect.promotion", "== 0")


@caught_by("a_pointer_never_goes_backwards")
@needs(
    "engine.test_promotions:"
    "test_a_swap_that_is_overtaken_between_its_look_and_its_write_changes_nothing"
)
def a_pointer_written_over_whatever_stands_there(p: Patches) -> None:
    """A pointer is read, compared and then written without its generation."""
    p.edit(MemoryObjects.put_if_generation, "known.generation != generation", "False")


@caught_by("a_marker_stands_before_its_pointer")
def the_marker_after_the_report(p: Patches) -> None:
    """A worker reports its version before a marker says that it is whole."""
    p.edit(
        workers.Worker.stage,
        'await self._put(prefix + "_commit", msgspec.json.encode(marker))',
        'self.marker = (prefix + "_commit", msgspec.json.encode(marker))',
    )
    p.edit(
        workers.Worker.succeed,
        'return await self.completed("SUCCEEDED", output=await self.stage())',
        'answer = await self.completed("SUCCEEDED", output=await self.stage())\n'
        "    await self._put(*self.marker)\n"
        "    return answer",
    )


# -- how runs go -------------------------------------------------------------------------------


@caught_by("upstream_comes_first")
def a_task_before_its_last_upstream(p: Patches) -> None:
    """A task is ready when all but one of its upstream tasks have succeeded."""
    p.edit(run_fold.RunFold._told, "self.waiting[target] == 0", "self.waiting[target] <= 1")


@caught_by("every_accepted_run_is_over", "an_event_is_applied_once", LIVENESS)
def skips_forgotten(p: Patches) -> None:
    """The tasks below one that failed are not told."""
    p.edit(run_fold.RunFold.move, "if after.is_terminal:", "if after is TaskState.SUCCEEDED:")


@caught_by("no_more_in_flight_than_allowed")
def any_number_in_flight(p: Patches) -> None:
    """Each commit dispatches as many attempts as the window has, whatever is in flight."""
    p.edit(
        run_fold.RunFold.dispatch_ready,
        "self.run.max_in_flight - len(self.live)",
        "self.run.max_in_flight",
    )


@shadowed_by("only a run that goes on is cancelled, at the door", proof="a_cancel_after_the_end")
def no_state_guard_before_a_cancel(p: Patches) -> None:
    """A cancel of a run that is over is let into its inbox."""
    p.edit(cancel_run.cancel_run, "if RunState(head.status).is_terminal:", "if False:")


@caught_by(LIVENESS)
def no_state_guard_in_a_cancel(p: Patches) -> None:
    """A cancel that waited until its run was over asks for a step that the table refuses."""
    p.edit(run_decide._on_cancel, "if fold.state.is_terminal:", "if False:")


@caught_by("terminal_is_terminal", "an_event_is_applied_once")
def a_cancel_after_the_end(p: Patches) -> None:
    """A cancel overwrites a state that is terminal."""
    no_state_guard_before_a_cancel(p)
    no_state_guard_in_a_cancel(p)
    for state in (RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED):
        p.put(RUN_TRANSITIONS, (state, RunStimulus.CANCEL_REQUESTED), RunState.CANCELLING)


@caught_by("a_cancelled_run_dispatches_nothing_more")
def a_success_counts_while_cancelling(p: Patches) -> None:
    """What ends after a cancel is promoted."""
    p.edit(run_decide._conclude, "if fold.state is RunState.CANCELLING:", "if False:")


@shadowed_by("a cancel leaves nothing that is ready", proof="dispatches_after_a_cancel")
def a_cancelled_run_dispatches_on(p: Patches) -> None:
    """A run that is being cancelled dispatches what is ready."""
    p.edit(
        run_fold.RunFold.dispatch_ready,
        "if self.state is not RunState.RUNNING:",
        "if self.state.is_terminal:",
    )


@caught_by("every_accepted_run_is_over", LIVENESS, "a_cancelled_run_dispatches_nothing_more")
def ready_tasks_survive_a_cancel(p: Patches) -> None:
    """A cancel ends only what is blocked."""
    p.edit(
        run_fold.RunFold.wind_up,
        "state < TaskState.SKIPPED and state != TaskState.RUNNING",
        "state < TaskState.READY",
    )


@caught_by("a_cancelled_run_dispatches_nothing_more")
def dispatches_after_a_cancel(p: Patches) -> None:
    """A run that is being cancelled dispatches what is ready, and a cancel leaves it ready."""
    a_cancelled_run_dispatches_on(p)
    ready_tasks_survive_a_cancel(p)


@needs("engine.test_cancel:test_a_result_that_waits_when_the_cancel_comes_loses_against_it")
def a_cancel_after_the_reports_of_its_batch(p: Patches) -> None:
    """Of what waits together, a result comes before the cancel."""
    p.put(run_decide._RANKS, RunCancelRequested, 8)


@caught_by("an_accepted_cancel_is_recorded")
def a_cancel_that_is_not_kept(p: Patches) -> None:
    """A cancel is answered with 200 and forgotten."""
    p.edit(cancel_run.cancel_run, "await record(engine, entity, event)", "pass")


# -- deadlines ---------------------------------------------------------------------------------


@caught_by(LIVENESS)
def a_timer_left_behind(p: Patches) -> None:
    """A run that is over still waits for its timer."""
    p.edit(run_fold.RunFold.move_run, "self.timer_ms = 0", "pass")


@caught_by("an_event_is_applied_once", "timers_act_once_and_in_time")
def no_generation_guard_in_the_fold(p: Patches) -> None:
    """A timer acts although a later one was armed while it waited."""
    p.edit(
        run_decide._on_timer,
        "event.data.generation != fold.timer_generation or fold.state.is_terminal",
        "fold.state.is_terminal",
    )


@shadowed_by("the fold looks again", proof="a_timer_of_any_generation")
def no_generation_guard_before_the_fold(p: Patches) -> None:
    """A timer is let into the inbox although a later one is armed."""
    p.edit(timer_ingest.ingest_timer, "if entity.kind", "if False and entity.kind")


@caught_by("timers_act_once_and_in_time", "an_event_is_applied_once")
def a_timer_of_any_generation(p: Patches) -> None:
    """A timer acts although a later one has been armed in its place."""
    no_generation_guard_in_the_fold(p)
    no_generation_guard_before_the_fold(p)


@caught_by("an_event_is_applied_once", LIVENESS, "every_accepted_run_is_over")
def deadlines_forgotten_when_a_timer_fires(p: Patches) -> None:
    """A timer that has fired is armed again only for what changed in its batch."""
    p.edit(
        run_deadlines.arm_timer,
        "fold.touched if fold.timer_ms else fold.live.keys() | fold.retry_due.keys()",
        "fold.touched",
    )


@caught_by("timers_act_once_and_in_time")
def timers_before_signs_of_life(p: Patches) -> None:
    """In a batch, a silence is judged before the heartbeat that broke it."""
    p.put(run_decide._RANKS, TimerFired, 3)


@caught_by("timers_act_once_and_in_time")
def signs_of_life_that_renew_nothing(p: Patches) -> None:
    """A silence is counted from the start, whatever was heard since."""
    p.edit(
        run_deadlines.next_deadline, "max(live.heartbeat_ms, live.started_ms)", "live.started_ms"
    )


@caught_by("timers_act_once_and_in_time")
def a_retry_that_comes_early(p: Patches) -> None:
    """Any timer ends every wait for a retry."""
    p.edit(run_deadlines.meet_deadlines, "due_ms <= fold.now_ms and ", "")


@caught_by("no_task_is_tried_too_often")
def retries_not_counted(p: Patches) -> None:
    """Every failure is the first one."""
    p.edit(run_deadlines.fail_attempt, "fold.attempts[index] - fold.losses.get(index, 0)", "1")
