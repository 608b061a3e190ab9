"""What a row of the table of decoders is, and how text and JSON are made of bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from arco_flow.domain.errors import ArcoError, InvalidInput, TooLarge, Unauthenticated, Unavailable

BAD: tuple[type[ArcoError], ...] = (InvalidInput,)
BAD_OR_LARGE: tuple[type[ArcoError], ...] = (InvalidInput, TooLarge)
DAMAGED: tuple[type[ArcoError], ...] = (Unavailable,)
UNKNOWN: tuple[type[ArcoError], ...] = (Unauthenticated,)


@dataclass(frozen=True)
class Decoder:
    """One way into the system.

    decode: reads bytes, or raises one of `refuses` and nothing else. samples: documents that it
    reads. write: inverse of decode, None where there is none. covers: `module.function` of the
    domain that this row stands for. json: whether samples are JSON, to be mutated as such.
    """

    name: str
    decode: Callable[[bytes], object]
    samples: tuple[bytes, ...]
    refuses: tuple[type[Exception], ...] = BAD
    write: Callable[[Any], bytes] | None = None
    covers: tuple[str, ...] = ()
    json: bool = False


def of_text(read: Callable[[str], object]) -> Callable[[bytes], object]:
    """A decoder of text; bytes that are no UTF-8 become lone surrogates, as in arguments."""
    return lambda raw: read(raw.decode("utf-8", "surrogateescape"))


def of_json(read: Callable[[Any], object]) -> Callable[[bytes], object]:
    """A decoder of JSON that was read leniently: NaN, huge numbers, lone surrogates, depth."""

    def decode(raw: bytes) -> object:
        try:
            value = json.loads(raw.decode("utf-8", "surrogateescape"))
        except (ValueError, RecursionError) as error:
            raise InvalidInput("no JSON at all") from error
        return read(value)

    return decode


def bytes_of(value: object) -> bytes:
    """JSON of a wire form, also of one with lone surrogates."""
    return json.dumps(msgspec.to_builtins(value)).encode()
