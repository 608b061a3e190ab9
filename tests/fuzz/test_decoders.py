"""Whatever bytes arrive, a decoder reads them or raises the error that it documents."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arco_flow import domain
from fuzz.decoders import BY_NAME, DECODERS
from fuzz.mutations import hostile
from fuzz.table import Decoder
from properties.budget import examples

each_decoder = pytest.mark.parametrize("name", BY_NAME)


def read_or_refuse(decoder: Decoder, raw: bytes) -> None:
    """Reads the bytes and what it writes of them, or refuses them as documented."""
    try:
        value = decoder.decode(raw)
    except decoder.refuses:
        return
    if decoder.write is not None:
        assert decoder.decode(decoder.write(value)) == value


@each_decoder
@examples(60)
@given(data=st.data())
def test_hostile_input_is_read_or_refused_as_documented(name: str, data: st.DataObject) -> None:
    decoder = BY_NAME[name]
    read_or_refuse(decoder, data.draw(hostile(decoder)))


@each_decoder
def test_a_sample_is_read_and_comes_back(name: str) -> None:
    decoder = BY_NAME[name]
    for raw in decoder.samples:
        value = decoder.decode(raw)
        if decoder.write is not None:
            assert decoder.decode(decoder.write(value)) == value


READS = re.compile(r"(decode|parse|read)_\w+|\w+_from_wire|parse|decoded|from_wire|from_canonical")
EXCEPTIONS = {
    "partition_base.PartitionsDefinition.from_canonical": "a protocol, without a body",
    "stored_forms.read_stored": "what the decoders of stored forms are made of",
}


def _reading_functions() -> Iterator[str]:
    for info in pkgutil.iter_modules(domain.__path__):
        module = importlib.import_module(f"{domain.__name__}.{info.name}")
        for name, found in vars(module).items():
            if getattr(found, "__module__", "") != module.__name__:
                continue
            if inspect.isfunction(found) or hasattr(found, "__wrapped__"):
                yield f"{info.name}.{name}"
            elif inspect.isclass(found):
                members = (member for member in vars(found) if callable(getattr(found, member)))
                yield from (f"{info.name}.{name}.{member}" for member in members)


def test_every_decoder_of_the_domain_is_in_the_table() -> None:
    found = {name for name in _reading_functions() if READS.fullmatch(name.rpartition(".")[2])}
    covered = {name for decoder in DECODERS for name in decoder.covers}
    assert found - covered - EXCEPTIONS.keys() == set(), "add a row to fuzz/decoders.py"
    assert covered - found == set(), "the table names what is there no more"
