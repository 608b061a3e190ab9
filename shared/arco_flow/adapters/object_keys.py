"""What an object key may be, for every object store alike."""

from __future__ import annotations

import re
import unicodedata

from arco_flow.domain.errors import InvalidInput

KEY_LIMIT_BYTES = 1024
SEGMENT_LIMIT_BYTES = 255
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\\\ud800-\udfff]")


def object_key(key: str) -> str:
    """The key in normal form (NFC), as it is stored and listed.

    Raises InvalidInput on an empty key or segment, a `.` or `..` segment, a backslash, a control
    character or half of a surrogate pair, over 1024 bytes (the limit of Cloud Storage), or with a
    segment over 255 bytes (the limit of file systems).
    """
    key = unicodedata.normalize("NFC", key)
    if _FORBIDDEN.search(key):
        raise _refused(key, "it holds a backslash or a control character")
    segments = key.split("/")
    if any(segment in ("", ".", "..") for segment in segments):
        raise _refused(key, "it has an empty, '.' or '..' segment")
    if len(key.encode()) > KEY_LIMIT_BYTES:
        raise _refused(key, f"it is over {KEY_LIMIT_BYTES} bytes")
    if any(len(segment.encode()) > SEGMENT_LIMIT_BYTES for segment in segments):
        raise _refused(key, f"it has a segment over {SEGMENT_LIMIT_BYTES} bytes")
    return key


def object_prefix(prefix: str) -> str:
    """The prefix in normal form; empty, or ending anywhere in a key. Raises InvalidInput."""
    if not prefix:
        return ""
    if prefix.endswith("/"):
        return object_key(prefix[:-1]) + "/"
    folder, _, last = prefix.rpartition("/")
    if last in (".", ".."):
        # The beginning of a name such as `..data`, not a step upwards.
        return (object_key(folder) + "/" if folder else "") + last
    return object_key(prefix)


def _refused(key: str, why: str) -> InvalidInput:
    shown = key if len(key) <= 80 else key[:77] + "..."
    return InvalidInput(
        f"{shown!r} can not be an object key: {why}",
        fix="use segments joined by single slashes, such as 'assets/sales.orders/_current.json'",
        details={"key": key},
    )
