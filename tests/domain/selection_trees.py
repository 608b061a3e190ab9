"""Selections of chance, for what holds of all of them."""

from __future__ import annotations

from hypothesis import strategies as st

from arco_flow.domain.selection_ast import (
    And,
    Around,
    Downstream,
    Not,
    Or,
    Roots,
    Selection,
    Sinks,
    Upstream,
    join,
)


def trees_of(
    leaves: st.SearchStrategy[Selection], *, max_depth: int, max_leaves: int
) -> st.SearchStrategy[Selection]:
    """Everything that the language can make of these leaves. max_depth: of steps along edges."""
    depths = st.none() | st.integers(0, max_depth)

    def larger(inner: st.SearchStrategy[Selection]) -> st.SearchStrategy[Selection]:
        several = st.lists(inner, min_size=2, max_size=4)
        return st.one_of(
            several.map(lambda operands: join(And, operands)),
            several.map(lambda operands: join(Or, operands)),
            st.builds(Not, inner),
            st.builds(Roots, inner),
            st.builds(Sinks, inner),
            st.builds(Upstream, inner, depths),
            st.builds(Downstream, inner, st.none() | st.integers(1, max_depth)),
            st.builds(Around, inner, depths, depths),
        )

    return st.recursive(leaves, larger, max_leaves=max_leaves)
