"""Folders are found by listing few of their objects."""

from __future__ import annotations

import pytest

from arco_flow.adapters.memory.objects import MemoryObjects
from arco_flow.io.listing import PER_FOLDER, first_of_folders

PREFIX = "assets/t.a/"


class Counted(MemoryObjects):
    """Counts what it lists."""

    listed = 0
    pages = 0

    def list(self, prefix, *, after="", limit=1000):
        page = super().list(prefix, after=after, limit=limit)
        self.listed += len(page)
        self.pages += 1
        return page


def filled(folders, each):
    objects = Counted()
    for folder in folders:
        for number in range(each):
            objects.put_if_absent(f"{PREFIX}{folder}/{number:04d}", b"")
    return objects


@pytest.mark.parametrize(("folders", "each"), [(1, 1), (3, 16), (40, 1), (7, 500), (300, 3)])
def test_every_folder_is_found_once_by_its_first_object(folders, each):
    names = [f"f{number:04d}" for number in range(folders)]
    objects = filled(names, each)
    objects.put_if_absent("assets/t.b/f/x", b"")
    assert list(first_of_folders(objects, PREFIX)) == [f"{PREFIX}{name}/0000" for name in names]
    assert objects.listed <= PER_FOLDER * (folders + 1)
    assert objects.pages <= folders + 1


def test_many_small_folders_are_found_by_few_pages():
    objects = filled([f"f{number:05d}" for number in range(3_000)], 3)
    assert len(list(first_of_folders(objects, PREFIX))) == 3_000
    assert objects.pages < 15


@pytest.mark.parametrize("each", [1, PER_FOLDER, 40])
def test_a_folder_whose_name_begins_like_another_one_is_not_skipped(each):
    names = sorted(["d", "d-1", "d0", "d00", "d,e", "d=d:1", "e"], key=lambda name: name + "/")
    objects = filled(names, each)
    found = [
        first.removeprefix(PREFIX).split("/")[0] for first in first_of_folders(objects, PREFIX)
    ]
    assert found == names


def test_nothing_has_no_folders():
    assert list(first_of_folders(MemoryObjects(), PREFIX)) == []
