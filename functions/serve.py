"""Serves one function with functions-framework: `ARCO_FLOW_FUNCTION=dispatch python serve.py`.

On Cloud Run this is the container's command. SIGTERM stops accepting, and gives what is in flight
its time; what the platform cuts all the same is delivered again, and a worker says of the attempt
that it had begun that it failed.
"""

import gc
import os
import pathlib
import signal
import sys

FOLDER = pathlib.Path(__file__).parent
GRACE_SECONDS = 7
"""Cloud Run sends SIGKILL ten seconds after SIGTERM; to hand an attempt back takes up to two."""
IDLE_SECONDS = 620
"""Google's front ends keep a connection for up to ten minutes between two requests. Whoever closes
it sooner (uvicorn by itself: after 5 s) loses a request that is on its way at that moment."""


def main() -> None:
    """Serve until SIGTERM."""
    name = os.environ.get("ARCO_FLOW_FUNCTION", "")
    known = sorted(path.parent.name for path in FOLDER.glob("*/main.py"))
    if name not in known:
        raise SystemExit(f"ARCO_FLOW_FUNCTION is '{name}'; it must be one of {', '.join(known)}")
    # uvicorn ends by raising the signal again: leave in order, so that what the process wants to
    # say at its end is said.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # What is loaded stays: to look through it for garbage while it grows would be a tenth of the
    # start, and to look through it later a part of every request's.
    gc.disable()
    import uvicorn
    from functions_framework.aio import create_asgi_app

    app = create_asgi_app("main", str(FOLDER / name / "main.py"), "http")
    gc.freeze()
    gc.enable()
    uvicorn.run(
        app,
        host=os.environ.get("HOST", "0.0.0.0"),  # noqa: S104 - a container is reached from outside
        port=int(os.environ.get("PORT", "8080")),
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        timeout_keep_alive=IDLE_SECONDS,
        server_header=False,
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
    )


if __name__ == "__main__":
    main()
