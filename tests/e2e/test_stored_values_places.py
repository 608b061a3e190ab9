"""load_asset_value: the places that it reads, without a plane."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from arco_flow import load_asset_value
from arco_flow.domain.errors import InvalidInput, NotFound, Unavailable
from conformance.emulators import storage_url
from e2e.harness import running_plane, write_module
from handler_server import QuietHandler, serving_handler

SOLO = """
    from arco_flow import asset

    @asset
    def one() -> int:
        return 1
"""


def test_values_are_there_when_no_plane_is(tmp_path: Path) -> None:
    module = write_module(tmp_path, "solo", SOLO)
    with running_plane(tmp_path) as plane:
        plane.deploy(module)
        plane.wait(plane.request("*").run_id)
    assert load_asset_value("solo.one", type_=int, project=tmp_path) == 1
    load = load_asset_value("solo.one", project=str(tmp_path))
    opened = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        assert load_asset_value("solo.one", project=tmp_path) == load
    assert len(os.listdir("/proc/self/fd")) <= opened, "no file stays open"


def test_a_folder_without_state_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"there is no state folder '.*\.arco-flow'"):
        load_asset_value("lake.answer", project=tmp_path)
    with pytest.raises(NotFound, match="no state folder"):
        load_asset_value("lake.answer", project=tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ({"project": ".", "tenant": "acme"}, "tenant='acme', but a state folder is of one tenant"),
        ({"project": "gs://lake"}, "gs://lake is shared by tenants, and no tenant is given"),
        ({"project": "gs://lake", "tenant": "A/b"}, "tenant 'A/b' has 'A' at character 1"),
        ({"project": "gs://lake/x", "tenant": "acme"}, "project='gs://lake/x' names no bucket"),
        ({"project": "gs://", "tenant": "acme"}, "project='gs://' names no bucket"),
    ],
)
def test_a_place_that_is_none_is_refused_before_anything_is_read(
    place: dict[str, Any], told: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        load_asset_value("lake.answer", **place)
    assert caught.value.message.startswith(told)
    assert caught.value.fix


def test_a_bucket_that_does_not_exist_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", storage_url())
    with pytest.raises(NotFound) as caught:
        load_asset_value("lake.answer", project="gs://nowhere", tenant="acme")
    assert str(caught.value) == (
        "there is no bucket 'gs://nowhere'\n"
        "  fix: correct project='gs://NAME': it is the bucket that the plane stores in"
    )


@pytest.fixture
def forbidden() -> Iterator[str]:
    """URL of a storage that lets nobody read."""

    class Forbids(QuietHandler):
        def do_GET(self) -> None:
            self.send_error(403, "you do not have storage.objects.get access")

    with serving_handler(Forbids) as url:
        yield url


def test_whom_a_bucket_lets_not_read_is_told_of_the_role(
    forbidden: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", forbidden)
    with pytest.raises(Unavailable, match=r"Cloud Storage refused to .*: 403") as caught:
        load_asset_value("lake.answer", project="gs://lake", tenant="acme")
    told = str(caught.value).splitlines()[-1]
    assert told == "  fix: let your own account read the bucket: roles/storage.objectViewer"


def test_a_bucket_needs_the_packages_of_the_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STORAGE_EMULATOR_HOST", "K_SERVICE", "CLOUD_RUN_JOB"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(sys.modules, "google.auth", None)
    with pytest.raises(Unavailable) as caught:
        load_asset_value("lake.answer", project="gs://lake", tenant="acme")
    assert str(caught.value) == (
        "there are no credentials for gs://lake: google-auth is not installed\n"
        "  fix: pip install 'arco-flow[gcp]'"
    )
