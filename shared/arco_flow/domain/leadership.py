"""Leadership: who held a lease, one after the other. A lease itself forgets its past."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from arco_flow.domain.decision import APPLIED, IGNORED, Decision, Entry
from arco_flow.domain.events import Event, LeadershipTaken, event_type
from arco_flow.domain.ids import Entity, Scope
from arco_flow.domain.stored_forms import read_stored

PLANE_SCOPE = Scope("_plane", "_plane")
"""Of what belongs to no tenant; no tenant can be called so."""


class Leadership(msgspec.Struct, frozen=True, array_like=True):
    """The packed head state. token: fencing token of the latest grant; 0 before the first."""

    holder: str = ""
    token: int = 0
    since_ms: int = 0


_decoder = msgspec.msgpack.Decoder(Leadership)


def decode_leadership(packed: bytes) -> Leadership:
    """Unpack a head. Raises Unavailable when the bytes are none."""
    return read_stored(_decoder, packed, "the holder of a lease")


def leadership_entity(lease: str) -> Entity:
    """The entity that remembers the holders of a lease."""
    return Entity(PLANE_SCOPE, "leadership", lease)


def decide_leadership(
    current: Leadership, events: Sequence[Event], now_ms: int
) -> Decision[Leadership]:
    """Keep the latest grant; one that is told late changes nothing."""
    entries: list[Entry] = []
    state = current
    for event in events:
        data = event.data
        if not isinstance(data, LeadershipTaken):
            entries.append(Entry(event, IGNORED, f"unknown event type {event_type(data)}"))
        elif data.token <= state.token:
            entries.append(Entry(event, IGNORED, f"superseded: {state.token} is current"))
        else:
            state = Leadership(data.holder, data.token, now_ms)
            entries.append(Entry(event, APPLIED))
    return Decision(state, tuple(entries))
