"""Pages of a bucket's objects."""

from __future__ import annotations

import base64
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass

from arco_emulators.storage.errors import invalid, not_emulated
from arco_emulators.storage.state import Bucket, StoredObject

MAX_RESULTS = 1000
"""Objects and prefixes of one page: the most, and what is used when nothing is said."""

REFUSED = ("versions", "softDeleted", "matchGlob", "filter")
"""What would change the answer; refused, because to ignore it would give a wrong one."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What is asked for."""

    prefix: str
    delimiter: str
    start: str
    """First name that is wanted, or the least that may follow."""
    end: str
    """First name that is not wanted any more; empty for no end."""
    after: str
    """Last name or prefix of the page before; empty for the first page."""
    trailing: bool
    """Whether a name that ends in its first delimiter is listed as an object too."""
    limit: int

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Listing:
        """Read a query. Errors: StorageError 400, 501 for what is not emulated."""
        for name in REFUSED:
            if query.get(name, "false").lower() != "false":
                raise not_emulated(f"the parameter {name} of objects.list")
        return cls(
            prefix=query.get("prefix", ""),
            delimiter=query.get("delimiter", ""),
            start=query.get("startOffset", ""),
            end=query.get("endOffset", ""),
            after=_decode(query.get("pageToken", "")),
            trailing=query.get("includeTrailingDelimiter", "").lower() == "true",
            limit=limit_of(query),
        )


@dataclass(frozen=True, slots=True)
class Page:
    """Objects and common prefixes, each ascending; the token is None on the last page."""

    objects: list[StoredObject]
    prefixes: list[str]
    token: str | None


def limit_of(query: Mapping[str, str]) -> int:
    """How many results a page may have. Errors: StorageError 400."""
    given = query.get("maxResults", str(MAX_RESULTS))
    if not given.isdecimal() or int(given) < 1:
        raise invalid(f"Invalid value '{given}' for maxResults", parameter="maxResults")
    return min(int(given), MAX_RESULTS)


def page(bucket: Bucket, asked: Listing) -> Page:
    """The next page, of what the bucket holds at this moment."""
    names = bucket.names
    objects: list[StoredObject] = []
    prefixes: list[str] = []
    at = _begin(names, asked)
    last = ""
    while at < len(names) and names[at].startswith(asked.prefix):
        name = names[at]
        if asked.end and name >= asked.end:
            break
        common = _common_prefix(name, asked)
        if len(objects) + len(prefixes) >= asked.limit:
            return Page(objects, prefixes, _encode(last))
        if common is None or (asked.trailing and name == common):
            objects.append(bucket.objects[name])
        if common is None:
            last, at = name, at + 1
        else:
            prefixes.append(common)
            last, at = common, _past(names, common, at)
    return Page(objects, prefixes, None)


def _begin(names: list[str], asked: Listing) -> int:
    begin = bisect_left(names, max(asked.prefix, asked.start))
    if not asked.after:
        return begin
    ends_group = asked.delimiter and asked.after.endswith(asked.delimiter)
    if ends_group and asked.after != asked.prefix:
        return max(begin, _past(names, asked.after, 0))
    return max(begin, bisect_right(names, asked.after))


def _common_prefix(name: str, asked: Listing) -> str | None:
    if not asked.delimiter:
        return None
    found = name.find(asked.delimiter, len(asked.prefix))
    return None if found < 0 else name[: found + len(asked.delimiter)]


def _past(names: list[str], prefix: str, low: int) -> int:
    """Index of the first name after all that begin with the prefix."""
    return bisect_right(names, prefix, lo=low, key=lambda name: name[: len(prefix)])


def _encode(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode()


def _decode(token: str) -> str:
    try:
        return base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode()
    except ValueError:
        raise invalid("Invalid page token", parameter="pageToken") from None
