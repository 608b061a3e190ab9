"""Reading back what we have stored ourselves: bytes that do not fit are damage, no one's request.

Whoever folds, sweeps or lists entities goes on with the next one on an ArcoError; any other
exception would let one damaged document stop all of them.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from arco_flow.domain.errors import Unavailable

T = TypeVar("T")


def read_stored(
    decoder: msgspec.json.Decoder[T] | msgspec.msgpack.Decoder[T], raw: bytes, what: str
) -> T:
    """What a decoder reads. `what` is what the message calls it. Raises Unavailable for damage."""
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise damaged(what, error) from error


def damaged(what: str, error: Exception) -> Unavailable:
    """The error for stored bytes that can not be read."""
    return Unavailable(
        f"{what} can not be read: {error}", fix="restore it from a backup", reason="DAMAGED_STATE"
    )
