"""Design errors of the loop that all entities share, of its store and of what stands around it."""

from __future__ import annotations

from typing import Final

from arco_flow.adapters.memory.store import MemoryStore
from arco_flow.domain import deployment, dynamic, run_deadlines, run_decide, tokens
from arco_flow.engine import (
    cancel_run,
    deploy,
    machines,
    mailbox,
    objects,
    partitions,
    query,
    recover_runs,
    run_bridge,
    submit_effects,
    sweeper,
    worker_callback,
)
from simulation.mutant_table import LIVENESS, caught_by, needs, shadowed_by
from simulation.patches import Patches

# -- commits, debts and effects ----------------------------------------------------------------


@caught_by(
    LIVENESS,
    "nothing_is_sent_before_its_commit",
    "promotions_are_numbered_and_each_was_accepted",
)
def effects_before_their_commit(p: Patches) -> None:
    """What a decision wants done is done before it is written down."""
    p.edit(
        mailbox.fold,
        "owed = await _commit",
        "await submit_effects(engine, entity, batch.decision.effects, record_all)\n"
        "        owed = await _commit",
    )


@caught_by(LIVENESS, "every_success_reached_the_catalog", "the_latest_accepted_result_is_current")
def effects_without_a_debt(p: Patches) -> None:
    """What a decision wants done is done after its commit, and written down nowhere."""
    p.edit(mailbox._commit, "debts = owed + decision.effects", "debts = ()")
    p.edit(mailbox._commit, "return debts", "return decision.effects")
    p.edit(run_bridge._open, "owed=encode_owed(decision.effects)", 'owed=b""')
    p.edit(run_bridge._open, "seed.created_ms if decision.effects else 0", "0")


@caught_by(LIVENESS, "every_success_reached_the_catalog")
def a_debt_that_replaces_the_earlier_ones(p: Patches) -> None:
    """A commit writes down what it owes itself, and forgets what was owed before."""
    p.edit(mailbox._commit, "debts = owed + decision.effects", "debts = decision.effects")


@caught_by(LIVENESS, "every_success_reached_the_catalog")
def debts_struck_off_unpaid(p: Patches) -> None:
    """A submission that failed counts as made."""
    p.edit(submit_effects._try, "return False", "return True")


@shadowed_by("no error: it is submitted once more under the same name, which is the same task")
def payments_forgotten_when_a_commit_fails(p: Patches) -> None:
    """What was submitted is not remembered over the failure of the commit that strikes it off."""
    p.edit(mailbox._commit, ".update(settled)", ".clear()")


@caught_by(LIVENESS)
def no_sweeper(p: Patches) -> None:
    """Nobody looks for what was lost."""
    p.set(sweeper, "SWEEP_LIMIT", 0)


@caught_by(LIVENESS)
def lost_timers_not_looked_for(p: Patches) -> None:
    """The sweeper trusts the queue to deliver every timer."""
    p.edit(machines.RunMachine.lost_timer, "run.timer_ms <= now_ms", "False")


@caught_by(LIVENESS)
def dispatches_named_without_their_attempt(p: Patches) -> None:
    """The queue's name of a dispatch is that of its task, whatever the attempt."""
    p.edit(
        submit_effects._dispatch,
        "{envelope.dispatch_id}:{effect.generation}",
        "{envelope.task_id}",
    )


@caught_by(LIVENESS)
def dispatches_named_without_their_generation(p: Patches) -> None:
    """The repair of a lost dispatch bears the name of the lost one."""
    p.edit(submit_effects._dispatch, ":{effect.generation}", "")


@shadowed_by("the sweeper fires a timer that is overdue", proof="timers_of_one_name_for_good")
def timers_of_one_name(p: Patches) -> None:
    """The queue's name of a timer is that of its entity."""
    p.edit(submit_effects._set_timer, ":{effect.generation}:{effect.at_ms}", "")


@caught_by(LIVENESS)
def timers_of_one_name_for_good(p: Patches) -> None:
    """The queue's name of a timer is that of its entity, and the sweeper looks for none."""
    timers_of_one_name(p)
    lost_timers_not_looked_for(p)


# -- what lands late, or twice -------------------------------------------------------------------


_OVER: Final = "a_deployment_is_over_when_its_client_goes_on"


@shadowed_by(
    "what comes again was to replace what it has replaced",
    proof="a_deployment_that_lands_twice_and_replaces_any",
)
def a_deployment_that_lands_twice(p: Patches) -> None:
    """A deployment that comes again is another deployment, of a manifest that may be older."""
    p.edit(deployment.decide_deployment, "event.id in state.recent", "False")


@caught_by("an_event_is_applied_once", _OVER)
def a_deployment_that_replaces_any(p: Patches) -> None:
    """A deployment replaces whichever is current, not the one that it was compared with."""
    p.edit(deployment.decide_deployment, "data.replaces not in (None, state.revision)", "False")


@caught_by("an_event_is_applied_once", _OVER)
def a_deployment_that_lands_twice_and_replaces_any(p: Patches) -> None:
    """A deployment that comes again replaces whichever is current."""
    a_deployment_that_lands_twice(p)
    a_deployment_that_replaces_any(p)


@caught_by(_OVER)
def a_deployment_of_what_is_current_that_is_not_written_down(p: Patches) -> None:
    """Who goes back to what is current yet leaves his last deployment, which is late, to land."""
    p.edit(deploy._try, "(unchanged and request.replaces != before.revision)", "unchanged")


@caught_by(_OVER)
def a_request_that_names_its_deployment_in_vain(p: Patches) -> None:
    """Each try of a request is a deployment of its own, and replaces what is current by then."""
    p.edit(
        deploy.deploy,
        "deployment_event_id(request_id or engine.clock.new_id())",
        "deployment_event_id(engine.clock.new_id())",
    )
    p.edit(deploy._require_current, "replaces in (None, current.revision)", "True")


@caught_by("an_event_is_applied_once")
def a_change_of_keys_that_lands_twice(p: Patches) -> None:
    """A change of dynamic keys that comes again is made again."""
    p.edit(dynamic._Folding.take, "event.id in self.recent", "False")


@needs(
    "engine.test_dimension_keys:"
    "test_a_key_is_refused_whose_change_began_before_the_deployment_of_its_dimension"
)
def keys_of_a_dimension_that_nobody_had_heard_of(p: Patches) -> None:
    """Whoever has seen that a definition is no dimension may add any key, whenever it lands."""
    p.edit(dynamic._Folding.take, "data.as_of <= self.joined_after", "False")


@caught_by("timers_act_once_and_in_time")
def a_sign_of_life_as_of_its_sending(p: Patches) -> None:
    """A sign of life that lands late and replaces a newer one counts as of when it was sent."""
    p.edit(mailbox._decode, "event.time_ms < item.posted_ms", "False")


@caught_by("a_sweep_asks_for_the_next_one")
def sweeps_that_ask_for_no_other(p: Patches) -> None:
    """Who sweeps leaves it to the scheduler when the next one comes."""
    p.edit(sweeper.sweep, "if engine.settings.sweep_again_ms and", "if False and")


@caught_by("a_sweep_asks_for_the_next_one")
def sweeps_that_ask_for_themselves(p: Patches) -> None:
    """A sweep that comes early by the clock of its process asks for one of its own name."""
    p.edit(
        sweeper._ask_again,
        "(engine.clock.now_ms() + width // 2) // width + 1",
        "engine.clock.now_ms() // width + 1",
    )


# -- preconditions -----------------------------------------------------------------------------


def _last_writer(p: Patches, kind: str) -> None:
    p.edit(
        MemoryStore._check_preconditions,
        "if version != commit.expected_version:",
        f"if version != commit.expected_version and ':{kind}:' not in entity:",
    )
    events_consumed_though_they_are_gone(p)


_GAPS: Final = ("versions_have_no_gap", "times_do_not_go_back", "an_event_is_applied_once")


@caught_by(*_GAPS)
def the_last_writer_of_a_run_wins(p: Patches) -> None:
    """A run is written without looking whether somebody else has written it since."""
    _last_writer(p, "run")


@caught_by(*_GAPS)
def the_last_writer_of_an_asset_wins(p: Patches) -> None:
    """The catalog is written without looking whether somebody else has written it since."""
    _last_writer(p, "asset")


@caught_by(*_GAPS)
def the_last_deployment_wins(p: Patches) -> None:
    """A deployment is written without looking whether there is another one since."""
    _last_writer(p, "deployment")


@caught_by(*_GAPS)
def the_last_writer_of_dynamic_keys_wins(p: Patches) -> None:
    """Dynamic keys are written without looking whether somebody else has changed them since."""
    _last_writer(p, "dynamic")


@caught_by(*_GAPS)
def commits_without_preconditions(p: Patches) -> None:
    """The last writer wins: of every head, and of every inbox."""
    p.edit(MemoryStore._check_preconditions, "if version != commit.expected_version:", "if False:")
    events_consumed_though_they_are_gone(p)
    events_consumed_though_they_were_replaced(p)


@shadowed_by(
    "whoever consumes an event also writes the head, whose version the commit expects",
    proof="an_older_inbox_that_counts_twice",
)
def events_consumed_though_they_are_gone(p: Patches) -> None:
    """A commit takes events that another one has consumed since they were listed."""
    p.edit(
        MemoryStore._check_preconditions,
        "if found is None or found",
        "if found is not None and found",
    )
    p.edit(
        MemoryStore.commit,
        "del self._inbox[item.entity][item.event_id]",
        "self._inbox[item.entity].pop(item.event_id, None)",
    )


@shadowed_by("a commit refuses events that are gone", proof="an_older_inbox_that_counts_twice")
def the_inbox_listed_before_the_head(p: Patches) -> None:
    """A state that holds an event already is paired with a listing from before it was consumed."""
    listing = "fitting, more = await waiting(engine, name, {})\n    "
    p.edit(mailbox._gather, listing.format("room") + "items", "items")
    p.edit(
        mailbox._gather,
        "head = await engine.store.load(name)",
        listing.format("BATCH_BYTES") + "head = await engine.store.load(name)",
    )


@shadowed_by(
    "what was applied is known by the state: an attempt, a generation, the latest ids",
    proof="an_older_inbox_that_counts_twice",
)
def an_older_inbox_folded_into_a_newer_head(p: Patches) -> None:
    """The inbox is listed before the head is loaded, and nothing refuses events that are gone."""
    the_inbox_listed_before_the_head(p)
    events_consumed_though_they_are_gone(p)


@caught_by("an_event_is_applied_once")
def an_older_inbox_that_counts_twice(p: Patches) -> None:
    """An older inbox is folded into a newer head, and no state tells what it has seen already."""
    an_older_inbox_folded_into_a_newer_head(p)
    a_deployment_that_lands_twice(p)
    a_change_of_keys_that_lands_twice(p)


@caught_by("timers_act_once_and_in_time")
@needs("engine.test_mailbox:test_a_heartbeat_that_replaces_the_one_being_folded_is_not_lost")
def events_consumed_though_they_were_replaced(p: Patches) -> None:
    """A commit deletes what it has read even if something newer stands there by now."""
    p.edit(MemoryStore._check_preconditions, "found.revision != item.revision", "False")


@needs("engine.test_mailbox:test_a_silence_is_judged_as_of_before_the_inbox_was_listed")
def a_silence_judged_as_of_after_the_listing(p: Patches) -> None:
    """Now is read after the inbox, however long the process stood still in between."""
    p.edit(
        mailbox._gather,
        "state = await machine.load(engine, entity, head, events)",
        "now_ms = await engine.store.now_ms()\n"
        "    state = await machine.load(engine, entity, head, events)",
    )


@caught_by(
    "runs_are_what_their_ledgers_say",
    "terminal_is_terminal",
    "attempts_are_counted_without_gap",
    *_GAPS,
)
def memory_trusted_over_the_store(p: Patches) -> None:
    """A process decides over the state that it remembers, whatever the head says."""
    p.edit(objects.load_run, "cached is not None and cached.version == head.version", "cached")


@caught_by("times_do_not_go_back", "timers_act_once_and_in_time")
def the_time_of_the_process(p: Patches) -> None:
    """What is due is judged by the clock of the process, not by that of the store."""
    p.edit(
        mailbox._gather, "now_ms = await engine.store.now_ms()", "now_ms = engine.clock.now_ms()"
    )


# -- requests ----------------------------------------------------------------------------------


@shadowed_by(
    "the run's id follows from its key: its head exists", proof="a_run_key_looked_up_first"
)
def a_run_key_without_a_reservation(p: Patches) -> None:
    """Who opens a run overwrites what its key stands for."""
    p.edit(MemoryStore._check_preconditions, "in self._documents:", "in ():")


@shadowed_by("the key's reservation stands in the same commit", proof="a_run_key_looked_up_first")
def a_fresh_run_id_per_request(p: Patches) -> None:
    """Each try of a request makes an id of its own."""
    p.edit(
        run_bridge._new_run,
        "run_id_of(engine.tenant_secret, scope, run_key)",
        "'run_' + engine.clock.new_id()",
    )


@caught_by("one_run_per_run_key")
def a_run_key_looked_up_first(p: Patches) -> None:
    """A run key is looked up, and reserved afterwards, whoever has reserved it in between."""
    a_run_key_without_a_reservation(p)
    a_fresh_run_id_per_request(p)


@caught_by("one_run_per_run_key")
def a_run_key_for_any_request(p: Patches) -> None:
    """The same key is the same run, whatever is asked for."""
    p.edit(run_bridge._existing, "if reserved.fingerprint != digest:", "if False:")


@caught_by("conflicts_are_recorded")
def a_conflict_told_but_not_recorded(p: Patches) -> None:
    """Only the caller learns that his run key stands for another request."""
    p.edit(
        run_bridge._existing,
        "await _record_conflict(engine, entity, reserved, digest, actor)",
        "pass",
    )


@caught_by("one_run_per_run_key")
def a_run_accepted_before_its_commit(p: Patches) -> None:
    """A request is answered with 200 although its run could not be stored."""
    p.edit(
        run_bridge._new_run,
        "run = await _open(engine, scope, seed, plan, spec, request_fingerprint(spec))",
        "try:\n"
        "        run = await _open(engine, scope, seed, plan, spec, request_fingerprint(spec))\n"
        "    except __import__('arco_flow').domain.errors.Unavailable:\n"
        "        run = seed",
    )


@caught_by("nothing_live_is_deleted")
def an_unknown_outcome_cleaned_up(p: Patches) -> None:
    """A commit whose answer was lost counts as failed, and what it refers to is removed."""
    p.edit(
        run_bridge._open,
        "if not await _is_kept(engine, scope, reservation):\n            raise",
        "await engine.objects.delete(plan_path(scope, plan.plan_id))\n        raise",
    )


@caught_by("what_was_accepted_by_the_workspace_took_effect")
def a_change_of_keys_answered_before_its_fold(p: Patches) -> None:
    """Who changed dynamic keys is told what was there before."""
    p.edit(partitions.change_dynamic, "await fold_all(engine, entity)", "pass")


@caught_by("what_was_accepted_by_the_workspace_took_effect")
def a_deployment_answered_before_its_fold(p: Patches) -> None:
    """Who deployed is told that he has, and his deployment waits for its fold."""
    p.edit(deploy._make_current, "await fold_all(engine, entity)", "pass")
    p.edit(deploy._make_current, "if number else None", "if number else current")
    p.edit(deploy._told, "if made.is_of(request.data):", "if True:")


# -- wakes: the sweeper makes up for one that is lost -------------------------------------------


@caught_by("what_is_posted_in_calm_weather_is_folded_soon")
def no_wake_after_a_post(p: Patches) -> None:
    """What was put into an inbox waits for whatever comes next."""
    p.edit(mailbox.post_and_wake, "await wake(engine, entity)", "pass")


@needs("engine.test_mailbox:test_a_fold_that_lost_a_race_is_made_again_in_the_next_bucket")
def no_wake_after_a_lost_race(p: Patches) -> None:
    """What a fold could not take waits for whatever comes next."""
    p.edit(
        mailbox.fold, "except Contended:\n        await wake(engine, entity)", "except Contended:"
    )


@caught_by("what_is_posted_in_calm_weather_is_folded_soon")
@needs(
    "engine.test_mailbox:test_a_report_right_after_a_wake_is_woken_too_though_clocks_differ",
    *({"skew_ms": skew_ms} for skew_ms in (0, 50, -50)),
)
def a_wake_at_the_edge_of_its_bucket(p: Patches) -> None:
    """A wake comes when its bucket begins: whose clock is behind finds its name taken."""
    p.edit(mailbox.wake, "bucket * width + engine.settings.skew_ms", "bucket * width")


# -- processes and tenants ---------------------------------------------------------------------


@caught_by("what_a_dead_plane_held_is_given_back")
def the_living_buried_with_the_dead(p: Patches) -> None:
    """The death of a plane takes the attempts of its successor's workers too."""
    p.edit(
        run_decide._on_workers_lost,
        "if live.worker_id and not live.worker_id.startswith(prefix)",
        "if live.worker_id",
    )


@caught_by("what_a_dead_plane_held_is_given_back")
def the_death_of_a_plane_costs_a_retry(p: Patches) -> None:
    """An attempt that died with its plane counts like one that failed."""
    p.edit(
        run_deadlines.lose_attempt,
        "fold.losses[index] = losses + 1",
        "return fail_attempt(fold, index, ErrorCategory.INFRASTRUCTURE, message)",
    )


@needs(
    "engine.test_recover_runs:test_a_run_goes_on_after_deaths_of_the_plane_at_no_cost_of_a_retry"
)
def nobody_asks_what_a_dead_plane_held(p: Patches) -> None:
    """A plane starts without a look at what the one before it has left: silence will tell."""
    p.edit(
        recover_runs.recover_runs,
        "await _recover(engine, Entity.parse(head.entity), survivors_prefix)",
        "pass",
    )


_ANYWHERE: Final = (
    "next((e for t in (scope.tenant, 'acme', 'rival')"
    " if str(e := run_entity(scope._replace(tenant=t), run_id)) in engine.store._heads),"
    " run_entity(scope, run_id))"
)


@caught_by("fencing_tokens_grow")
def a_lease_whose_token_stays(p: Patches) -> None:
    """Every holder of a lease has the same token."""
    p.edit(MemoryStore.acquire_lease, "token if is_valid else token + 1", "token or 1")


@caught_by("stale_holders_write_nothing")
@needs("engine.test_leadership:test_a_holder_that_lost_its_lease_commits_nothing_under_it")
def a_fence_that_nobody_looks_at(p: Patches) -> None:
    """Who has lost a lease while he stood still commits under it all the same."""
    p.edit(MemoryStore._check_preconditions, "commit.fence is not None", "False")


@caught_by("fencing_tokens_grow")
def a_lease_for_two(p: Patches) -> None:
    """A lease is granted although another one holds it."""
    p.edit(MemoryStore.acquire_lease, "current.holder != holder", "False")


@shadowed_by("a token names its attempt too", proof="a_token_of_any_attempt")
def a_token_of_any_task(p: Patches) -> None:
    """A token is good for the task that the path names, whatever task it was signed for."""
    p.edit(worker_callback.admit_callback, "if claims.task_id != task_id:", "if False:")


@shadowed_by("a token names its task too", proof="a_token_of_any_attempt")
def a_token_of_any_attempt_of_its_task(p: Patches) -> None:
    """A token is good for the attempt that the body names."""
    p.edit(
        worker_callback._check_claims,
        "(claims.attempt, claims.attempt_id) != (data.attempt, data.attempt_id)",
        "False",
    )


@caught_by("nobody_gets_in", "a_marker_stands_before_its_pointer")
def a_token_of_any_attempt(p: Patches) -> None:
    """Whoever has a token of ours may report what he likes."""
    a_token_of_any_task(p)
    a_token_of_any_attempt_of_its_task(p)


@caught_by("nobody_gets_in", "a_marker_stands_before_its_pointer")
def a_token_without_a_signature(p: Patches) -> None:
    """A token is read and not verified."""
    p.edit(
        tokens._open,
        'not hmac.compare_digest(signature, _signature(secret, f"{header}.{body}"))',
        "False",
    )


@shadowed_by("a token names its task, and a task its run", proof="a_token_of_any_tenant")
def reports_for_a_run_of_any_tenant(p: Patches) -> None:
    """The run of a report is found by its id, whatever tenant the token is of."""
    p.edit(
        worker_callback.record_callback,
        "entity = run_entity(scope, run_id)",
        f"entity = {_ANYWHERE}",
    )


@caught_by("nobody_gets_in", "a_marker_stands_before_its_pointer")
def a_token_of_any_tenant(p: Patches) -> None:
    """Whoever has a token of ours may report what he likes, of any tenant's runs."""
    a_token_of_any_attempt(p)
    reports_for_a_run_of_any_tenant(p)


@caught_by("nobody_gets_in")
def runs_cancelled_by_their_id_alone(p: Patches) -> None:
    """A run is found by its id, whichever tenant asks."""
    p.edit(query.find_run, "run_entity(scope, run_id)", _ANYWHERE)
    p.edit(
        cancel_run.cancel_run,
        "entity = run_entity(scope, run_id)",
        f"entity = {_ANYWHERE}",
    )
