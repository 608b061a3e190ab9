"""Every identifier of the system and how it is derived.

All ids but the ones a person names are functions of what they stand for, so that every actor
(plane, worker, sweeper, a retry of any of them) comes to the same id without talking.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import NamedTuple

from arco_flow.domain.errors import InvalidInput
from arco_flow.domain.wire import canonical_json


class Scope(NamedTuple):
    """The tenant and workspace that everything belongs to; always taken from an identity."""

    tenant: str
    workspace: str

    @property
    def source(self) -> str:
        """`source` of our CloudEvents."""
        return f"arco-flow/{self.tenant}/{self.workspace}"

    @property
    def prefix(self) -> str:
        """Prefix of every object of this workspace, with the final slash."""
        return f"tenants/{self.tenant}/workspaces/{self.workspace}/"


class Entity(NamedTuple):
    """What has a head, an inbox and a ledger: a run, an asset, a deployment…

    kind and name hold no colon, so that the text form is unambiguous and one entity's inbox is
    one key range.
    """

    scope: Scope
    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.scope.tenant}:{self.scope.workspace}:{self.kind}:{self.name}"

    @classmethod
    def parse(cls, text: str) -> Entity:
        """Inverse of str(). Raises InvalidInput when the text has not four parts."""
        parts = text.split(":")
        if len(parts) != 4 or not all(parts):
            raise InvalidInput(f"'{text}' is no entity id", fix="tenant:workspace:kind:name")
        return cls(Scope(parts[0], parts[1]), parts[2], parts[3])


def run_entity(scope: Scope, run_id: str) -> Entity:
    """The entity of a run."""
    return Entity(scope, "run", run_id)


def asset_entity(scope: Scope, asset_key: str) -> Entity:
    """The entity of an asset: the single writer of its part of the catalog."""
    return Entity(scope, "asset", asset_key)


def deployment_entity(scope: Scope) -> Entity:
    """The entity that holds which manifest is current; one per workspace."""
    return Entity(scope, "deployment", "current")


def deployment_event_id(request_id: str) -> str:
    """Id of the event of a deployment whose request has a name, which may hold anything."""
    return f"deploy:{_digest(request_id)[:34]}"


def dynamic_entity(scope: Scope, definition: str) -> Entity:
    """The entity of a dynamic partitions definition, by its name, which may hold anything."""
    name = _digest(definition) if ":" in definition else document_id(definition)
    return Entity(scope, "dynamic", name)


def run_id_of(tenant_secret: bytes, scope: Scope, run_key: str) -> str:
    """`run_` + 26 base32 characters: the same run key gives the same run, for ever.

    Raises InvalidInput on an empty secret: run ids would be guessable across tenants.
    """
    if not tenant_secret:
        raise InvalidInput("the tenant secret is empty", fix="set ARCO_FLOW_TENANT_SECRET")
    message = f"{scope.tenant}:{scope.workspace}:{run_key}".encode()
    return "run_" + _base32(hmac.digest(tenant_secret, message, "sha256")[:16])


def dispatch_id_of(run_id: str, task: str, attempt: int) -> str:
    """Internal id of one attempt's dispatch; `task` is the short form `asset[partition]`."""
    return f"dispatch:{run_id}:{task}:{attempt}"


def attempt_id_of(dispatch_id: str) -> str:
    """`att_` + 24 hex characters, derived from the dispatch id."""
    return "att_" + hashlib.sha256(f"attempt:{dispatch_id}".encode()).digest()[:12].hex()


def queue_task_name(kind: str, internal_id: str) -> str:
    """`{kind}_` + 26 base32 characters; kind is d (dispatch), t (timer), w (wake) or e (event).

    Hashed because sequential names slow a queue down; never reused because retries and re-arms
    carry a generation in the internal id.
    """
    # 26 characters are 130 bits; whole groups of five bytes need no padding.
    return f"{kind}_" + _base32(hashlib.sha256(internal_id.encode()).digest()[:20])[:26]


def short_task(asset_key: str, partition: str) -> str:
    """`asset[partition]` for people, `asset` when unpartitioned."""
    return f"{asset_key}[{partition}]" if partition else asset_key


def task_key_of(asset_key: str, partition: str, operation: str = "materialize") -> str:
    """Canonical JSON of what a task is: asset, partition (canonical encoding), operation."""
    key = {"asset": asset_key, "partition": partition, "operation": operation}
    return canonical_json(key).decode()


def callback_task_id(run_id: str, task: str) -> str:
    """`ct1_` + base64url of run id, NUL, task short form: one opaque URL segment."""
    if not run_id or not task or "\0" in run_id or "\0" in task:
        raise InvalidInput("run id and task must be non-empty and hold no NUL")
    raw = f"{run_id}\0{task}".encode()
    return "ct1_" + base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def parse_callback_task_id(text: str) -> tuple[str, str]:
    """(run id, task short form) of a callback task id. Raises InvalidInput."""
    try:
        if not text.startswith("ct1_"):
            raise ValueError(text)
        body = text[4:]
        raw = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
        run_id, task = raw.decode().split("\0")
    except (ValueError, UnicodeDecodeError) as error:
        raise InvalidInput("malformed task id in the callback path") from error
    if not run_id or not task or callback_task_id(run_id, task) != text:
        raise InvalidInput("malformed task id in the callback path")
    return run_id, task


def partition_segment(partition: str) -> str:
    """The path segment of a canonical partition key; `_` when unpartitioned.

    The canonical encoding holds only [A-Za-z0-9_=:,.-] (text is base64url), so it is path-safe;
    a key over 200 bytes becomes a digest, because file systems stop at 255.
    """
    if not partition:
        return "_"
    return partition if len(partition) <= 200 else _digest(partition)


def document_id(text: str) -> str:
    """The id of a document that is named by a person: the text itself where every store takes it
    as an id, else a digest. Two texts never share one."""
    is_id = 0 < len(text.encode()) <= 200 and not any(char in text for char in "/\0")
    if is_id and text not in (".", "..") and not text.startswith(("__", "h=")):
        return text
    return _digest(text)


def version_prefix(scope: Scope, asset_key: str, partition: str, attempt_id: str) -> str:
    """Folder of one immutable version, with the final slash."""
    base = f"{scope.prefix}assets/{asset_key}/{partition_segment(partition)}"
    return f"{base}/versions/{attempt_id}/"


def pointer_path(scope: Scope, asset_key: str, partition: str) -> str:
    """The one mutable object of a partition: which version is current."""
    return f"{scope.prefix}assets/{asset_key}/{partition_segment(partition)}/_current.json"


def log_prefix(scope: Scope, run_id: str, attempt_id: str) -> str:
    """Folder of the log chunks of one attempt, with the final slash."""
    return f"{scope.prefix}logs/{run_id}/{attempt_id}/"


def manifest_path(scope: Scope, digest: str) -> str:
    """Object of a manifest by its digest (`sha256:…`)."""
    return f"{scope.prefix}manifests/{digest.removeprefix('sha256:')}.json"


def plan_path(scope: Scope, digest: str) -> str:
    """Object of a plan by its digest (`sha256:…`)."""
    return f"{scope.prefix}plans/{digest.removeprefix('sha256:')}.json"


def _digest(text: str) -> str:
    return "h=" + hashlib.sha256(text.encode()).hexdigest()


def _base32(raw: bytes) -> str:
    return base64.b32encode(raw).decode().rstrip("=").lower()
