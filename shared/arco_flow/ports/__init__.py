"""Protocols of what the engine needs from the world; no implementation lives here."""
