"""The route table: every path that this plane answers, who may call it and what it takes."""

from __future__ import annotations

from typing import Final

from arco_flow.domain.envelope import (
    CallbackResponse,
    CompletedRequest,
    HeartbeatRequest,
    StartedRequest,
)
from arco_flow.domain.errors import Conflict, Gone, NotFound
from arco_flow.domain.manifest import MAX_MANIFEST_BYTES, Manifest
from arco_flow.engine import views
from arco_flow.http import api_assets, api_deployments, api_runs, callbacks, health, openapi
from arco_flow.http.arguments import PAGE, WAIT
from arco_flow.http.messages import LIVE_PATH, READY_PATH
from arco_flow.http.routing import (
    CALLBACK_BODY_BYTES,
    WORKSPACE_PREFIX,
    Param,
    Policy,
    Route,
)

_W: Final = WORKSPACE_PREFIX
_RUN: Final = f"{_W}/runs/{{run}}"
_ASSET: Final = f"{_W}/assets/{{asset}}"
_DYNAMIC: Final = f"{_W}/dynamicPartitions/{{definition}}"
_TASK: Final = "/v1/tasks/{taskId}"
_OF_ATTEMPTS: Final = (NotFound, Conflict, Gone)

_DRY_RUN: Final = Param("validateOnly", "Check and say what would happen.", "boolean")
_LOCATION: Final = (
    Param(
        "location.target", "Module, file or folder of the code, for workers.", example="shop.assets"
    ),
    Param(
        "location.root", "Folder that it is imported from, on the disk of workers.", example="/src"
    ),
)
_REQUEST_ID: Final = Param(
    "requestId", "Run key; the header Idempotency-Key does the same.", example="daily:2026-01-31"
)
_IDEMPOTENCY_KEY: Final = Param(
    "Idempotency-Key",
    "Run key: the same key is the same run, for ever.",
    example="daily:2026-01-31",
)
_TRACEPARENT: Final = Param(
    "traceparent",
    "W3C trace context that the run continues; what is none is passed over.",
    example="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
)
_DEPLOY_ID: Final = Param(
    "requestId",
    "Name of the request, made by the client: the same one again is answered with the deployment"
    " that it has made. The header Idempotency-Key does the same.",
    example="ci-4711",
)
_DEPLOY_KEY: Final = Param(
    "Idempotency-Key", "Name of the request; the same as `requestId`.", example="ci-4711"
)
_REPLACES: Final = Param(
    "replaces",
    "Revision of the deployment that is current as the client knows it, 0 = none. While another"
    " one is, 409 DEPLOYMENT_OVERTAKEN and no change: what arrives late replaces nothing newer."
    " Absent = whichever is current.",
    "integer",
    example="3",
)
_FILTER: Final = Param(
    "filter", "States, joined by OR; absent = all.", example="state = FAILED OR state = RUNNING"
)
_SELECTION: Final = Param(
    "selection", "Expression of the selection language; absent = all.", example="+shop.orders"
)
_TASK_NAME: Final = Param("task", "One task; absent = all.", example="shop.orders[2026-01-31]")

DEPLOYMENTS: Final = (
    Route(
        "GET",
        f"{_W}/deployments",
        api_deployments.get_current_deployment,
        Policy.READ,
        "The current deployment",
        (views.DeploymentView,),
    ),
    Route(
        "POST",
        f"{_W}/deployments",
        api_deployments.create_deployment,
        Policy.WRITE,
        "Make a manifest current",
        (views.DeployOutcome,),
        Manifest,
        (_DRY_RUN, *_LOCATION, _DEPLOY_ID, _REPLACES),
        MAX_MANIFEST_BYTES,
        headers=(_DEPLOY_KEY,),
        refusals=(Conflict,),
    ),
)

RUNS: Final = (
    Route(
        "POST",
        f"{_W}/runs",
        api_runs.create_run,
        Policy.WRITE,
        "Request a run; with validateOnly answer its plan",
        (views.RunAccepted, views.PlanView),
        views.RunSpec,
        (_DRY_RUN, _REQUEST_ID),
        headers=(_IDEMPOTENCY_KEY, _TRACEPARENT),
        refusals=(Conflict,),
    ),
    Route(
        "GET",
        f"{_W}/runs",
        api_runs.list_runs,
        Policy.READ,
        "Runs, newest first",
        (views.RunPage,),
        query=(*PAGE, _FILTER),
    ),
    Route("GET", _RUN, api_runs.get_run, Policy.READ, "One run", (views.RunView,), query=(WAIT,)),
    Route(
        "POST",
        f"{_RUN}:cancel",
        api_runs.cancel_run,
        Policy.WRITE,
        "Cancel a run",
        (views.RunView,),
        api_runs.CancelRequest,
        refusals=(Conflict,),
    ),
    Route("GET", f"{_RUN}/plan", api_runs.get_plan, Policy.READ, "A run's plan", (views.PlanView,)),
    Route(
        "GET",
        f"{_RUN}/events",
        api_runs.list_events,
        Policy.READ,
        "A run's ledger",
        (views.EventPage,),
        query=PAGE,
    ),
    Route(
        "GET",
        f"{_RUN}/tasks/{{task}}/attempts",
        api_runs.list_attempts,
        Policy.READ,
        "The attempts of a task",
        (api_runs.AttemptList,),
    ),
    Route(
        "GET",
        f"{_RUN}/logs",
        api_runs.list_log_lines,
        Policy.READ,
        "What a run's tasks wrote",
        (views.LogPage,),
        query=(*PAGE, _TASK_NAME),
    ),
)

ASSETS: Final = (
    Route(
        "GET",
        f"{_W}/assets",
        api_assets.list_assets,
        Policy.READ,
        "Assets of the current deployment",
        (views.AssetPage,),
        query=(*PAGE, _SELECTION),
    ),
    Route("GET", _ASSET, api_assets.get_asset, Policy.READ, "One asset", (views.AssetView,)),
    Route(
        "GET",
        f"{_ASSET}/partitions",
        api_assets.list_partitions,
        Policy.READ,
        "The partitions of an asset",
        (views.PartitionPage,),
        query=PAGE,
    ),
    Route(
        "GET",
        _DYNAMIC,
        api_assets.get_dynamic_partitions,
        Policy.READ,
        "The keys of a dynamic partitions definition",
        (api_assets.DynamicPartitions,),
    ),
    Route(
        "POST",
        f"{_DYNAMIC}:add",
        api_assets.add_dynamic_partitions,
        Policy.WRITE,
        "Add dynamic partitions",
        (api_assets.DynamicPartitions,),
        api_assets.PartitionNames,
    ),
    Route(
        "POST",
        f"{_DYNAMIC}:delete",
        api_assets.delete_dynamic_partitions,
        Policy.WRITE,
        "Remove dynamic partitions",
        (api_assets.DynamicPartitions,),
        api_assets.PartitionNames,
    ),
)

CALLBACKS: Final = (
    Route(
        "POST",
        f"{_TASK}/started",
        callbacks.report_started,
        Policy.ATTEMPT,
        "A worker claims an attempt",
        (CallbackResponse,),
        StartedRequest,
        body_bytes=CALLBACK_BODY_BYTES,
        refusals=_OF_ATTEMPTS,
    ),
    Route(
        "POST",
        f"{_TASK}/heartbeat",
        callbacks.report_heartbeat,
        Policy.ATTEMPT,
        "A worker is alive",
        (CallbackResponse,),
        HeartbeatRequest,
        body_bytes=CALLBACK_BODY_BYTES,
        refusals=_OF_ATTEMPTS,
    ),
    Route(
        "POST",
        f"{_TASK}/completed",
        callbacks.report_completed,
        Policy.ATTEMPT,
        "An attempt is over",
        (CallbackResponse,),
        CompletedRequest,
        body_bytes=CALLBACK_BODY_BYTES,
        refusals=_OF_ATTEMPTS,
    ),
)

SERVICE: Final = (
    Route(
        "GET",
        LIVE_PATH,
        health.get_liveness,
        Policy.PUBLIC,
        "The process answers",
        (health.Health,),
    ),
    Route(
        "GET", READY_PATH, health.get_readiness, Policy.PUBLIC, "The plane serves", (health.Health,)
    ),
    Route("GET", "/v1/openapi.json", openapi.get_openapi, Policy.PUBLIC, "This description"),
)

ROUTES: Final = (*DEPLOYMENTS, *RUNS, *ASSETS, *CALLBACKS, *SERVICE)
