"""What is wrong with a deployment, and how to mend it: every check beside the others.

A check changes nothing that lasts, and has a limit of time: one that hangs hides no other.
"""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from arco_flow.adapters.gcp import diagnosis_callers, diagnosis_stores, diagnosis_wiring
from arco_flow.adapters.gcp.client_failures import ClientError
from arco_flow.adapters.gcp.failures import ApiError, failure
from arco_flow.adapters.gcp.functions_table import load_functions_table
from arco_flow.adapters.gcp.settings import read_settings
from arco_flow.adapters.gcp.verdicts import Check, Deployment, Finding, Problem, Tokens, Verdict
from arco_flow.domain.errors import ArcoError, InvalidInput

LIMIT_SECONDS: Final = 20.0
"""Of one check."""
CHECKS: Final[Mapping[str, Check]] = {
    "functions": diagnosis_callers.functions_live,
    "no token": diagnosis_callers.refuse_without_token,
    "strangers": diagnosis_callers.refuse_strangers,
    "api": diagnosis_callers.api_serves_caller,
    "routes": diagnosis_wiring.routes_lead_home,
    "queues": diagnosis_wiring.queues_as_in_table,
    "topics": diagnosis_wiring.topics_exist,
    "subscriptions": diagnosis_wiring.subscriptions_push_home,
    "jobs": diagnosis_wiring.jobs_as_in_table,
    "bucket": diagnosis_stores.bucket_keeps_preconditions,
    "firestore": diagnosis_stores.firestore_answers,
    "indexes": diagnosis_stores.indexes_exist,
    "clock": diagnosis_stores.clocks_agree,
    "secrets": diagnosis_stores.secrets_readable,
}
"""In the order in which they are shown."""
_LOOK: Final = "see that it is up and that this machine may call it, then run this again"


def deployment_of(environment: Mapping[str, str], functions: Path) -> Deployment:
    """The deployment that a function's environment tells of. functions: folder of functions.yaml.

    Raises InvalidInput that lists all that is wrong with either.
    """
    try:
        settings = read_settings({"ARCO_FLOW_FUNCTION": "api", **environment})
    except InvalidInput as error:
        problems = error.details["problems"]
        raise InvalidInput(
            f"the environment tells of no whole deployment: {'; '.join(_texts(problems))}",
            fix="run this in the folder of `arco-flow dev --emulated`, or with the environment"
            " that Terraform gives the function `api`",
            details={"problems": problems},
        ) from error
    table = load_functions_table(functions / "functions.yaml")
    return Deployment(settings, table, environment, Tokens(environment, settings.certs_url))


def _texts(problems: object) -> list[str]:
    return [str(problem) for problem in problems] if isinstance(problems, list) else []


async def diagnose(
    deployment: Deployment,
    checks: Mapping[str, Check] = CHECKS,
    *,
    limit_seconds: float = LIMIT_SECONDS,
) -> list[Finding]:
    """What each check has found, in their order. What a check raises is its problem."""
    verdicts = await asyncio.gather(
        *(_verdict(check, deployment, limit_seconds) for check in checks.values())
    )
    return [Finding(name, verdict) for name, verdict in zip(checks, verdicts, strict=True)]


async def _verdict(check: Check, deployment: Deployment, limit_seconds: float) -> Verdict:
    try:
        return await asyncio.wait_for(check(deployment), limit_seconds)
    except TimeoutError:
        problem = Problem(f"no answer in {limit_seconds:g} s", _LOOK)
    except ArcoError as error:
        problem = Problem(error.message, error.fix or _LOOK)
    except (*ApiError, *ClientError) as error:
        told = failure(error, "a call to Google")
        problem = Problem(told.message, told.fix or _LOOK)
    except (OSError, http.client.HTTPException) as error:
        problem = Problem(f"a call failed: {type(error).__name__}: {error}", _LOOK)
    return Verdict("", [problem])
