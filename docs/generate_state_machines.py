"""Write docs/state-machines.md from the tables of the domain.

Run by `make docs`; a test holds the committed page against what this prints.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from pathlib import Path

from arco_flow.domain.run import RUN_TRANSITIONS, RunState
from arco_flow.domain.task import TASK_TRANSITIONS, TaskState

PAGE = Path(__file__).with_name("state-machines.md")

HEAD = """# State machines

Generated from `TASK_TRANSITIONS` (`domain/task.py`) and `RUN_TRANSITIONS` (`domain/run.py`) by
`docs/generate_state_machines.py`; `make docs` writes it anew. What is not in a table can not
happen: `next_task_state` and `next_run_state` refuse it, and a fold records the event that asked
for it as `ignored`, with the reason.
"""

TASK = """
## A task

A task is one asset, and one partition of it, within one run. Its attempts are numbered from 1; a
report counts only for the current attempt. A task without upstream starts as READY, any other as
BLOCKED.
"""

RUN = """
## A run

The stimuli of a run are drawn from its tasks, from a cancel and from its deadline. `admitted`
happens in the commit that creates the run. A run that ran out of time is wound up like a
cancelled one and ends as TIMED_OUT.
"""

Table = Mapping[tuple[Enum, Enum], Enum]


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for text, states, table, starts in (
        (TASK, TaskState, TASK_TRANSITIONS, (TaskState.BLOCKED, TaskState.READY)),
        (RUN, RunState, RUN_TRANSITIONS, (RunState.QUEUED,)),
    ):
        parts += [text, _diagram(states, table, starts), _rows(states, table)]
    return "\n".join(parts)


def _diagram(states: Iterable[Enum], table: Table, starts: Sequence[Enum]) -> str:
    lines = ["```mermaid", "stateDiagram-v2"]
    lines += [f"    [*] --> {state.name}" for state in starts]
    for source in states:
        for target in states:
            words = [_word(s) for (a, s), b in table.items() if (a, b) == (source, target)]
            if words:
                lines.append(f"    {source.name} --> {target.name}: {', '.join(words)}")
    ends = [state for state in states if all(state is not source for source, _ in table)]
    lines += [f"    {state.name} --> [*]" for state in ends]
    return "\n".join([*lines, "```", ""])


def _rows(states: Iterable[Enum], table: Table) -> str:
    """One row per state, in the order of the declaration: what it takes and where that leads."""
    lines = ["| state | stimulus | next state |", "|---|---|---|"]
    for state in states:
        found = [(_word(s), target.name) for (a, s), target in table.items() if a is state]
        lines += [f"| {state.name} | `{word}` | {target} |" for word, target in found]
        if not found:
            lines.append(f"| {state.name} | none: terminal | |")
    return "\n".join([*lines, ""])


def _word(stimulus: Enum) -> str:
    return str(stimulus.value)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
