"""The process beside the plane that runs user code, and the pool that keeps such processes."""
