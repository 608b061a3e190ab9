"""What a function that runs as a process of its own needs: its environment, and certificates."""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from handler_server import QuietHandler, serving_handler

NOWHERE = "127.0.0.1:1"
SECRET = bytes(32)
"""Of the plane: what tokens of attempts are signed with."""


def environment_of_function(
    name: str, port: int, *, tasks_account: str, callbacks: str, certificates: str, **more: str
) -> dict[str, str]:
    """That of a function at this port, whose services are all away.

    tasks_account: e-mail whose deliveries it takes. callbacks: URL that workers report to.
    certificates: URL of those of the issuer. more: further variables, or others in their place.
    """
    secret = base64.b64encode(SECRET).decode()
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith("ARCO_FLOW_")},
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "PYTHONPATH": os.pathsep.join(sys.path),
        "FIRESTORE_EMULATOR_HOST": NOWHERE,
        "STORAGE_EMULATOR_HOST": f"http://{NOWHERE}",
        "PUBSUB_EMULATOR_HOST": NOWHERE,
        "ARCO_FLOW_FUNCTION": name,
        "ARCO_FLOW_PROJECT": "shop",
        "ARCO_FLOW_LOCATION": "here",
        "ARCO_FLOW_BUCKET": "shop",
        "ARCO_FLOW_AUDIENCE": f"http://127.0.0.1:{port}",
        "ARCO_FLOW_CALLERS": "tasks",
        "ARCO_FLOW_ACCOUNTS": json.dumps({"tasks": tasks_account}),
        "ARCO_FLOW_FUNCTION_URLS": json.dumps({"worker_callback": callbacks}),
        "ARCO_FLOW_OIDC_CERTS_URL": certificates,
        "ARCO_FLOW_TASKS_ENDPOINT": NOWHERE,
        "ARCO_FLOW_TENANT_SECRET": secret,
        "ARCO_FLOW_TOKEN_SECRET": secret,
        **more,
    }


@contextmanager
def serving_certificates(certificates: Mapping[str, str]) -> Iterator[str]:
    """URL under which an issuer's certificates can be fetched; they are good for an hour."""
    raw = json.dumps(certificates).encode()

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Cache-Control", "max-age=3600")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

    with serving_handler(Handler) as url:
        yield f"{url}/certs"
