"""Short cuts to save and load one version."""

from __future__ import annotations

from arco_flow.io.base import OutputTarget
from arco_flow.io.commit import CommitMarker, marker_of, write_commit
from arco_flow.io.registry import load_value, save_value
from arco_flow.ports.objects import Objects

PREFIX = "tenants/t/workspaces/w/assets/a.b/date=d:2026-01-01/versions/att_1/"


def commit(
    objects: Objects, value: object, *, annotation: object = "auto", io: str = ""
) -> CommitMarker:
    target = OutputTarget(objects, PREFIX, "a.b")
    name, output = save_value(value, target, io=io, annotation=annotation)
    marker = marker_of(
        output, io=name, attempt_id="att_1", attempt=1, run_id="run_1", task="a.b[2026-01-01]"
    )
    return write_commit(objects, PREFIX, marker)


def round_trip(
    value: object, load_as: object, *, annotation: object = "auto", objects: Objects
) -> object:
    commit(objects, value, annotation=annotation)
    return load_value(objects, PREFIX, load_as, asset="a.b")


def damage(objects: Objects, name: str, data: bytes) -> None:
    """Overwrite a file of the version, which nothing of ours does."""
    stored = objects.get(PREFIX + name)
    assert stored is not None
    assert objects.put_if_generation(PREFIX + name, data, stored.generation)
