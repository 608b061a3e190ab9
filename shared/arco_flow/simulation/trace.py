"""What happened, as a hash that tells two histories apart, and as lines for people."""

from __future__ import annotations

import hashlib
from array import array
from zlib import crc32

_FLUSH_AT = 1 << 15


class Trace:
    """Takes in every step of every job and every call of every port.

    lines: kept only when asked for, because a long history has millions.
    """

    def __init__(self, *, keep_lines: bool = False) -> None:
        self.events = 0
        self.lines: list[tuple[int, str]] | None = [] if keep_lines else None
        self._pending = array("Q")
        self._hash = hashlib.blake2b(digest_size=16)
        self._codes: dict[str, int] = {}

    def step(self, now_ms: int, number: int) -> None:
        """A job goes on."""
        self.events += 1
        self._pending.append((now_ms << 22 ^ number) & 0xFFFFFFFFFFFFFFFF)
        if len(self._pending) >= _FLUSH_AT:
            self._flush()

    def site(self, name: str, moment: int) -> None:
        """A port is called, or has answered."""
        self.events += 1
        code = self._codes.get(name)
        if code is None:
            code = self._codes[name] = crc32(name.encode())
        self._pending.append(code << 2 | moment)

    def say(self, now_ms: int, text: str) -> None:
        """Something that decides what follows: it enters the hash, and the timeline."""
        self._pending.append(crc32(text.encode()))
        self.tell(now_ms, text)

    def tell(self, now_ms: int, text: str) -> None:
        """A line of the timeline, when there is one; the hash is the same without it."""
        if self.lines is not None:
            self.lines.append((now_ms, text))

    def digest(self) -> str:
        """Hash of everything so far, in hex."""
        self._flush()
        return self._hash.copy().hexdigest()

    def _flush(self) -> None:
        self._hash.update(self._pending.tobytes())
        del self._pending[:]
