"""Listing the folders of an object store without listing all that is in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from arco_flow.ports.objects import Objects

PER_FOLDER: Final = 16
"""Objects that are listed for each folder, at most."""
_LONGEST_PAGE: Final = 1000


def first_of_folders(objects: Objects, prefix: str) -> Iterator[str]:
    """The key of the first object in every folder right below a prefix, which ends in a slash.

    A page is 16 times as long as the one before it had folders, and the next one skips the rest of
    its last folder. So for n folders at most 16·(n + 1) objects are listed, however many there are,
    and where folders hold few, soon a thousand at once.
    """
    after, last, wanted = "", "", PER_FOLDER
    while page := objects.list(prefix, after=after, limit=wanted):
        folders = 0
        for meta in page:
            folder = meta.key.removeprefix(prefix).split("/")[0]
            if folder != last:
                last, folders = folder, folders + 1
                yield meta.key
        if len(page) < wanted:
            return
        # "0" is the character after "/".
        after = f"{prefix}{last}0"
        wanted = min(folders * PER_FOLDER, _LONGEST_PAGE)
