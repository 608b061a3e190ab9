"""Public names of the SDK."""
