"""RetryRequested on the whole stack: followed without a policy, too, and never for ever."""

from __future__ import annotations

from pathlib import Path

from e2e.harness import running_plane, write_module

EVERY_PLANE = True

BUSY = """
    from arco_flow import AssetContext, RetryPolicy, RetryRequested, asset

    @asset(namespace="t")
    def once(context: AssetContext) -> int:
        if context.attempt == 1:
            raise RetryRequested("busy", after="50ms")
        return context.attempt

    @asset(namespace="t")
    def always() -> int:
        raise RetryRequested("busy")

    @asset(namespace="t")
    def thrice() -> int:
        raise RetryRequested("busy", after="10ms", max_retries=3)

    @asset(namespace="t", retry=RetryPolicy(2))
    def by_policy() -> int:
        raise RetryRequested("busy", after="10ms")
"""


def test_a_retry_is_asked_for_with_and_without_a_policy(tmp_path: Path) -> None:
    module = write_module(tmp_path, "busy", BUSY)
    with running_plane(tmp_path) as plane:
        plane.deploy(module)
        run = plane.wait(plane.request("*").run_id)
        found = {task.task: (task.state, task.attempt) for task in run.tasks}
        assert found == {
            "t.once": ("SUCCEEDED", 2),
            "t.always": ("FAILED", 2),
            "t.thrice": ("FAILED", 4),
            "t.by_policy": ("FAILED", 3),
        }
