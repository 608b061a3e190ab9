"""The messages of Google's APIs, out of their descriptors alone.

`messages.binpb` holds the descriptors of what we send and read, taken from the official clients
without services and options; a test compares them. Loading the clients themselves for their
messages would cost five times as much as all that is needed to speak to the services.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Final

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

DESCRIPTORS: Final = Path(__file__).with_name("messages.binpb")


def message_class(name: str) -> Any:
    """The class of a message by its full name, such as `google.firestore.v1.Write`."""
    return GetMessageClass(_pool().FindMessageTypeByName(name))


def files() -> FileDescriptorSet:
    """The descriptors, each file after those that it needs."""
    return FileDescriptorSet.FromString(DESCRIPTORS.read_bytes())


@cache
def _pool() -> DescriptorPool:
    # A pool of our own: the official clients, loaded beside us, fill the common one.
    pool = DescriptorPool()
    for file in files().file:
        pool.Add(file)
    return pool
