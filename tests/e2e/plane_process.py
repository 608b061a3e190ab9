"""A plane as a process of its own, to be killed: prints its address as one JSON line."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from arco_flow.adapters.local.wiring import LocalSettings, open_plane


async def main(folder: str, workers: int) -> None:
    async with open_plane(LocalSettings(Path(folder), workers=workers)) as plane:
        print(json.dumps({"url": plane.url, "token": plane.token}), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
