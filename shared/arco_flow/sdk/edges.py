"""Typed edges: what stands as a parameter's default to say which asset fills it.

To a type checker `orders.out` is what the function returns; at run time it is an OutEdge.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from arco_flow.domain.errors import DefinitionError

if TYPE_CHECKING:
    from arco_flow.sdk.asset import Asset


@dataclass(frozen=True, slots=True, eq=False)
class OutEdge:
    """`x: T = upstream.out`: the value of the upstream asset."""

    asset: Asset[..., Any]

    def __repr__(self) -> str:
        return f"{self.asset.name}.out"


@dataclass(frozen=True, slots=True, eq=False)
class WindowEdge:
    """`x: Sequence[T] = upstream[-6:]`: values of several partitions, in partition order.

    start, end: offsets from the partition that is being made, in its own units, both included.
    start None: `upstream[:]`, all partitions.
    """

    asset: Asset[..., Any]
    start: int | None
    end: int

    def __repr__(self) -> str:
        start = "" if self.start is None else self.start
        return f"{self.asset.name}[{start}:{self.end or ''}]"


Edge = OutEdge | WindowEdge


def window_edge(asset: Asset[..., Any], window: object) -> WindowEdge:
    """The edge of `asset[start:end]`. Raises DefinitionError for what is no window."""
    if not isinstance(window, slice):
        raise _refused(asset, f"[{window!r}]", "is no window")
    start, end = window.start, 0 if window.stop is None else window.stop
    text = f"[{'' if start is None else start}:{'' if window.stop is None else window.stop}]"
    if window.step is not None:
        raise _refused(asset, text, "has a step")
    if start is None and window.stop is None:
        return WindowEdge(asset, None, 0)
    if type(start) is not int or type(end) is not int:
        raise _refused(asset, text, "does not start and end at a whole number")
    if max(start, end) > 0:
        raise _refused(asset, text, "reaches into later partitions")
    if start > end:
        raise _refused(asset, text, "starts after its end")
    return WindowEdge(asset, start, end)


def _refused(asset: Asset[..., Any], text: str, problem: str) -> DefinitionError:
    name = asset.name
    return DefinitionError(
        f"window {name}{text} {problem}",
        where=str(asset.place),
        fix=f"{name}[-6:] is the last seven partitions with the current one, {name}[-7:-1] the "
        f"seven before it, {name}[:] all of them; one value: {name}.out",
        reason="BAD_WINDOW",
    )
