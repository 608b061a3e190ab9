"""`python -m arco_flow.cli`: the command line without its entry point."""

from __future__ import annotations

from arco_flow.cli.main import main

main()
