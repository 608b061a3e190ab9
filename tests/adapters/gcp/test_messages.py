"""The messages are those of the official clients, as far as we know them."""

from __future__ import annotations

import pytest

from adapters.gcp.client_descriptors import descriptors
from arco_flow.adapters.gcp.messages import files, message_class

FIELD = ("number", "type", "label", "type_name", "oneof_index", "proto3_optional")


def messages_of(found):
    """Full name -> its fields, by name, and the values of its enums."""
    told = {}
    for file in found.file:
        kinds = [(f"{file.package}.{one.name}", one) for one in file.message_type]
        while kinds:
            name, kind = kinds.pop()
            told[name] = {f.name: tuple(getattr(f, part) for part in FIELD) for f in kind.field}
            for enum in kind.enum_type:
                told[f"{name}.{enum.name}"] = {v.name: v.number for v in enum.value}
            kinds += [(f"{name}.{one.name}", one) for one in kind.nested_type]
        for enum in file.enum_type:
            told[f"{file.package}.{enum.name}"] = {v.name: v.number for v in enum.value}
    return told


OURS, OFFICIAL = messages_of(files()), messages_of(descriptors())


@pytest.mark.parametrize("name", sorted(OURS))
def test_a_message_has_the_fields_of_the_official_one(name):
    assert OURS[name].items() <= OFFICIAL[name].items(), (
        "run: PYTHONPATH=tests:shared python -m adapters.gcp.client_descriptors"
    )


def test_what_one_side_writes_the_other_reads():
    from google.cloud.firestore_v1.types import Write

    ours = message_class("google.firestore.v1.Write")()
    ours.update.name = "a/b"
    ours.update.fields["at"].timestamp_value.FromMicroseconds(1_700_000_000_123_456)
    ours.current_document.exists = False
    theirs = Write.pb().FromString(ours.SerializeToString())
    assert theirs.update.fields["at"].timestamp_value.ToMicroseconds() == 1_700_000_000_123_456
    assert theirs.current_document.HasField("exists")
    assert type(ours).FromString(theirs.SerializeToString()) == ours


def test_a_field_that_we_do_not_know_yet_disturbs_nobody():
    kind = message_class("google.firestore.v1.CommitResponse")
    unknown = b"\xf8\x7f\x05"  # field 2047, a number
    assert kind.FromString(unknown).SerializeToString() == unknown
