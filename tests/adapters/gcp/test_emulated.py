"""The plane on emulators tells in one error what of theirs is not on this machine."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from arco_flow.adapters.gcp.emulated import EmulatedSettings, running_emulated_plane
from arco_flow.domain.errors import Unavailable

FUNCTIONS = Path(__file__).parents[3] / "functions"


def test_what_is_missing_is_told_once_and_how_to_mend_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("JAVA_HOME", raising=False)

    async def start() -> None:
        async with running_emulated_plane(EmulatedSettings(tmp_path, FUNCTIONS, {})):
            raise AssertionError("there is no Java")

    with pytest.raises(Unavailable) as told:
        asyncio.run(start())
    assert str(told.value).count("fix:") == 1
    assert told.value.message not in (told.value.fix or "")
