"""Every (state, stimulus) pair of both machines: listed and taken, or refused with its reason."""

from __future__ import annotations

import itertools

import pytest

from arco_flow.domain.errors import Conflict
from arco_flow.domain.run import RUN_TRANSITIONS, RunState, RunStimulus, next_run_state
from arco_flow.domain.task import TASK_TRANSITIONS, TaskState, TaskStimulus, next_task_state


def test_run_state_machine_exhaustive() -> None:
    """The product of all states and stimuli agrees with the table, pair by pair."""
    seen = set()
    for state, stimulus in itertools.product(RunState, RunStimulus):
        seen.add((state, stimulus))
        if (state, stimulus) in RUN_TRANSITIONS:
            assert next_run_state(state, stimulus) is RUN_TRANSITIONS[state, stimulus]
        else:
            with pytest.raises(Conflict) as caught:
                next_run_state(state, stimulus)
            assert caught.value.details == {"state": state.value, "stimulus": stimulus.value}
    assert set(RUN_TRANSITIONS) <= seen


def test_task_state_machine_exhaustive() -> None:
    """The product of all states and stimuli agrees with the table, pair by pair."""
    seen = set()
    for state, stimulus in itertools.product(TaskState, TaskStimulus):
        seen.add((state, stimulus))
        if (state, stimulus) in TASK_TRANSITIONS:
            assert next_task_state(state, stimulus) is TASK_TRANSITIONS[state, stimulus]
        else:
            with pytest.raises(Conflict) as caught:
                next_task_state(state, stimulus)
            assert caught.value.details == {"state": state.name, "stimulus": stimulus.value}
    assert set(TASK_TRANSITIONS) <= seen


@pytest.mark.parametrize("state", [s for s in RunState if s.is_terminal])
def test_a_terminal_run_takes_nothing(state: RunState) -> None:
    assert not any(source is state for source, _ in RUN_TRANSITIONS)


@pytest.mark.parametrize("state", [s for s in TaskState if s.is_terminal])
def test_a_terminal_task_takes_nothing(state: TaskState) -> None:
    assert not any(source is state for source, _ in TASK_TRANSITIONS)


def test_every_state_can_be_reached_and_left() -> None:
    """No state is decoration: each is entered by some pair, and each open one leads to an end."""
    for states, table, start in (
        (list(RunState), RUN_TRANSITIONS, {RunState.QUEUED}),
        (list(TaskState), TASK_TRANSITIONS, {TaskState.BLOCKED, TaskState.READY}),
    ):
        entered = set(table.values()) | start
        assert entered == set(states)
        for state in states:
            if not state.is_terminal:
                assert _reaches_an_end(state, table), state


def _reaches_an_end(state: object, table: dict) -> bool:
    seen, pending = {state}, [state]
    while pending:
        current = pending.pop()
        if current.is_terminal:
            return True
        for (source, _), target in table.items():
            if source is current and target not in seen:
                seen.add(target)
                pending.append(target)
    return False
