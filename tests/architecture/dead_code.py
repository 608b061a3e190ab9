"""`make check`: functions, classes and methods that nothing uses.

vulture finds them over the library, its examples and its tests. Fields of messages are no
concern of it: they are read by whoever receives the bytes.
"""

from __future__ import annotations

import sys

from vulture import Vulture

import arco_flow
import arco_flow.testing
from architecture.sources import ROOT

SOURCES = ("shared/arco_flow", "emulators", "functions", "examples", "bench", "docs", "tests")
KINDS = ("function", "class", "method", "property", "import", "unreachable_code")
"""Not variables and attributes: a field of a struct looks to vulture like a variable."""
CALLED_BY_NAME = [
    # asyncio's protocols, logging and click call these.
    "emit",
    "connection_*",
    "buffer_updated",
    "get_buffer",
    "eof_received",
    "pause_writing",
    "resume_writing",
    "list_commands",
    "get_command",
    "resolve_command",
    "format_commands",
    "visit_*",
    # pytest
    "test_*",
    "pytest_*",
    # Names of a module that Python itself asks for (PEP 562).
    "__getattr__",
    "__dir__",
]


def public_members() -> list[str]:
    """What users call: the public names and the methods of the public classes."""
    members = {
        member
        for module in (arco_flow, arco_flow.testing)
        for name in module.__all__
        for member in (name, *dir(getattr(module, name)))
    }
    return sorted(member for member in members if not member.startswith("_"))


def main() -> int:
    """Print what is dead; the exit code is 1 when there is something."""
    vulture = Vulture(
        ignore_names=CALLED_BY_NAME + public_members(),
        ignore_decorators=["@pytest.*", "@asset*", "@*.check*", "@click.*", "@command*"],
    )
    vulture.scavenge([str(ROOT / name) for name in SOURCES if (ROOT / name).exists()])
    dead = [
        item
        for item in vulture.get_unused_code(min_confidence=60)
        if item.typ in KINDS and (ROOT / "shared") in item.filename.parents
    ]
    for item in dead:
        print(
            f"{item.filename.relative_to(ROOT)}:{item.first_lineno} unused {item.typ} {item.name}"
        )
    return 1 if dead else 0


if __name__ == "__main__":
    sys.exit(main())
