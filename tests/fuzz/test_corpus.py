"""The kept inputs (corpus/README.md), and those that would be too large to keep."""

from __future__ import annotations

import contextlib
import re
import zlib
from pathlib import Path

import pytest

from arco_flow.domain.decision import COMPRESS_BYTES, MAX_SEGMENT_BYTES, Segment, encode_segment
from fuzz.decoders import BY_NAME
from fuzz.test_decoders import read_or_refuse

CORPUS = Path(__file__).with_name("corpus")
FILES = sorted(path for path in CORPUS.glob("*/*") if path.is_file())
REPEATED = re.compile(rb"\{(\d+)\*([^}]+)\}")


def content(path: Path) -> bytes:
    """The input that a file stands for."""
    raw = path.read_bytes().removesuffix(b"\n")
    if path.suffix == ".hex":
        return bytes.fromhex(raw.decode())
    return REPEATED.sub(lambda found: found[2] * int(found[1]), raw)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_kept_input_is_read_or_refused_as_its_name_says(path: Path) -> None:
    decoder, raw = BY_NAME[path.parent.name], content(path)
    if path.name.startswith("read-"):
        value = decoder.decode(raw)
        assert decoder.write is None or decoder.decode(decoder.write(value)) == value
        return
    with pytest.raises(decoder.refuses):
        decoder.decode(raw)


def test_every_folder_of_the_corpus_belongs_to_a_decoder() -> None:
    assert {path.parent.name for path in FILES} <= BY_NAME.keys()


DEPTH = 100_000
TOO_DEEP = {
    "lists": b"[" * DEPTH + b"]" * DEPTH,
    "open lists": b"[" * DEPTH,
    "objects": b'{"a":' * DEPTH + b"1" + b"}" * DEPTH,
    "parentheses": b"(" * DEPTH,
}


@pytest.mark.parametrize("name", BY_NAME)
@pytest.mark.parametrize("raw", TOO_DEEP.values(), ids=list(TOO_DEEP))
def test_what_is_nested_a_hundred_thousand_levels_deep_is_no_end_of_the_process(
    name: str, raw: bytes
) -> None:
    decoder = BY_NAME[name]
    with contextlib.suppress(*decoder.refuses):
        decoder.decode(raw)


@pytest.mark.parametrize("name", [name for name, row in BY_NAME.items() if row.json])
def test_depth_inside_of_a_document_is_met_as_well(name: str) -> None:
    decoder = BY_NAME[name]
    for sample in decoder.samples:
        for place in (place for place, byte in enumerate(sample) if byte == ord(":")):
            nested = b'{"a":' * DEPTH + b"1" + b"}" * DEPTH
            read_or_refuse(decoder, sample[: place + 1] + nested + sample[place + 1 :])


def test_a_compressed_segment_is_not_inflated_beyond_its_limit() -> None:
    bomb = zlib.compress(b" " * (MAX_SEGMENT_BYTES + 1))
    assert len(bomb) < COMPRESS_BYTES
    decoder = BY_NAME["segment"]
    with pytest.raises(decoder.refuses, match="ends early, late or not at all"):
        decoder.decode(bomb)
    assert decoder.decode(zlib.compress(encode_segment(Segment(1, 2, 3, ())))) == Segment(
        1, 2, 3, ()
    )
