"""An object store in a dictionary, and short cuts to save and load one version."""

from __future__ import annotations

import pathlib

from arco_flow.io.base import OutputTarget
from arco_flow.io.commit import CommitMarker, marker_of, write_commit
from arco_flow.io.registry import load_value, save_value
from arco_flow.ports.objects import ObjectMeta, StoredObject

PREFIX = "tenants/t/workspaces/w/assets/a.b/date=d:2026-01-01/versions/att_1/"


class DictObjects:
    """Keeps objects in memory; `folder` makes it serve local paths too."""

    def __init__(self, folder: pathlib.Path | None = None) -> None:
        self.data: dict[str, bytes] = {}
        self.folder = folder

    def get(self, key: str) -> StoredObject | None:
        return StoredObject(self.data[key], 1) if key in self.data else None

    def put_if_absent(self, key: str, data: bytes) -> int | None:
        if key in self.data:
            return None
        self.data[key] = data
        if self.folder is not None:
            (self.folder / key).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / key).write_bytes(data)
        return 1

    def put_if_generation(self, key: str, data: bytes, generation: int) -> int | None:
        raise AssertionError("a version is never overwritten")

    def put_file_if_absent(self, key: str, path: str) -> int | None:
        return self.put_if_absent(key, pathlib.Path(path).read_bytes())

    def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> list[ObjectMeta]:
        keys = sorted(key for key in self.data if key.startswith(prefix) and key > after)
        return [ObjectMeta(key, 1, len(self.data[key])) for key in keys[:limit]]

    def delete(self, key: str) -> bool:
        return self.data.pop(key, None) is not None

    def local_path(self, key: str) -> str | None:
        return None if self.folder is None else str(self.folder / key)


def commit(
    objects: DictObjects, value: object, *, annotation: object = "auto", io: str = ""
) -> CommitMarker:
    target = OutputTarget(objects, PREFIX, "a.b")
    name, output = save_value(value, target, io=io, annotation=annotation)
    marker = marker_of(
        output, io=name, attempt_id="att_1", attempt=1, run_id="run_1", task="a.b[2026-01-01]"
    )
    return write_commit(objects, PREFIX, marker)


def round_trip(
    value: object, load_as: object, *, annotation: object = "auto", objects: DictObjects
) -> object:
    commit(objects, value, annotation=annotation)
    return load_value(objects, PREFIX, load_as, asset="a.b")
