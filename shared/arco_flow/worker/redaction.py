"""Taking the values of secrets out of what leaves the worker."""

from __future__ import annotations

import re
from collections.abc import Collection

MASK = "***"
MIN_PART_CHARS = 8
"""Shorter lines of a secret of several lines are left alone: masking every `{` of a key file
would destroy the logs and protect nothing."""


class Redactor:
    """Replaces every occurrence of a known secret by `***`.

    known: the live collection of secrets that this process has read; it may grow. Of a secret of
    several lines each line counts too, because logs are kept by line.
    """

    def __init__(self, known: Collection[str] = ()) -> None:
        self._known = known
        self._count = 0
        self._pattern: re.Pattern[str] | None = None
        self._longest = 0

    @property
    def longest_bytes(self) -> int:
        """UTF-8 bytes of the longest secret."""
        self._refresh()
        return self._longest

    def clean(self, text: str) -> str:
        """The text without secrets."""
        self._refresh()
        return text if self._pattern is None else self._pattern.sub(MASK, text)

    def _refresh(self) -> None:
        if len(self._known) == self._count:
            return
        secrets = list(self._known)
        parts = {secret for secret in secrets if secret}
        for secret in secrets:
            lines = (line.strip() for line in secret.splitlines())
            parts.update(line for line in lines if len(line) >= MIN_PART_CHARS)
        # Longest first: a secret that contains another one is masked whole.
        ordered = sorted(parts, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, ordered))) if ordered else None
        self._longest = max((len(part.encode("utf-8", "replace")) for part in parts), default=0)
        self._count = len(secrets)
