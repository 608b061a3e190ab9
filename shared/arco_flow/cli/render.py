"""Text for people: aligned tables, states in colour, spans of time, plain when not a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import click

from arco_flow.engine.views import PlanView

COLOURS: Final = {
    "SUCCEEDED": "green",
    "MATERIALIZED": "green",
    "FAILED": "red",
    "TIMED_OUT": "red",
    "CANCELLED": "yellow",
    "CANCELLING": "yellow",
    "SKIPPED": "yellow",
    "STALE": "yellow",
    "RETRY_WAIT": "yellow",
    "RUNNING": "cyan",
    "DISPATCHED": "cyan",
}


def is_terminal() -> bool:
    """Whether a person watches: stdout and stderr are terminals that can move the cursor."""
    smart = os.environ.get("TERM", "") != "dumb" and not os.environ.get("NO_COLOR")
    return smart and sys.stdout.isatty() and sys.stderr.isatty()


def is_watched() -> bool:
    """Whether stdout is a terminal, where a long table would push away what matters."""
    return sys.stdout.isatty()


def state_text(state: str) -> str:
    """A state in its colour."""
    return click.style(state, fg=COLOURS.get(state))


def table(
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    limit: int | None = None,
    whole: str = "",
    width: int | None = None,
) -> str:
    """Columns aligned by their widest cell; a dash for an empty one.

    limit: more rows than that are counted below the table, with the command that shows the whole.
    width: of the terminal; the last column, which must have no colours, is cut to fit into it.
    """
    shown = [[cell or "-" for cell in row] for row in rows[:limit]]
    widths = [
        max(len(click.unstyle(cell)) for cell in column)
        for column in zip(headers, *shown, strict=True)
    ]
    if width is not None:
        room = max(width - sum(widths[:-1]) - 2 * (len(widths) - 1), 1)
        shown = [[*row[:-1], shortened(row[-1], room)] for row in shown]
    lines = [_line([click.style(h, bold=True) for h in headers], widths)]
    lines += [_line(row, widths) for row in shown]
    if len(rows) > len(shown):
        lines.append(f"… and {len(rows) - len(shown)} more (all: {whole})")
    return "\n".join(lines)


def shortened(text: str, room: int) -> str:
    """The text, its end left out when it is longer than the room for it."""
    return text if len(text) <= room else f"{text[: room - 1]}…"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (
        cell + " " * (width - len(click.unstyle(cell)))
        for cell, width in zip(cells, widths, strict=True)
    )
    return "  ".join(padded).rstrip()


def span(start: str, end: str) -> str:
    """How long something took, from two RFC 3339 times; "" when it has not ended."""
    if not start or not end:
        return ""
    return seconds_text(
        (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
    )


def seconds_text(seconds: float) -> str:
    """`40ms`, `1.5s`, `2m05s`, `3h07m`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}h{minutes % 60:02}m" if minutes >= 60 else f"{minutes}m{rest:02}s"


def clock_time(stamp: str) -> str:
    """A time as people near this machine read it, to the second; "" for ""."""
    return f"{datetime.fromisoformat(stamp).astimezone():%Y-%m-%d %H:%M:%S}" if stamp else ""


def counts_text(counts: dict[str, int]) -> str:
    """`3 SUCCEEDED, 1 FAILED`."""
    return ", ".join(f"{count} {state_text(state)}" for state, count in counts.items())


def plan_table(plan: PlanView) -> str:
    """The tasks of a plan in order, with what each waits for."""
    rows = [(task.task, ", ".join(task.upstream)) for task in plan.tasks]
    return table(("TASK", "AFTER"), rows)
