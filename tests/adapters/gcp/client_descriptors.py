"""The descriptors of the messages that the adapters speak, out of the official clients.

PYTHONPATH=tests:shared python -m adapters.gcp.client_descriptors     # writes messages.binpb
"""

from __future__ import annotations

from google.cloud.firestore_v1.types import firestore
from google.cloud.tasks_v2 import types as tasks
from google.protobuf.descriptor import Descriptor, FileDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, FileDescriptorSet
from google.protobuf.empty_pb2 import Empty
from google.pubsub_v1 import types as pubsub

from arco_flow.adapters.gcp.messages import DESCRIPTORS

SPOKEN = (
    firestore.BatchGetDocumentsRequest,
    firestore.BatchGetDocumentsResponse,
    firestore.CommitRequest,
    firestore.CommitResponse,
    firestore.RunAggregationQueryRequest,
    firestore.RunAggregationQueryResponse,
    firestore.RunQueryRequest,
    firestore.RunQueryResponse,
    tasks.CreateTaskRequest,
    tasks.DeleteTaskRequest,
    tasks.Task,
    pubsub.PublishRequest,
    pubsub.PublishResponse,
)
"""What is sent and read; with it comes what these hold."""


def descriptors() -> FileDescriptorSet:
    """The files, each after those that it needs, with the messages that are reached and no more."""
    reached: dict[str, set[str]] = {}
    files: dict[str, FileDescriptor] = {}
    ahead = [kind.pb().DESCRIPTOR for kind in SPOKEN] + [Empty.DESCRIPTOR]
    seen = set()
    while ahead:
        found = ahead.pop()
        if found.full_name in seen:
            continue
        seen.add(found.full_name)
        files[found.file.name] = found.file
        reached.setdefault(found.file.name, set()).add(_outermost(found).name)
        if isinstance(found, Descriptor):
            whole = _outermost(found)
            ahead += [whole, *whole.nested_types]
            ahead += [f.message_type or f.enum_type for f in found.fields if _holds(f)]
    return FileDescriptorSet(file=_in_order(files, reached))


def _holds(field):
    return field.message_type is not None or field.enum_type is not None


def _outermost(found):
    while found.containing_type is not None:
        found = found.containing_type
    return found


def _in_order(files, reached):
    done: dict[str, FileDescriptorProto] = {}

    def add(file):
        if file.name in done or file.name not in reached:
            return
        for needed in sorted(file.dependencies, key=lambda one: one.name):
            add(needed)
        done[file.name] = _bare(file, reached)

    for name in sorted(files):
        add(files[name])
    return done.values()


def _bare(file, reached):
    whole = FileDescriptorProto()
    file.CopyToProto(whole)
    bare = FileDescriptorProto(name=whole.name, package=whole.package, syntax=whole.syntax)
    bare.dependency.extend(name for name in sorted(whole.dependency) if name in reached)
    names = reached[file.name]
    bare.message_type.extend(m for m in whole.message_type if m.name in names)
    bare.enum_type.extend(e for e in whole.enum_type if e.name in names)
    for kind in bare.message_type:
        _strip(kind)
    for enum in bare.enum_type:
        enum.ClearField("options")
    return bare


def _strip(kind: DescriptorProto) -> None:
    is_map = kind.options.map_entry
    kind.ClearField("options")
    if is_map:
        kind.options.map_entry = True
    for field in kind.field:
        field.ClearField("options")
    for one in kind.oneof_decl:
        one.ClearField("options")
    for enum in kind.enum_type:
        enum.ClearField("options")
        for value in enum.value:
            value.ClearField("options")
    for nested in kind.nested_type:
        _strip(nested)


def encoded() -> bytes:
    """The content of the file."""
    return descriptors().SerializeToString(deterministic=True)


if __name__ == "__main__":
    DESCRIPTORS.write_bytes(encoded())
