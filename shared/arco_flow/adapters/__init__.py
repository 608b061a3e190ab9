"""Implementations of the ports; named by wiring and tests only."""
