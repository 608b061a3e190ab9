"""The deployment on Google Cloud, or on emulators, that a command looks at."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from arco_flow.adapters.gcp.verdicts import Deployment


def deployment_around(folder: str, functions: Path | None = None) -> Deployment:
    """The plane of `arco-flow dev --emulated` in this folder; else that of the environment.

    functions: folder of functions.yaml, None = that of this version. Raises InvalidInput when
    neither tells of a whole deployment.
    """
    from arco_flow.adapters.gcp.diagnosis import deployment_of
    from arco_flow.cli.emulated_server import functions_folder
    from arco_flow.cli.project import find_project

    emulated = find_project(folder, None, None).doctor_environment()
    environment = dict(os.environ) if emulated is None else emulated
    return deployment_of(environment, functions or functions_folder())
