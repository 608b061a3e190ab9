"""What an asset's function can know and say about the attempt that runs it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from arco_flow.domain.errors import InvalidInput
from arco_flow.sdk.partition_key import PartitionKey, PartitionWindow
from arco_flow.sdk.signals import AttemptCancelled

if TYPE_CHECKING:
    from arco_flow.io.base import IO
    from arco_flow.sdk.asset import Asset
    from arco_flow.sdk.logs import AttemptLogger


class TaskRuntime(Protocol):
    """What stands behind a context: the worker, or `arco_flow.testing`."""

    def save_output(self, value: object, io: str | IO | None) -> None:
        """Save the attempt's value now, with this IO or the asset's own (None)."""

    def set_progress(self, pct: int | None, message: str) -> None:
        """Show how far the attempt is: percent 0 to 100 or None, and a sentence."""

    def is_cancelled(self) -> bool:
        """Whether the attempt was asked to stop."""
        ...


class AssetContext:
    """The attempt, as its function sees it: `def orders(context: AssetContext)`.

    run_id, attempt (1 for the first), retry_number (0 for the first), run_tags.
    metadata: what report() has collected so far.
    """

    def __init__(
        self,
        asset: Asset[..., Any],
        runtime: TaskRuntime,
        *,
        run_id: str,
        partition_key: str = "",
        attempt: int = 1,
        retry_number: int = 0,
        run_tags: Mapping[str, str] | None = None,
        attempt_id: str = "",
    ) -> None:
        self.run_id = run_id
        self.attempt = attempt
        self.attempt_id = attempt_id
        self.retry_number = retry_number
        self.run_tags: Mapping[str, str] = dict(run_tags or {})
        self.metadata: dict[str, object] = {}
        self._asset = asset
        self._partition_key = partition_key
        self._runtime = runtime
        self._log: AttemptLogger | None = None
        self._has_output = False

    @property
    def asset_key(self) -> str:
        """`namespace.name`."""
        return self._asset.key

    @property
    def has_partition_key(self) -> bool:
        """Whether the attempt makes one partition of a partitioned asset."""
        return bool(self._partition_key)

    @property
    def partition_key(self) -> PartitionKey:
        """The key of the partition that is being made.

        Raises InvalidInput when the asset is not partitioned.
        """
        if not self._partition_key:
            raise InvalidInput(
                f"asset '{self.asset_key}' has no partition key: it is not partitioned",
                where=str(self._asset.place),
                fix='@asset(partitions=DailyPartitions("2026-01-01")), or ask '
                "context.has_partition_key first",
                reason="NOT_PARTITIONED",
            )
        return PartitionKey(self._partition_key, self._asset.partitions)

    @property
    def partition_keys(self) -> Mapping[str, PartitionKey]:
        """The key of every dimension by its name; `date`, `time` or `key` when there is one.

        Raises InvalidInput when the asset is not partitioned.
        """
        return self.partition_key.dims

    @property
    def partition_time_window(self) -> PartitionWindow:
        """[start, end) of the partition, aware datetimes in the definition's zone.

        Raises InvalidInput when the partition is no time.
        """
        return self.partition_key.window

    @property
    def log(self) -> AttemptLogger:
        """A standard logger whose records are kept with the attempt, secrets blotted out."""
        if self._log is None:
            from arco_flow.sdk.logs import attempt_logger

            self._log = attempt_logger(
                {
                    "run_id": self.run_id,
                    "asset_key": self.asset_key,
                    "partition_key": self._partition_key,
                    "attempt": self.attempt,
                    "attempt_id": self.attempt_id,
                }
            )
        return self._log

    def report(self, **metadata: str | float | bool | None) -> None:
        """Show values beside the output: `context.report(rows=40, share=0.5)`.

        A later value of the same name wins. Raises InvalidInput for other types, NaN and
        infinities.
        """
        for name, value in metadata.items():
            finite = not isinstance(value, float) or math.isfinite(value)
            if not finite or not (value is None or isinstance(value, str | int | float)):
                raise InvalidInput(
                    f"report({name}={value!r}): values are text, finite numbers, bool or None",
                    fix=f"report({name}=str(…)) or one value per name",
                    reason="BAD_METADATA",
                )
        self.metadata.update(metadata)

    def progress(self, pct: float | None = None, message: str = "") -> None:
        """Show how far the attempt is. pct: 0 to 100, rounded down; None when it is not known.

        Raises InvalidInput outside that range.
        """
        if pct is not None and not 0 <= pct <= 100:
            raise InvalidInput(f"progress({pct!r}): percent are from 0 to 100")
        self._runtime.set_progress(None if pct is None else int(pct), str(message))

    def output(self, value: object, *, io: str | IO | None = None) -> None:
        """Save the asset's value now, by the same steps as a returned one.

        For functions that must do something after their output is stored; they then return None.
        Raises InvalidInput when called twice: an attempt has one output.
        """
        if self._has_output:
            raise InvalidInput(
                f"asset '{self.asset_key}' called context.output() twice in one attempt",
                where=str(self._asset.place),
                fix="an attempt has one output; declare two assets for two",
                reason="DUPLICATE_OUTPUT",
            )
        self._runtime.save_output(value, io)
        self._has_output = True

    @property
    def has_output(self) -> bool:
        """Whether output() was called, so that a returned None is not the value."""
        return self._has_output

    @property
    def cancelled(self) -> bool:
        """Whether the attempt was asked to stop; long loops should look at it."""
        return self._runtime.is_cancelled()

    def raise_if_cancelled(self) -> None:
        """Raises AttemptCancelled when the attempt was asked to stop."""
        if self.cancelled:
            raise AttemptCancelled(f"the attempt of '{self.asset_key}' was cancelled")

    def __repr__(self) -> str:
        partition = f"[{self._partition_key}]" if self._partition_key else ""
        return f"<context of {self.asset_key}{partition}, attempt {self.attempt}>"
